// The recurrence backward in time.
//
//     dh_t-1 = dG_t W_hh + (what comes from the layer above)
//
// Where a step has two stages (mlstm), dG_t goes back to dm_t in the same way, and what dm_t leaves for the other gate to h_t-1.
//
// The units are dealt out in shares, one for each thread. Who has a share computes the dG of its units, and of each product
// the part that sums over their columns of gates. That needs no dG of others; instead the threads exchange parts of dh, a
// fifth of the bytes. In round j a thread computes its share's part of the j-th pair of units of each other share, announces
// it, computes the part of its own j-th pair and, with all parts of that, the pointwise part of the step before, which is woven
// into the products of round j + 1. The last pair of a step is woven into the first product of the next, up to where that
// needs its result.
//
// The shares decide in which order dh is summed up. So when fewer threads work than there are shares, each has several, and
// does in every round for one share after the other what it would do for its own; the result is the same.
#pragma once

#include "cells.h"
#include "product.h"
#include "scan.h"
#include "scan_parts.h"
#include "weave.h"

namespace rhapsode::amx {
namespace {

// The pointwise part of one pair of units and 32 rows, at one time step.
template <class Cell>
struct BackwardPair {
  using Form = FormOf<Cell>;
  static constexpr int HALVES = Cell::HALVES, COLUMNS = Form::COLUMNS, BLOCKS = 2 / HALVES;

  const float* own;       // dh, the own share's part (or the whole of it): a block of [2][2][16][16]
  const float* parts;     // those of the shares before and after it, part_pitch apart; null at the last step
  int64_t part_pitch;
  int share, shares;
  const bf16 *d_upper, *d_lower;       // d_output: row tiles
  const bf16 *now_upper, *now_lower;   // h of this step and the one before: row tiles; or, with HISTORY,
  const bf16 *before_upper, *before_lower;
  const bf16 *now, *before;            // words (row 2p, row 2p + 1) of c, block_pitch from one half to the other
  const bf16* saved;
  int64_t saved_pitch, carry_half, word_pitch;  // from one block of (16) units to the next
  float* carry;
  bf16 *gates_upper, *gates_lower;     // row tiles
  bf16 *rows_upper, *rows_lower;       // row tiles of the input's part, or null
  bf16 *tokens, *extra_tokens;         // token tiles of the first pair of columns; extra: the gru's input part of n
  int64_t tokens_pitch;                // from one pair of columns to the next
  int rows;

  // Two rows of a block each, as a word of a token tile holds two.
  RHAPSODE_INLINE int pieces() const { return BLOCKS * row_pairs(); }

  RHAPSODE_INLINE void piece(int n) {
    const int block = BLOCKS == 1 ? 0 : n >= row_pairs(), i = n - block * row_pairs();
    Words d[2][COLUMNS], extra[2][HALVES];
    unrolled<2>(RHAPSODE_LOOP(k) { row(block, 2 * i, k, d[k], extra[k]); });
    unrolled<COLUMNS>(RHAPSODE_LOOP(c) {
      store(tokens + (block * Form::PAIRS + c / 2) * tokens_pitch + (c % 2) * TILE + i * 32, joined(d[0][c], d[1][c]));
    });
    if constexpr (Cell::TWO_GRADIENTS)
      unrolled<HALVES>(RHAPSODE_LOOP(half) {
        store(extra_tokens + half * TILE + i * 32, joined(extra[0][half], extra[1][half]));
      });
  }

 private:
  RHAPSODE_INLINE int row_pairs() const { return (rows + 1) / 2; }
  RHAPSODE_INLINE Vec sum_of_parts(int64_t at) const {
    Vec sum = load(own + at);
    if (parts) {
      for (int other = 0; other < shares; other++)
        if (other != share) sum = _mm512_add_ps(sum, load(parts + other * part_pitch + at));
    }
    return sum;
  }

  RHAPSODE_INLINE static Vec half_of(Words w, int half) { return half ? high(w) : low(w); }

  // Row `even` + k of k = 0, 1, which lies behind the other wherever it goes.
  RHAPSODE_INLINE void row(int block, int even, int k, Words* d, Words* extra) {
    const int r = even + k, tile_row = (even & 15) * 32 + k * 32;
    const bool upper = even < 16;
    const Words from_above = words((upper ? d_upper : d_lower) + tile_row);
    Vec kept[Form::SAVED_VECTORS + 1];
    unrolled<Form::SAVED_LINES>(RHAPSODE_LOOP(i) {
      Words w = words(saved + block * saved_pitch + (r * Form::SAVED_LINES + i) * 32);
      kept[2 * i] = low(w), kept[2 * i + 1] = high(w);
    });
    unrolled<HALVES>(RHAPSODE_LOOP(half) {
      const int column = HALVES == 1 ? block : half;
      Vec y, before_y;
      if (Cell::HISTORY) {
        const int64_t at = column * word_pitch + even / 2 * 32;
        y = half_of(words(now + at), k), before_y = half_of(words(before + at), k);
      } else {
        y = half_of(words((upper ? now_upper : now_lower) + tile_row), half);
        before_y = half_of(words((upper ? before_upper : before_lower) + tile_row), half);
      }
      Vec dh = _mm512_add_ps(sum_of_parts(in_block(even, column) + k * LANES), half_of(from_above, column));
      Vec keep[Cell::SAVED + 1], gates[Cell::GATES];
      unrolled<Cell::SAVED>(RHAPSODE_LOOP(k) { keep[k] = kept[k * HALVES + half]; });
      float* state = carry + column * carry_half + r * LANES;
      Vec d_carry = Cell::CARRIES ? load(state) : zeros();
      Vec input_part = Cell::backward(keep, y, before_y, dh, d_carry, gates);
      if (Cell::CARRIES) store(state, d_carry);
      unrolled<Cell::GATES>(RHAPSODE_LOOP(g) { d[g * HALVES + half] = rounded(gates[g]); });
      if (Cell::TWO_GRADIENTS) extra[half] = rounded(input_part);
    });
    bf16* gates = (upper ? gates_upper : gates_lower) + block * Form::PAIRS * TILE + tile_row;
    unrolled<Form::PAIRS>(RHAPSODE_LOOP(p) { store(gates + p * TILE, joined(d[2 * p], d[2 * p + 1])); });
    if (!rows_upper) return;
    bf16* inputs = (upper ? rows_upper : rows_lower) + block * Form::PAIRS * TILE + tile_row;
    unrolled<Form::PAIRS>(RHAPSODE_LOOP(p) {
      const bool other = Cell::TWO_GRADIENTS && p == Form::PAIRS - 1;
      store(inputs + p * TILE, other ? joined(extra[0], extra[HALVES - 1]) : joined(d[2 * p], d[2 * p + 1]));
    });
  }
};

// A row tile for d_output where nothing comes from above.
alignas(64) constexpr bf16 NOTHING[TILE] = {};

class BackwardScan {
  template <class Cell>
  using Pending = Weave<BackwardPair<Cell>>;

 public:
  BackwardScan(const Scan& s, int shares, int thread, int threads)
      : s_(s), P_(pairs(s.H)), R_(pairs(s.B)), shares_(shares), least_pairs_(P_ / shares), smaller_(shares - P_ % shares),
        thread_(thread), threads_(threads), mine_(part_of(shares, thread, threads)) {}

  // A step in one stage.
  template <class Cell>
  void run() {
    Pending<Cell> pending = first_step<Cell>();
    const int64_t last = s_.d_h_in ? 0 : 1;
    for (int64_t t = s_.T - 1; t >= last; t--) pending = stage<Cell, Cell>(t, pending, s_, t - 1);
    pending.finish();
    leave<Cell>();
  }

  // In two: from the gates to m, from m to h.
  template <class Factor, class Gates>
  void run() {
    Pending<Gates> gates = first_step<Gates>();
    Pending<Factor> factor;
    for (int64_t t = s_.T - 1; t >= 0; t--) {
      factor = stage<Gates, Factor>(t, gates, *s_.factor, t);
      if (t > 0 || s_.d_h_in) gates = stage<Factor, Gates>(t, factor, s_, t - 1);
    }
    factor.finish();
    gates.finish();
    leave<Gates>();
  }

 private:
  // The pointwise part of the last step, whose dh comes from outside.
  template <class Cell>
  Pending<Cell> first_step() {
    for (int64_t rb = 0; rb < R_; rb++)
      for (int64_t share = mine_.first; share < mine_.last; share++)
        for (int64_t pair = units_of(share).first; pair < units_of(share).last; pair++) {
          enter<Cell>(pair, rb);
          Pending<Cell> all;
          all.begin([&](BackwardPair<Cell>& p) { pointwise(p, s_, s_.T - 1, share, pair, rb, own_[0], false); });
          all.finish();
        }
    return {};
  }

  // dh and dc that come with the state after the last step.
  template <class Cell>
  void enter(int64_t pair, int64_t rb) {
    clear(own_[0], sizeof own_[0]);
    for (int half = 0; half < 2; half++) {
      const int64_t unit = pair * PAIR + half * LANES;
      float* carry = s_.d_carry + ((2 * pair + half) * R_ + rb) * PAIR * LANES;
      for (int r = 0; r < PAIR; r++) {
        const int64_t b = rb * PAIR + r, at = b * s_.H + unit, n = b < s_.B ? s_.H - unit : 0;
        if (s_.d_h_out) store(own_[0] + in_block(r, half), load_plain(s_.d_h_out + at, n));
        store(carry + r * LANES, Cell::HISTORY && s_.d_c_out ? load_plain(s_.d_c_out + at, n) : zeros());
      }
    }
  }

  // From the gradients of `Now`'s gates at step t to the pointwise part of `Next` at step `then`, -1 for the state before
  // the first. `before` is what is left of Now's pointwise part; returns what is left of Next's.
  template <class Now, class Next>
  Pending<Next> stage(int64_t t, Pending<Now>& before, const Scan& next, int64_t then) {
    const int64_t rounds = units_of(shares_ - 1).size();
    const bool rows_outside = fits_second_level(rounds * Now::LAYER_GATES * P_ * 2 * TILE);
    const int64_t outer = rows_outside ? R_ : rounds, inner = rows_outside ? rounds : R_;
    Pending<Next> pending;
    for (int64_t x = 0; x < outer; x++)
      for (int64_t y = 0; y < inner; y++)
        round<Now, Next>(t, rows_outside ? y : x, rows_outside ? x : y, x + y == 0 ? &before : nullptr, pending, next, then);
    parity_of_exchange_ ^= 1;
    return pending;
  }

  template <class Now, class Next>
  void round(int64_t t, int64_t j, int64_t rb, Pending<Now>* before, Pending<Next>& pending, const Scan& next, int64_t then) {
    pending.spread(mine_.size() * shares_with_pair(j) * units_of(mine_.last - 1).size() * Now::GATES);
    auto part_of_product = [&](int64_t share, int64_t distance, int64_t pair, float* to) {
      const int64_t direction = (j * shares_ + distance) % 2 ? 1 : -1;  // to and fro
      if (before) product_after<Now>(t, share, pair, rb, to, *before);
      else product<Now>(t, share, pair, rb, direction, to, pending);
      before = nullptr;
    };
    for (int64_t share = mine_.first; share < mine_.last; share++)
      for (int64_t distance = 1; distance < shares_; distance++) {
        const Part theirs = units_of(share + distance < shares_ ? share + distance : share + distance - shares_);
        const int64_t pair = theirs.first + j;
        if (j < theirs.size()) part_of_product(share, distance, pair, exchange(share, pair, rb));
      }
    publish(s_.progress[thread_], ++announced_);
    for (int64_t share = mine_.first; share < mine_.last; share++) {
      const Part units = units_of(share);
      const int64_t pair = units.first + j;
      if (j >= units.size()) {
        pending.finish();
        continue;
      }
      if (share > mine_.first) pending.spread(units.size() * Now::GATES);
      float* own = own_[parity_ ^= 1];
      part_of_product(share, shares_, pair, own);
      pending.finish();
      for (int other = 0; other < threads_; other++)
        if (other != thread_) wait_for(s_.progress[other], announced_);
      if (then < 0) {
        leave_h<Next>(share, pair, rb, own);
        continue;
      }
      pending.begin([&](BackwardPair<Next>& p) { pointwise(p, next, then, share, pair, rb, own, true); });
    }
  }

  // The pairs of units of a share: the last ones have one more, if need be.
  RHAPSODE_INLINE Part units_of(int64_t share) const {
    const int64_t first = share * least_pairs_ + (share > smaller_ ? share - smaller_ : 0);
    return {first, first + least_pairs_ + (share >= smaller_)};
  }
  // How many shares have a j-th pair.
  RHAPSODE_INLINE int64_t shares_with_pair(int64_t j) const { return j < least_pairs_ ? shares_ : shares_ - smaller_; }

  // accumulators += the gradients of pairs of units [first, first + count) times their weights to `pair`.
  template <class Cell, class Job>
  RHAPSODE_INLINE void multiply_gates(int64_t t, int64_t pair, int64_t rb, int64_t first, int64_t count, int64_t direction,
                                      Job& job) const {
    const int64_t Q = Cell::LAYER_GATES * P_, column = first * Cell::LAYER_GATES + Cell::FIRST_GATE;
    const bf16* upper = s_.d_gates[t & 1] + (2 * rb * Q + column) * TILE;
    const bf16* lower = upper + Q * TILE;
    const bf16* weights = s_.backward_weights + (pair * Q + column) * 2 * TILE;
    if (Cell::GATES == Cell::LAYER_GATES)
      return multiply<Keep::left>(upper, lower, weights, count * Cell::GATES, direction, job);
    for (int64_t i = 0; i < count; i++) {
      const int64_t at = (direction > 0 ? i : count - 1 - i) * Cell::LAYER_GATES * TILE;
      multiply<Keep::left>(upper + at, lower + at, weights + 2 * at, Cell::GATES, direction, job);
    }
  }

  // A share's part of dh_t-1 (or dm_t) of a pair of units.
  template <class Cell, class Job>
  void product(int64_t t, int64_t share, int64_t pair, int64_t rb, int64_t direction, float* to, Job& pending) const {
    const Part units = units_of(share);
    clear_block();
    multiply_gates<Cell>(t, pair, rb, units.first, units.size(), direction, pending);
    store_block(contiguous(to));
  }

  // The first one of a stage overtakes the pointwise part of the last pair of the stage before it, which may give the last
  // tiles.
  template <class Cell>
  void product_after(int64_t t, int64_t share, int64_t pair, int64_t rb, float* to, Pending<Cell>& before) const {
    const Part units = units_of(share);
    const int64_t ready = units.size() - 1;
    NoWeave none;
    clear_block();
    before.spread(ready * Cell::GATES);
    multiply_gates<Cell>(t, pair, rb, units.first, ready, 1, before);
    before.finish();
    multiply_gates<Cell>(t, pair, rb, units.first + ready, 1, 1, none);
    store_block(contiguous(to));
  }

  float* exchange(int64_t share, int64_t pair, int64_t rb) const {
    return s_.exchange[parity_of_exchange_] + ((share * P_ + pair) * R_ + rb) * 4 * SQUARE;
  }

  template <class Cell>
  RHAPSODE_INLINE void pointwise(BackwardPair<Cell>& p, const Scan& s, int64_t t, int64_t share, int64_t pair, int64_t rb,
                                 const float* own, bool with_parts) const {
    using Form = FormOf<Cell>;
    const int64_t row = rb * PAIR, block = pair * 2 / Cell::HALVES, blocks = 2 * P_ / Cell::HALVES;
    const int64_t Q = Cell::LAYER_GATES * P_, column = pair * Cell::LAYER_GATES + Cell::FIRST_GATE;
    p.own = own;
    p.parts = with_parts && shares_ > 1 ? exchange(0, pair, rb) : nullptr;
    p.part_pitch = P_ * R_ * 4 * SQUARE;
    p.share = static_cast<int>(share), p.shares = shares_;
    p.d_upper = s.d_output ? s.d_output + ((t * R_ + rb) * 2 * P_ + pair) * TILE : NOTHING;
    p.d_lower = s.d_output ? p.d_upper + P_ * TILE : NOTHING;
    if (Cell::HISTORY) {
      p.before = s.history + ((t * 2 * P_ + 2 * pair) * R_ + rb) * TILE;
      p.now = p.before + 2 * P_ * R_ * TILE;
      p.word_pitch = R_ * TILE;
    } else {
      p.before_upper = s.h + ((t * R_ + rb) * 2 * P_ + pair) * TILE;
      p.before_lower = p.before_upper + P_ * TILE;
      p.now_upper = p.before_upper + R_ * 2 * P_ * TILE;
      p.now_lower = p.now_upper + P_ * TILE;
    }
    p.saved_pitch = R_ * PAIR * Form::SAVED_LINES * 32;
    if (Form::SAVED_LINES) p.saved = s.saved + (t * blocks + block) * p.saved_pitch + row * Form::SAVED_LINES * 32;
    p.carry_half = R_ * PAIR * LANES;
    p.carry = s.d_carry + (2 * pair * R_ * PAIR + row) * LANES;
    p.gates_upper = s.d_gates[t & 1] + (2 * rb * Q + column) * TILE;
    p.gates_lower = p.gates_upper + Q * TILE;
    p.rows_upper = nullptr;
    if (s.d_rows) {
      p.rows_upper = s.d_rows + ((t * R_ + rb) * 2 * Q + column) * TILE;
      p.rows_lower = p.rows_upper + Q * TILE;
    }
    p.tokens_pitch = s.tokens_pitch * 2 * TILE;
    p.tokens = s.d_tokens + column * p.tokens_pitch + (t * R_ + rb) * 2 * TILE;
    if (Cell::TWO_GRADIENTS) p.extra_tokens = s.d_tokens + (Q + pair) * p.tokens_pitch + (t * R_ + rb) * 2 * TILE;
    p.rows = static_cast<int>(s.B - row < PAIR ? s.B - row : PAIR);
  }

  // The gradient of the h before the first step: the product, the others' parts and, where h is carried, its own way.
  template <class Cell>
  void leave_h(int64_t share, int64_t pair, int64_t rb, const float* own) const {
    for (int half = 0; half < 2; half++) {
      const int64_t unit = pair * PAIR + half * LANES;
      for (int r = 0; r < PAIR && rb * PAIR + r < s_.B; r++) {
        Vec sum = load(own + in_block(r, half));
        for (int other = 0; other < shares_; other++)
          if (other != share) sum = _mm512_add_ps(sum, load(exchange(other, pair, rb) + in_block(r, half)));
        if (Cell::CARRIES && !Cell::HISTORY)
          sum = _mm512_add_ps(sum, load(s_.d_carry + (((2 * pair + half) * R_ + rb) * PAIR + r) * LANES));
        store_plain(sum, s_.d_h_in + (rb * PAIR + r) * s_.H + unit, s_.H - unit);
      }
    }
  }

  template <class Cell>
  void leave() const {
    if (!Cell::HISTORY || !s_.d_c_in) return;
    const int64_t end = units_of(mine_.last - 1).last * PAIR;
    for (int64_t unit = units_of(mine_.first).first * PAIR; unit < end && unit < s_.H; unit += LANES)
      for (int64_t b = 0; b < s_.B; b++)
        store_plain(load(s_.d_carry + (unit / LANES * R_ * PAIR + b) * LANES), s_.d_c_in + b * s_.H + unit, s_.H - unit);
  }

  const Scan& s_;
  const int64_t P_, R_;
  const int shares_;
  const int64_t least_pairs_, smaller_;  // of units in a share; shares with no more than these
  const int thread_, threads_;
  const Part mine_;  // shares of this thread
  int32_t announced_ = 0;
  int parity_ = 0, parity_of_exchange_ = 0;
  alignas(64) float own_[2][4 * SQUARE];
};

// `Stages`: the cell of a step, or those of its two stages.
template <class... Stages>
void scan_backward(const Scan& s, int thread, int threads) {
  const int shares = active_threads(pairs(s.H), s.shares), active = active_threads(shares, threads);
  if (thread >= active) return;
  TileRegisters registers;
  BackwardScan(s, shares, thread, active).run<Stages...>();
}

}  // namespace
}  // namespace rhapsode::amx

// The recurrence backward in time.
//
//     dh_t-1 = dG_t W_hh + (what comes from the layer above)
//
// Each thread owns a run of units: it computes their dG, and of each product the part that sums over its own columns of
// gates. That needs no dG of others; instead the threads exchange parts of dh, a fifth of the bytes. In round j a thread
// computes its part of the j-th pair of units of each other thread, announces it, computes its part of its own j-th pair
// and, with all parts of that, the pointwise part of the step before, which is woven into the products of round j + 1.
// The last pair of a step is woven into the first product of the next, up to where that needs its result.
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

  const float* own;       // dh, this thread's part (or the whole of it): a block of [2][2][16][16]
  const float* parts;     // those of the threads before and after it, part_pitch apart; null at the last step
  int64_t part_pitch;
  int thread, threads;
  const bf16 *d_upper, *d_lower;       // d_output: row tiles
  const bf16 *now_upper, *now_lower;   // h of this step and the one before: row tiles; or, with HISTORY,
  const bf16 *before_upper, *before_lower;
  const bf16 *now, *before;            // words (row 2p, row 2p + 1) of c, block_pitch from one half to the other
  const bf16* saved;
  int64_t saved_pitch, carry_half, word_pitch;  // from one block of units to the next
  float* carry;
  bf16 *gates_upper, *gates_lower;     // row tiles
  bf16 *rows_upper, *rows_lower;       // row tiles of the input's part, or null
  bf16 *tokens, *extra_tokens;         // token tiles of the first pair of columns; extra: the gru's input part of n
  int64_t tokens_pitch;                // from one pair of columns to the next
  int rows;
  bf16* waiting;                       // what the first of two rows leaves for the second

  RHAPSODE_INLINE int pieces() const { return BLOCKS * padded_rows(); }

  // A row of a block each. A word of a token tile holds two rows: the first of them waits.
  RHAPSODE_INLINE void piece(int n) {
    const int block = BLOCKS == 1 ? 0 : n >= padded_rows(), r = n - block * padded_rows();
    Words d[COLUMNS], extra[HALVES];
    row(block, r, d, extra);
    if (r % 2 == 0) {
      unrolled<COLUMNS>(RHAPSODE_LOOP(c) { store(waiting + c * 32, d[c]); });
      if constexpr (Form::TWO_GRADIENTS)
        unrolled<HALVES>(RHAPSODE_LOOP(half) { store(waiting + (COLUMNS + half) * 32, extra[half]); });
      return;
    }
    unrolled<COLUMNS>(RHAPSODE_LOOP(c) {
      store(tokens + (block * Form::PAIRS + c / 2) * tokens_pitch + (c % 2) * TILE + r / 2 * 32,
            joined(words(waiting + c * 32), d[c]));
    });
    if constexpr (Form::TWO_GRADIENTS)
      unrolled<HALVES>(RHAPSODE_LOOP(half) {
        store(extra_tokens + half * TILE + r / 2 * 32, joined(words(waiting + (COLUMNS + half) * 32), extra[half]));
      });
  }

 private:
  RHAPSODE_INLINE int padded_rows() const { return (rows + 1) & ~1; }
  RHAPSODE_INLINE Vec sum_of_parts(int64_t at) const {
    Vec sum = load(own + at);
    if (parts) {
      for (int other = 0; other < threads; other++)
        if (other != thread) sum = _mm512_add_ps(sum, load(parts + other * part_pitch + at));
    }
    return sum;
  }

  RHAPSODE_INLINE static Vec half_of(Words w, int half) { return half ? high(w) : low(w); }

  RHAPSODE_INLINE void row(int block, int r, Words* d, Words* extra) {
    const int tile_row = (r & 15) * 32;
    const Words from_above = words((r < 16 ? d_upper : d_lower) + tile_row);
    Vec kept[Form::SAVED_VECTORS + 1];
    unrolled<Form::SAVED_LINES>(RHAPSODE_LOOP(i) {
      Words w = words(saved + block * saved_pitch + (r * Form::SAVED_LINES + i) * 32);
      kept[2 * i] = low(w), kept[2 * i + 1] = high(w);
    });
    unrolled<HALVES>(RHAPSODE_LOOP(half) {
      const int column = HALVES == 1 ? block : half;
      Vec y, before_y;
      if (Cell::HISTORY) {
        const int64_t at = block * word_pitch + r / 2 * 32;
        y = half_of(words(now + at), r & 1), before_y = half_of(words(before + at), r & 1);
      } else {
        y = half_of(words((r < 16 ? now_upper : now_lower) + tile_row), half);
        before_y = half_of(words((r < 16 ? before_upper : before_lower) + tile_row), half);
      }
      Vec dh = _mm512_add_ps(sum_of_parts(in_block(r, column)), half_of(from_above, column));
      Vec keep[Cell::SAVED + 1], gates[Cell::GATES];
      unrolled<Cell::SAVED>(RHAPSODE_LOOP(k) { keep[k] = kept[k * HALVES + half]; });
      float* state = carry + column * carry_half + r * LANES;
      Vec d_carry = Cell::CARRIES ? load(state) : zeros();
      Vec input_part = Cell::backward(keep, y, before_y, dh, d_carry, gates);
      if (Cell::CARRIES) store(state, d_carry);
      unrolled<Cell::GATES>(RHAPSODE_LOOP(g) { d[g * HALVES + half] = rounded(gates[g]); });
      if (Form::TWO_GRADIENTS) extra[half] = rounded(input_part);
    });
    bf16* gates = (r < 16 ? gates_upper : gates_lower) + block * Form::PAIRS * TILE + tile_row;
    unrolled<Form::PAIRS>(RHAPSODE_LOOP(p) { store(gates + p * TILE, joined(d[2 * p], d[2 * p + 1])); });
    if (!rows_upper) return;
    bf16* inputs = (r < 16 ? rows_upper : rows_lower) + block * Form::PAIRS * TILE + tile_row;
    unrolled<Form::PAIRS>(RHAPSODE_LOOP(p) {
      const bool other = Form::TWO_GRADIENTS && p == Form::PAIRS - 1;
      store(inputs + p * TILE, other ? joined(extra[0], extra[HALVES - 1]) : joined(d[2 * p], d[2 * p + 1]));
    });
  }
};

template <class Cell>
class BackwardScan {
  using Form = FormOf<Cell>;
  using Pair = BackwardPair<Cell>;

 public:
  BackwardScan(const Scan& s, int thread, int threads)
      : s_(s), P_(pairs(s.H)), R_(pairs(s.B)), Q_(Cell::GATES * P_), thread_(thread), threads_(threads),
        part_(part_of(P_, thread, threads)), rounds_((P_ + threads - 1) / threads) {}

  void run() {
    first_step();
    const int64_t last = s_.d_h_in ? 0 : 1;
    for (int64_t t = s_.T - 1; t >= last; t--) step(t);
    pending_.finish();
    leave();
  }

 private:
  // The pointwise part of the last step, whose dh comes from outside.
  void first_step() {
    for (int64_t rb = 0; rb < R_; rb++)
      for (int64_t pair = part_.first; pair < part_.last; pair++) {
        enter(pair, rb);
        pending_.finish();
        pending_ = Weave<Pair>(pointwise(s_.T - 1, pair, rb, own_[0], false));
        pending_.finish();
      }
    pending_ = Weave<Pair>();
  }

  // dh and dc that come with the state after the last step.
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

  // From dG_t: dh_t-1 and, where there is a step before, its pointwise part.
  void step(int64_t t) {
    bool first = true;
    const bool rows_outside = fits_second_level(part_.size() * Cell::GATES * P_ * 2 * TILE);
    const int64_t outer = rows_outside ? R_ : rounds_, inner = rows_outside ? rounds_ : R_;
    for (int64_t x = 0; x < outer; x++)
      for (int64_t y = 0; y < inner; y++) {
        round(t, rows_outside ? y : x, rows_outside ? x : y, first);
        first = false;
      }
  }

  void round(int64_t t, int64_t j, int64_t rb, bool first) {
    pending_.spread(targets(j) * part_.size() * Cell::GATES);
    for (int distance = 1; distance < threads_; distance++) {
      const int other = (thread_ + distance) % threads_;
      const Part theirs = part_of(P_, other, threads_);
      if (j >= theirs.size()) continue;
      product(t, theirs.first + j, rb, exchange(t, thread_, theirs.first + j, rb), first);
      first = false;
    }
    publish(s_.progress[thread_], ++announced_);
    if (j >= part_.size()) return pending_.finish();
    const int64_t pair = part_.first + j;
    float* own = own_[parity_ ^= 1];
    product(t, pair, rb, own, first);
    pending_.finish();
    for (int other = 0; other < threads_; other++)
      if (other != thread_) wait_for(s_.progress[other], announced_);
    if (t > 0) pending_ = Weave<Pair>(pointwise(t - 1, pair, rb, own, true));
    else leave_h(pair, rb, own);
  }

  int64_t targets(int64_t j) const {
    int64_t n = 0;
    for (int other = 0; other < threads_; other++) n += j < part_of(P_, other, threads_).size();
    return n;
  }

  // This thread's part of dh_t-1 of a pair of units. The first product of a step overtakes the pointwise part of the
  // last pair of the step before it, which gives its last tiles.
  void product(int64_t t, int64_t pair, int64_t rb, float* to, bool first) {
    const int64_t steps = part_.size() * Cell::GATES, column = part_.first * Cell::GATES;
    const bf16* upper = s_.d_gates[t & 1] + (2 * rb * Q_ + column) * TILE;
    const bf16* lower = upper + Q_ * TILE;
    const bf16* weights = s_.backward_weights + (pair * Q_ + column) * 2 * TILE;
    clear_block();
    if (first) {
      const int64_t ready = steps - Cell::GATES;
      pending_.spread(ready);
      multiply<Keep::left>(upper, lower, weights, ready, 1, pending_);
      pending_.finish();
      multiply<Keep::left>(upper + ready * TILE, lower + ready * TILE, weights + ready * 2 * TILE, Cell::GATES);
      direction_ = -1;
    } else {
      multiply<Keep::left>(upper, lower, weights, steps, direction_, pending_);
      direction_ = -direction_;
    }
    store_block(contiguous(to));
  }

  float* exchange(int64_t t, int64_t thread, int64_t pair, int64_t rb) const {
    return s_.exchange[t & 1] + ((thread * P_ + pair) * R_ + rb) * 4 * SQUARE;
  }

  Pair pointwise(int64_t t, int64_t pair, int64_t rb, const float* own, bool with_parts) {
    const int64_t row = rb * PAIR, block = pair * 2 / Cell::HALVES, blocks = 2 * P_ / Cell::HALVES;
    Pair p{};
    p.own = own;
    p.parts = with_parts && threads_ > 1 ? exchange(t + 1, 0, pair, rb) : nullptr;
    p.part_pitch = P_ * R_ * 4 * SQUARE;
    p.thread = thread_, p.threads = threads_;
    p.d_upper = s_.d_output + ((t * R_ + rb) * 2 * P_ + pair) * TILE;
    p.d_lower = p.d_upper + P_ * TILE;
    if (Cell::HISTORY) {
      p.before = s_.history + ((t * 2 * P_ + 2 * pair) * R_ + rb) * TILE;
      p.now = p.before + 2 * P_ * R_ * TILE;
      p.word_pitch = R_ * TILE;
    } else {
      p.before_upper = s_.h + ((t * R_ + rb) * 2 * P_ + pair) * TILE;
      p.before_lower = p.before_upper + P_ * TILE;
      p.now_upper = p.before_upper + R_ * 2 * P_ * TILE;
      p.now_lower = p.now_upper + P_ * TILE;
    }
    p.saved_pitch = R_ * PAIR * Form::SAVED_LINES * 32;
    if (Form::SAVED_LINES) p.saved = s_.saved + (t * blocks + block) * p.saved_pitch + row * Form::SAVED_LINES * 32;
    p.carry_half = R_ * PAIR * LANES;
    p.carry = s_.d_carry + (2 * pair * R_ * PAIR + row) * LANES;
    p.gates_upper = s_.d_gates[t & 1] + (2 * rb * Q_ + pair * Cell::GATES) * TILE;
    p.gates_lower = p.gates_upper + Q_ * TILE;
    if (s_.d_rows) {
      p.rows_upper = s_.d_rows + ((t * R_ + rb) * 2 * Q_ + pair * Cell::GATES) * TILE;
      p.rows_lower = p.rows_upper + Q_ * TILE;
    }
    p.tokens_pitch = s_.tokens_pitch * 2 * TILE;
    p.tokens = s_.d_tokens + pair * Cell::GATES * p.tokens_pitch + (t * R_ + rb) * 2 * TILE;
    if (Form::TWO_GRADIENTS) p.extra_tokens = s_.d_tokens + (Q_ + pair) * p.tokens_pitch + (t * R_ + rb) * 2 * TILE;
    p.rows = static_cast<int>(s_.B - row < PAIR ? s_.B - row : PAIR);
    p.waiting = waiting_;
    return p;
  }

  // The gradient of the h before the first step: the product, the others' parts and, where h is carried, its own way.
  void leave_h(int64_t pair, int64_t rb, const float* own) const {
    for (int half = 0; half < 2; half++) {
      const int64_t unit = pair * PAIR + half * LANES;
      for (int r = 0; r < PAIR && rb * PAIR + r < s_.B; r++) {
        Vec sum = load(own + in_block(r, half));
        for (int other = 0; other < threads_; other++)
          if (other != thread_) sum = _mm512_add_ps(sum, load(exchange(0, other, pair, rb) + in_block(r, half)));
        if (Cell::CARRIES && !Cell::HISTORY)
          sum = _mm512_add_ps(sum, load(s_.d_carry + (((2 * pair + half) * R_ + rb) * PAIR + r) * LANES));
        store_plain(sum, s_.d_h_in + (rb * PAIR + r) * s_.H + unit, s_.H - unit);
      }
    }
  }

  void leave() const {
    if (!Cell::HISTORY || !s_.d_c_in) return;
    for (int64_t unit = part_.first * PAIR; unit < part_.last * PAIR && unit < s_.H; unit += LANES)
      for (int64_t b = 0; b < s_.B; b++)
        store_plain(load(s_.d_carry + (unit / LANES * R_ * PAIR + b) * LANES), s_.d_c_in + b * s_.H + unit, s_.H - unit);
  }

  const Scan& s_;
  const int64_t P_, R_, Q_;
  const int thread_, threads_;
  const Part part_;
  const int64_t rounds_;
  Weave<Pair> pending_;
  int32_t announced_ = 0;
  int parity_ = 0;
  int64_t direction_ = 1;
  alignas(64) float own_[2][4 * SQUARE];
  alignas(64) bf16 waiting_[(Form::COLUMNS + 2) * 32];
};

template <class Cell>
void scan_backward(const Scan& s, int thread, int threads) {
  const int active = active_threads(pairs(s.H), threads);
  if (thread >= active) return;
  TileRegisters registers;
  BackwardScan<Cell>(s, thread, active).run();
}

}  // namespace
}  // namespace rhapsode::amx

// The recurrence forward in time.
//
// Each thread owns a run of units and computes all their gates; after each step the threads wait for one another, as
// every product needs all of h. Within a step the products of one block go through the matrix unit while the pointwise
// part of the block before is woven in between.
#pragma once

#include "cells.h"
#include "product.h"
#include "scan.h"
#include "scan_parts.h"
#include "weave.h"

namespace rhapsode::amx {
namespace {

// The pointwise part of one block of units and 32 rows, at one time step.
template <class Cell>
struct ForwardBlock {
  using Form = FormOf<Cell>;
  static constexpr int HALVES = Cell::HALVES, COLUMNS = Form::COLUMNS;

  const float* products;  // W h: [pairs of a block][2][2][16][16]
  const bf16* input;      // lines of this block
  const int32_t* lines;
  const float* bias;
  float* carry;
  int64_t carry_half;  // from one half's carry to the other's
  bf16 *h_upper, *h_lower;  // row tiles of the pair of units
  float* even_half;    // lstm: h of the even block of the pair, [32][16]
  bool odd;
  bf16 *saved, *history, *turned_words;  // null without training
  int64_t history_half;
  bf16* turned[2];
  float* h_out;        // plain, at the last step, else null
  int64_t unit, H;
  int rows;

  // Two rows each, as a word of the turned tile holds two; at last that tile. An odd last row brings its neighbour along,
  // which is padding.
  RHAPSODE_INLINE int pieces() const { return row_pairs() + 1; }

  RHAPSODE_INLINE void piece(int n) {
    if (n >= row_pairs()) return turn();
    Vec h[2][HALVES], c[2][HALVES];
    unrolled<2>(RHAPSODE_LOOP(k) { row(2 * n, k, h[k], c[k]); });
    if (!saved_on()) return;
    unrolled<HALVES>(RHAPSODE_LOOP(half) {
      store(turned_words + (half * 16 + n) * 32, joined(h[0][half], h[1][half]));
      if (Cell::HISTORY) store(history + half * history_half + n * 32, joined(c[0][half], c[1][half]));
    });
  }

 private:
  RHAPSODE_INLINE int row_pairs() const { return (rows + 1) / 2; }
  RHAPSODE_INLINE bool saved_on() const { return turned_words != nullptr; }

  // Row `even` + k of k = 0, 1, which lies behind the other wherever it goes.
  RHAPSODE_INLINE void row(int even, int k, Vec* h, Vec* c) {
    Vec s[COLUMNS], a[COLUMNS], kept[Form::SAVED_VECTORS + 1];
    const int r = even + k;
    const bf16* line = input + int64_t{lines[r]} * (Form::LAYER_PAIRS * 32);
    unrolled<Form::PAIRS>(RHAPSODE_LOOP(p) {
      Words w = words(line + p * 32);
      const float* from = products + p * 4 * SQUARE + in_block(even, 0) + k * LANES;
      s[2 * p] = load(from), s[2 * p + 1] = load(from + SQUARE);
      a[2 * p] = low(w), a[2 * p + 1] = high(w);
    });
    unrolled<HALVES>(RHAPSODE_LOOP(half) {
      Vec gates[Cell::GATES], inputs[Cell::GATES], keep[Cell::SAVED + 1];
      unrolled<Cell::GATES>(RHAPSODE_LOOP(g) { gates[g] = s[g * HALVES + half], inputs[g] = a[g * HALVES + half]; });
      float* state = carry + half * carry_half + r * LANES;
      c[half] = Cell::CARRIES ? load(state) : zeros();
      h[half] = Cell::forward(gates, inputs, bias ? load(bias + half * LANES) : zeros(), c[half], keep);
      if (Cell::CARRIES) store(state, c[half]);
      unrolled<Cell::SAVED>(RHAPSODE_LOOP(k) { kept[k * HALVES + half] = keep[k]; });
      if (h_out && r < rows) store_plain(h[half], h_out + r * H + unit + half * LANES, H - unit - half * LANES);
    });
    if (saved_on())
      unrolled<Form::SAVED_LINES>(RHAPSODE_LOOP(i) {
        store(saved + (r * Form::SAVED_LINES + i) * 32, joined(kept[2 * i], kept[2 * i + 1]));
      });
    bf16* tile = (even < 16 ? h_upper : h_lower) + (even & 15) * 32 + k * 32;
    if (HALVES == 2) store(tile, joined(h[0], h[HALVES - 1]));
    else if (odd) store(tile, joined(load(even_half + r * LANES), h[0]));
    else store(even_half + r * LANES, h[0]);
  }

  RHAPSODE_INLINE void turn() {
    if (!saved_on()) return;
    for (int half = 0; half < HALVES; half++) store_transposed(turned_words + half * TILE, turned[half]);
  }
};

// The state before the first step, for one thread's pairs of units.
template <class Cell>
void enter_state(const Scan& s, Part part) {
  const int64_t P = pairs(s.H), R = pairs(s.B);
  const float* carried = Cell::HISTORY ? s.c_in : s.h_in;
  alignas(64) bf16 turning[2][TILE];
  for (int64_t pair = part.first; pair < part.last; pair++)
    for (int64_t rb = 0; rb < R; rb++) {
      clear(turning, sizeof turning);
      for (int64_t b = rb * PAIR; b < s.B && b < (rb + 1) * PAIR; b++) {
        Vec h[2], c[2];
        for (int half = 0; half < 2; half++) {
          int64_t unit = pair * PAIR + half * LANES;
          h[half] = load_plain(s.h_in + b * s.H + unit, s.H - unit);
          c[half] = load_plain(carried + b * s.H + unit, s.H - unit);
          if (Cell::CARRIES) store(s.carry + ((2 * pair + half) * R * PAIR + b) * LANES, c[half]);
          put_row(turning[half], b & 31, h[half]);
          if (Cell::HISTORY && s.history)
            put_row(s.history + ((2 * pair + half) * R * 16 + rb * 16) * 32, b & 31, c[half]);
        }
        store(s.h + ((b >> 4) * P + pair) * TILE + (b & 15) * 32, joined(h[0], h[1]));
      }
      if (s.turned)
        for (int half = 0; half < 2; half++)
          store_transposed(turning[half], s.turned + ((2 * pair + half) * s.turned_pitch + rb) * TILE);
    }
}

template <class Cell>
void leave_state(const Scan& s, Part part) {
  if (!Cell::HISTORY) return;
  const int64_t R = pairs(s.B);
  for (int64_t unit = part.first * PAIR; unit < part.last * PAIR && unit < s.H; unit += LANES)
    for (int64_t b = 0; b < s.B; b++)
      store_plain(load(s.carry + (unit / LANES * R * PAIR + b) * LANES), s.c_out + b * s.H + unit, s.H - unit);
}

template <class Cell>
void describe(ForwardBlock<Cell>& f, const Scan& s, int64_t t, int64_t block, int64_t rb) {
  using Form = FormOf<Cell>;
  const int64_t P = pairs(s.H), R = pairs(s.B), row = rb * PAIR, unit_block = block * Cell::HALVES;
  const int64_t pair = unit_block / 2, blocks = 2 * P / Cell::HALVES, last = s.T - 1;
  f.input = s.input + (block * s.line_rows * Form::LAYER_PAIRS + Form::FIRST_PAIR) * 32;
  f.lines = s.lines + (t * R + rb) * PAIR;
  f.bias = s.bias ? s.bias + unit_block * LANES : nullptr;
  f.carry = s.carry + (unit_block * R * PAIR + row) * LANES;
  f.carry_half = R * PAIR * LANES;
  f.h_upper = s.h + (((t + 1) * R + rb) * 2 * P + pair) * TILE;
  f.h_lower = f.h_upper + P * TILE;
  f.odd = unit_block & 1;
  f.saved = nullptr;
  if (s.saved) f.saved = s.saved + (((t * blocks + block) * R + rb) * PAIR) * Form::SAVED_LINES * 32;
  if (Cell::HISTORY && s.history) f.history = s.history + (((t + 1) * 2 * P + unit_block) * R + rb) * TILE;
  f.history_half = R * TILE;
  if (s.turned)
    for (int half = 0; half < Cell::HALVES; half++)
      f.turned[half] = s.turned + ((unit_block + half) * s.turned_pitch + (t + 1) * R + rb) * TILE;
  f.h_out = t == last && s.h_out ? s.h_out + row * s.H : nullptr;
  f.unit = unit_block * LANES, f.H = s.H;
  f.rows = static_cast<int>(s.B - row < PAIR ? s.B - row : PAIR);
}

// What one thread needs for itself.
template <class Cell>
struct ForwardScratch {
  alignas(64) float products[2][FormOf<Cell>::PAIRS * 4 * SQUARE], even_half[PAIR * LANES];
  alignas(64) bf16 turned_words[2 * TILE];
};

// One step of `Cell` for one thread's pairs of units: `left` is h before it, or what takes its place, row tiles [2R][P].
template <class Cell>
void forward_step(const Scan& s, int64_t t, Part part, const bf16* left, ForwardScratch<Cell>& scratch) {
  using Form = FormOf<Cell>;
  const int64_t P = pairs(s.H), R = pairs(s.B);
  // Which loop is outside: rows, so that their panel of h stays in the first-level cache, unless the weights would then
  // have to come from beyond the second-level cache once for each block of rows.
  const bool rows_outside = fits_second_level(part.size() * Cell::LAYER_GATES * P * 2 * TILE);
  const int64_t blocks_a_pair = 2 / Cell::HALVES, outer = rows_outside ? R : part.size(), inner = R * part.size() / outer;
  Weave<ForwardBlock<Cell>> pending;
  int parity = 0;
  for (int64_t x = 0; x < outer; x++)
    for (int64_t y = 0; y < inner; y++)
      for (int64_t half = 0; half < blocks_a_pair; half++) {
        const int64_t rb = rows_outside ? x : y, pair = part.first + (rows_outside ? y : x);
        const int64_t block = pair * blocks_a_pair + half;
        const bf16 *upper = left + rb * 2 * P * TILE, *lower = upper + P * TILE;
        const bf16* weights = s.forward_weights + (block * Form::LAYER_PAIRS + Form::FIRST_PAIR) * P * 2 * TILE;
        float* sums = scratch.products[parity];
        pending.spread(Form::PAIRS * P);
        for (int p = 0; p < Form::PAIRS; p++) {
          // To and fro, where the panel of h is larger than the first-level cache.
          const int direction = P > PANEL_TILES && (block * Form::PAIRS + p) % 2 ? -1 : 1;
          clear_block();
          multiply<Keep::left>(upper, lower, weights + p * P * 2 * TILE, P, direction, pending);
          store_block(contiguous(sums + p * 4 * SQUARE));
        }
        pending.finish();
        pending.begin([&](ForwardBlock<Cell>& next) {
          describe(next, s, t, block, rb);
          next.products = sums, next.even_half = scratch.even_half;
          next.turned_words = s.turned ? scratch.turned_words : nullptr;
          if (next.rows < PAIR - 1) clear(scratch.turned_words, sizeof scratch.turned_words);
        });
        parity ^= 1;
      }
  pending.finish();
}

// Runs take(t, part, stage) for each step; it gives stage(f) what to do, each of which needs what all threads have done in
// the one before. `Cell` has the state.
template <class Cell, class Take>
RHAPSODE_INLINE void over_steps(const Scan& s, int thread, int threads, Take take) {
  const int64_t P = pairs(s.H);
  const int active = active_threads(P, threads);
  if (thread >= active) return;
  const Part part = part_of(P, thread, active);
  TileRegisters registers;
  enter_state<Cell>(s, part);
  int32_t done = 1;
  publish(s.progress[thread], done);
  for (int64_t t = 0; t < s.T; t++)
    take(t, part, [&](auto work) {
      for (int other = 0; other < active; other++)
        if (other != thread) wait_for(s.progress[other], done);
      work();
      publish(s.progress[thread], ++done);
    });
  leave_state<Cell>(s, part);
}

template <class Cell>
void scan_forward(const Scan& s, int thread, int threads) {
  const int64_t step = pairs(s.B) * 2 * pairs(s.H) * TILE;
  ForwardScratch<Cell> scratch;
  over_steps<Cell>(s, thread, threads, [&](int64_t t, Part part, auto stage) {
    stage([&] { forward_step<Cell>(s, t, part, s.h + t * step, scratch); });
  });
}

// In two stages: m from h, h from m.
template <class Factor, class Gates>
void scan_forward(const Scan& s, int thread, int threads) {
  const int64_t step = pairs(s.B) * 2 * pairs(s.H) * TILE;
  ForwardScratch<Factor> factor_scratch;
  ForwardScratch<Gates> scratch;
  over_steps<Gates>(s, thread, threads, [&](int64_t t, Part part, auto stage) {
    stage([&] { forward_step<Factor>(*s.factor, t, part, s.h + t * step, factor_scratch); });
    stage([&] { forward_step<Gates>(s, t, part, s.factor->h + (t + 1) * step, scratch); });
  });
}

}  // namespace
}  // namespace rhapsode::amx

// The products and moves of data around the recurrence, on tiles: what the kernels in dense.cpp are given. Each function
// does the part of `thread` of `threads`, inside one parallel().
#pragma once

#include <cstdint>

#include "formats.h"
#include "layers.h"
#include "masks.h"

namespace rhapsode::amx {

// A matrix of activations or their gradients [T * B, columns] as row tiles: T steps of B rows, each of which begins a block.
// Dense ones are one step of all rows, or of whole blocks, which is the same.
struct RowTiles {
  bf16* data = nullptr;
  int64_t T = 0, B = 0, columns = 0;

  int64_t rows() const { return T * B; }
  int64_t blocks_a_step() const { return pairs(B); }
  int64_t blocks() const { return T * pairs(B); }
  int64_t width() const { return pairs(columns); }
  int64_t size() const { return blocks() * width() * 2 * TILE; }
  bool dense() const { return T == 1 || B % PAIR == 0; }
  // The shape of the same rows as dense ones, if these are at most `eighths` eighths as many blocks; else as they are.
  RowTiles packed(int eighths) const {
    const RowTiles all{nullptr, 1, rows(), columns};
    return 8 * all.blocks() <= eighths * blocks() ? all : RowTiles{nullptr, T, B, columns};
  }
  bool lies_as(const RowTiles& other) const { return T == other.T || (dense() && other.dense()); }
  // Which of all 32 * blocks() rows, padding and all, row r is.
  int64_t place(int64_t r) const { return r / B * blocks_a_step() * PAIR + r % B; }
  // The first row of a block, and how many it has.
  int64_t first_row(int64_t block) const { return block / blocks_a_step() * B + block % blocks_a_step() * PAIR; }
  int64_t rows_in(int64_t block) const {
    const int64_t left = B - block % blocks_a_step() * PAIR;
    return left < PAIR ? left : PAIR;
  }
  // Columns [32 k, 32 k + 32) of row number `place`.
  RHAPSODE_INLINE bf16* at(int64_t place, int64_t k) const {
    return data + ((place >> 4) * width() + k) * TILE + (place & 15) * 32;
  }
};

// Turned tiles [2 * pairs(columns)][pitch] of the same matrix: one for each 32 rows.
struct TurnedTiles {
  bf16* data = nullptr;
  int64_t pitch = 0;
};

// Which columns of gates go together (formats.h): for a matrix with `gates` * `units` outputs.
struct GateColumns {
  int64_t gates = 1, halves = 2, units = 0;

  int64_t pairs_total() const { return gates * pairs(units); }
  int64_t pairs_a_block() const { return gates * halves / 2; }
};

// to = from, as row tiles and, if wanted, turned ones. The source is row tiles of steps of any length, or else fp32 panels.
void arrange(const RowTiles* from, const ConstPanels* panels, const RowTiles& to, const TurnedTiles& turned, int thread,
             int threads);
// The other way.
void to_panels(const RowTiles& from, const Panels& to, int thread, int threads);

// Lines of gates (scan.h) x W + bias, for forward_weights [Q][pairs(D)][2] and bias [Q * 32] in tile order.
void project(const RowTiles& x, const bf16* forward_weights, const float* bias, const GateColumns& columns, bf16* lines,
             int thread, int threads);

// to = x W from row tiles to row tiles: weights [pairs of to][pairs of x][2]. Both ways: gradients times backward
// weights, activations times forward weights.
void multiply_rows(const RowTiles& x, const bf16* weights, const RowTiles& to, int thread, int threads);

// to = a + b; all lie alike.
void add(const RowTiles& a, const RowTiles& b, const RowTiles& to, int thread, int threads);

// Token tiles [pairs][pitch][2] of row tiles.
void arrange_tokens(const RowTiles& from, bf16* tokens, int64_t pitch, int thread, int threads);

// Dense token tiles [pairs][to_pitch][2] of those of T steps of B rows, [pairs][pitch][2].
struct TokenSteps {
  const bf16* tiles;
  int64_t pitch, pairs, T, B;
};
void pack_tokens(const TokenSteps& from, bf16* to, int64_t to_pitch, int thread, int threads);

// Of a gated MLP: inner = gelu(gate) * up, as row tiles and, if wanted, turned ones; pairs of columns of a are gates and ups
// of the same units in turn.
void gate(const RowTiles& a, const RowTiles& inner, const TurnedTiles& turned, int thread, int threads);
// a becomes its gradient, as row tiles and token tiles.
void gate_backward(const RowTiles& a, const RowTiles& d_inner, bf16* tokens, int64_t pitch, int thread, int threads);

// Where token tiles of gradients lie: pair q at tiles + source(q) * pitch. With `extra` > 0, of every so many pairs the
// last one's gradient of the input is not that of the recurrence, and lies behind all others.
struct TokenTiles {
  const bf16* tiles;
  int64_t pitch, pairs_total, extra;

  int64_t source(int64_t q) const { return extra && q % extra == extra - 1 ? pairs_total + q / extra : q; }
};

// Sums of the rows of d by symbol: gradient [block][symbols][pairs of a block][2][16] (+)= factor * d. Without `lines`,
// all rows belong to symbol 0.
struct RowSums {
  TokenTiles d;
  RowTiles shape;        // of d's rows
  GateColumns columns;
  int64_t symbols;
  const int32_t* lines;  // of all rows, padding and all, or null
  const float* factors;  // likewise, or null for ones
  float* gradient;
  bool accumulate;
};
void row_sums(const RowSums& s, int thread, int threads);

// gradient[Q][P][4 fp32 tiles] (+)= x^T d over `tiles` tiles of 32 rows; x: turned tiles [2P]. DropConnect falls on
// the result. `sums`: of the rows of the same pairs of columns, taken on the way, while these are in the
// cache; or null. Of every `columns.gates` pairs of columns only those from first_gate on, before last_gate.
struct WeightGradient {
  TurnedTiles x;
  TokenTiles d;
  int64_t tiles, P, Q;
  float* gradient;
  bool accumulate;
  Kept dropconnect;
  GateColumns columns;
  const RowSums* sums;
  int64_t first_gate = 0, last_gate = columns.gates;
};
void weight_gradient(const WeightGradient& w, int thread, int threads);

// The weights of 32 inputs x 32 outputs, [kk][s][16][16] in fp32, as two forward and two backward tiles. Block (q, k) of
// W_hh; with DropConnect, what that keeps: entry [k * G + g, u] for W_hh[g * H + u, k].
struct WeightTiles {
  bf16 *forward, *backward;
  int64_t P, Q;
};
void pack_weights(const float* values, int64_t first, int64_t last, const WeightTiles& to, const Kept& dropconnect,
                  const GateColumns& columns);
// fp32 lines [..][2][16] as bf16 lines, of which the first is number `first` / 32.
void pack_lines(const float* values, int64_t first, int64_t last, bf16* lines);
// Lines of gates of all rows: the table's line of the row's symbol times its factor.
void scaled_lines(const bf16* table, int64_t symbols, const int32_t* lines, const float* factors, int64_t rows,
                  const GateColumns& columns, bf16* to, int thread, int threads);

// The output layer with softmax and cross-entropy over blocks of 32 rows [first_block, last_block) of x.
struct OutputPass {
  RowTiles x;
  Kept kept;                     // of x
  int64_t first_block, last_block;
  const bf16* forward_weights;   // [Q][P][2]
  const bf16* backward_weights;  // [P][Q][2]
  const float* bias;             // [Q * 32]
  int64_t V, P, Q;
  const int32_t* targets;        // [rows]
  // Training: the gradients of scale * weights[r] * nats[r].
  const float* weights;          // [rows], or null for ones
  float scale;
  bf16* tokens;                  // token tiles [Q][tokens_pitch][2] from first_block on, or null: no training
  int64_t tokens_pitch;
  RowTiles d_x;
  float* nats;                   // [rows], or null
  float* logits;                 // plain [rows, V], or null
  float* scratch;                // [threads][output_scratch(Q)]
  bf16* tile_scratch;            // [threads][output_tiles(Q, P)]
};
int64_t output_scratch(int64_t Q, int64_t P);
int64_t output_tiles(int64_t Q, int64_t P);
void output_pass(const OutputPass& pass, int thread, int threads);
// to = turned tiles of the same blocks of x after dropout, both from the first of these blocks on.
void drop_turned(const OutputPass& pass, const TurnedTiles& from, const TurnedTiles& to, int thread, int threads);

}  // namespace rhapsode::amx

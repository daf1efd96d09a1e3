// The tile formats of the AMX path, declared once.
//
// AMX multiplies tiles of 1 KB: 16 rows of 64 bytes. Every operand lies in memory as whole tiles, contiguous, 64-byte
// aligned and in the order of use, so that no product ever gathers. Sizes are padded with zeros: hidden and input
// widths to pairs of 16 (32), batches to blocks of 32 rows. Where a batch is far from that, only the recurrence works on padded
// steps; products that know no time take the rows of all steps one behind the other (RowTiles in dense.h).
//
// bf16 numbers always come as PAIRS in one 32-bit word, because AMX's dot product adds a.low * b.low + a.high * b.high.
// Which two numbers share a word is our choice, so long as both operands agree. We take element l of one vector of 16
// and element l of the next: two rounded fp32 vectors merge with a shift and a blend, and part again as cheaply.
//
//   row tile      16 rows x 32 columns, word (r, l) = (x[r, l], x[r, 16 + l]). Left operand. Activations h, gradients dG.
//   turned tile   16 columns x 32 rows, word (l, p) = (x[2p, l], x[2p + 1, l]): the transpose. Left operand of the weight
//                 gradients, whose sum runs over rows (tokens).
//   token tile    16 columns x 32 rows, word (p, l) = (x[2p, l], x[2p + 1, l]). Right operand of the weight gradients.
//   weight tile   right operand of forward (32 inputs x 16 outputs) and of backward (32 outputs x 16 inputs); the words
//                 pair inputs l and 16 + l, or outputs l and 16 + l, as in the row tile it meets.
//
// A matrix of row tiles is ordered [rows / 16][columns / 32]; turned tiles [columns / 16][rows / 32]; token tiles and
// weight tiles, which are used two at a time, [columns / 32][rows / 32][2].
//
// Columns of gates: 16 units of one gate make a column of tiles, two of them a PAIR q. Cells with an even number of
// gates (lstm) pair two gates of the same 16 units, (i f) (g o); the others pair two blocks of 16 units of the same
// gate. A BLOCK is what the pointwise part of a cell works on at once: all gates of 16 units (lstm: 2 pairs) or of
// 32 units (gru: 3 pairs, rnn: 1, mlstm: 5).
#pragma once

#include <cstdint>

namespace rhapsode::amx {

using bf16 = uint16_t;

constexpr int64_t LANES = 16;   // numbers of 32 bits in a vector
constexpr int64_t PAIR = 32;    // columns of a row tile; rows of a block
constexpr int64_t TILE = 512;   // bf16 numbers in a tile
constexpr int64_t SQUARE = 256; // fp32 numbers in a tile
constexpr int64_t GRAIN = 4 * SQUARE;  // a 32 x 32 block of a weight matrix, as four fp32 tiles

inline int64_t padded(int64_t n) { return (n + PAIR - 1) / PAIR * PAIR; }
inline int64_t pairs(int64_t n) { return (n + PAIR - 1) / PAIR; }

}  // namespace rhapsode::amx

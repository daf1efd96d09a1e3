// The dropout masks of rhapsode.nn.masks, 64 bytes at a time: one vector of sixteen hashes.
#pragma once

#include "dense.h"
#include "simd.h"

namespace rhapsode::amx {
namespace {

RHAPSODE_INLINE Words hashed(Words x) {
  x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
  x = _mm512_mullo_epi32(x, _mm512_set1_epi32(0x7feb352d));
  x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
  x = _mm512_mullo_epi32(x, _mm512_set1_epi32(int(0x846ca68b)));
  return _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
}

// Which of columns [64 group, 64 group + 64) of a row are kept, a bit each.
RHAPSODE_INLINE uint64_t kept(const Mask& mask, uint32_t row, int64_t columns, int64_t group) {
  const Words lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const uint32_t words_a_row = static_cast<uint32_t>((columns + 63) / 64 * 16);
  const uint32_t first = row * words_a_row + static_cast<uint32_t>(group) * 16;
  const Words counter = _mm512_add_epi32(_mm512_set1_epi32(int(first)), lanes);
  const Words bytes = hashed(_mm512_xor_si512(counter, _mm512_set1_epi32(int(mask.key))));
  return _mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8(static_cast<char>(mask.threshold)));
}

// Of columns [32 pair, 32 pair + 32).
RHAPSODE_INLINE uint32_t kept_pair(const Mask& mask, uint32_t row, int64_t columns, int64_t pair) {
  return static_cast<uint32_t>(kept(mask, row, columns, pair / 2) >> (pair % 2 * 32));
}

// Dropout of columns [32 pair, 32 pair + 32) of row r of the data.
RHAPSODE_INLINE void mask_pair(const Mask& mask, int64_t r, int64_t columns, int64_t pair, Vec* v) {
  const uint32_t keep = kept_pair(mask, mask.row(r), columns, pair);
  v[0] = _mm512_maskz_mul_ps(__mmask16(keep), v[0], all(mask.scale));
  v[1] = _mm512_maskz_mul_ps(__mmask16(keep >> 16), v[1], all(mask.scale));
}

// DropConnect of block (q, k) of W_hh, four fp32 tiles: entry [k * G + g, u] of the mask for W_hh[g * H + u, k].
RHAPSODE_INLINE void mask_weights(const Mask& mask, const GateColumns& columns, int64_t q, int64_t k, const float* from,
                                  float* to) {
  const int64_t together = columns.pairs_a_block();
  for (int s = 0; s < 2; s++) {
    const int64_t column = q % together * 2 + s, gate = column / columns.halves;
    const int64_t unit_block = q / together * columns.halves + column % columns.halves;
    for (int kk = 0; kk < 2; kk++)
      for (int l = 0; l < LANES; l++) {
        const uint32_t row = static_cast<uint32_t>((k * PAIR + kk * LANES + l) * columns.gates + gate);
        const uint64_t keep = kept(mask, row, columns.units, unit_block / 4) >> (unit_block % 4 * 16);
        const int64_t at = (kk * 2 + s) * SQUARE + l * LANES;
        store(to + at, _mm512_maskz_mul_ps(__mmask16(keep), load(from + at), all(mask.scale)));
      }
  }
}

}  // namespace
}  // namespace rhapsode::amx

// What the two directions of the scan share: the shape of a cell's blocks, threads' parts, small moves of data.
#pragma once

#include "masks.h"
#include "scan.h"
#include "simd.h"

namespace rhapsode::amx {
namespace {

template <class Cell>
struct FormOf {
  static constexpr int COLUMNS = Cell::GATES * Cell::HALVES;  // of 16, in a block
  static constexpr int PAIRS = COLUMNS / 2;
  static constexpr int SAVED_VECTORS = Cell::SAVED * Cell::HALVES;  // a row and block
  static constexpr int SAVED_LINES = SAVED_VECTORS / 2;
  // Of a line of the input's part and of a block of the layer's weights: pairs, and this cell's first one.
  static constexpr int LAYER_PAIRS = Cell::LAYER_GATES * Cell::HALVES / 2, FIRST_PAIR = Cell::FIRST_GATE * Cell::HALVES / 2;
};

struct Part {
  int64_t first, last;
  RHAPSODE_INLINE int64_t size() const { return last - first; }
};
RHAPSODE_INLINE Part part_of(int64_t n, int64_t thread, int64_t threads) {
  return {n * thread / threads, n * (thread + 1) / threads};
}
// Threads that have something to do where there are n things.
RHAPSODE_INLINE int active_threads(int64_t n, int threads) { return n < threads ? static_cast<int>(n) : threads; }

RHAPSODE_INLINE void publish(Progress& mine, int32_t value) { __atomic_store_n(&mine.value, value, __ATOMIC_RELEASE); }
RHAPSODE_INLINE void wait_for(const Progress& other, int32_t value) {
  if (__atomic_load_n(&other.value, __ATOMIC_ACQUIRE) < value) wait_until(other, value);
}

// A panel of 32 rows and this many tiles (32 KB) leaves room in the first-level cache for what the pointwise part uses.
constexpr int64_t PANEL_TILES = 16;
RHAPSODE_INLINE bool fits_second_level(int64_t numbers) { return numbers * int64_t{sizeof(bf16)} <= (1280 << 10); }

// Element (row, 16 * half) of a 32 x 32 block of four fp32 tiles.
RHAPSODE_INLINE int64_t in_block(int row, int half) { return ((row >> 4) * 2 + half) * SQUARE + (row & 15) * LANES; }

// The first `n` of sixteen numbers, between plain memory and a vector; n may be more than 16, or less than 1.
RHAPSODE_INLINE __mmask16 first_lanes(int64_t n) {
  return n >= LANES ? __mmask16(0xffff) : n <= 0 ? __mmask16(0) : __mmask16((1u << n) - 1);
}
RHAPSODE_INLINE Vec load_plain(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
RHAPSODE_INLINE void store_plain(Vec x, float* p, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), x); }

// Row `row` of a tile whose words pair rows (2p, 2p + 1), leaving the other row of the word.
RHAPSODE_INLINE void put_row(bf16* tile, int64_t row, Vec x) {
  bf16* p = tile + row / 2 * 32;
  Words old = words(p);
  store(p, row & 1 ? joined(_mm512_castps_si512(low(old)), rounded(x)) : joined(rounded(x), old));
}

// Two rows of a row tile as a row of each of two token tiles.
RHAPSODE_INLINE void store_tokens(Words even, Words odd, bf16* first, bf16* second) {
  constexpr int blend = 0xf8;  // a | (b & c)
  const Words upper = _mm512_set1_epi32(int(0xffff0000));
  store(first, _mm512_ternarylogic_epi32(_mm512_slli_epi32(odd, 16), even, _mm512_set1_epi32(0xffff), blend));
  store(second, _mm512_ternarylogic_epi32(_mm512_srli_epi32(even, 16), odd, upper, blend));
}

// Entries [row, 16 block …] of what dropout falls on, after it.
RHAPSODE_INLINE Vec dropped(const Kept& kept, int64_t row, int64_t block, Vec x) {
  return _mm512_maskz_mul_ps(__mmask16(kept.at(row, block)), x, all(kept.scale));
}

RHAPSODE_INLINE void clear(void* p, int64_t bytes) {
  if (bytes > 0) __builtin_memset(p, 0, bytes);  // of nothing, p may be null
}

}  // namespace
}  // namespace rhapsode::amx

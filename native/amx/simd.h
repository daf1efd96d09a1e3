// Sixteen fp32 lanes at a time: rounding to bf16 pairs, the cells' nonlinearities, a transpose.
// Only for files compiled with AVX-512 flags.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <utility>

#include "curves.h"
#include "formats.h"
#include "panels.h"


namespace rhapsode::amx {
namespace {

// f(Index<0>), f(Index<1>), …: a loop whose arrays of vectors are sure to live in registers.
template <int i>
struct Index {
  RHAPSODE_INLINE constexpr operator int() const { return i; }
};
template <class F, int... i>
RHAPSODE_INLINE void unrolled_over(F&& f, std::integer_sequence<int, i...>) {
  (f(Index<i>()), ...);
}
template <int n, class F>
RHAPSODE_INLINE void unrolled(F&& f) {
  unrolled_over(f, std::make_integer_sequence<int, n>());
}
#define RHAPSODE_LOOP(i) [&](auto i) __attribute__((always_inline))

using Vec = __m512;
using Words = __m512i;

RHAPSODE_INLINE Vec all(float x) { return _mm512_set1_ps(x); }
RHAPSODE_INLINE Vec zeros() { return _mm512_setzero_ps(); }
RHAPSODE_INLINE Vec load(const float* p) { return _mm512_load_ps(p); }
RHAPSODE_INLINE void store(float* p, Vec x) { _mm512_store_ps(p, x); }

// fp32 whose upper halves are the nearest bf16 (ties away from zero, as the half is added to the magnitude).
RHAPSODE_INLINE Words rounded(Vec x) { return _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000)); }

// Words (low, high) of two vectors that went through `rounded`; four cheap instructions where the instruction made for
// this would block the one port that the reciprocals need.
RHAPSODE_INLINE Words joined(Words low, Words high) {
  constexpr int blend = 0xf8;  // a | (b & c)
  return _mm512_ternarylogic_epi32(_mm512_srli_epi32(low, 16), high, _mm512_set1_epi32(int(0xffff0000)), blend);
}
RHAPSODE_INLINE Words joined(Vec low, Vec high) { return joined(rounded(low), rounded(high)); }
RHAPSODE_INLINE Vec low(Words w) { return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16)); }
RHAPSODE_INLINE Vec high(Words w) {
  return _mm512_castsi512_ps(_mm512_and_si512(w, _mm512_set1_epi32(int(0xffff0000))));
}
RHAPSODE_INLINE Words words(const bf16* p) { return _mm512_load_si512(p); }
RHAPSODE_INLINE void store(bf16* p, Words w) { _mm512_store_si512(p, w); }

// The parabola of segment x / width, rounded to the nearest: adding 1.5 * 2^23 leaves that number in the lowest bits, the
// only ones that the permutation looks at.
RHAPSODE_INLINE Vec on_curve(const Parabolas& curve, Vec x, float segments_per_unit) {
  Words i = _mm512_castps_si512(_mm512_fmadd_ps(x, all(segments_per_unit), all(12582912.0f)));
  auto look_up = [i](const float* table) { return _mm512_permutex2var_ps(load(table), i, load(table + 16)); };
  Vec slope = _mm512_fmadd_ps(look_up(curve.square), x, look_up(curve.linear));
  return _mm512_fmadd_ps(slope, x, look_up(curve.constant));
}

RHAPSODE_INLINE Vec sigmoid(Vec x) {
  constexpr int smaller_magnitude_sign_of_first = 0x2;
  Vec inside = _mm512_range_ps(x, all(SIGMOID_END), smaller_magnitude_sign_of_first);
  return on_curve(sigmoid_curve, inside, 1 / SIGMOID_WIDTH);
}

RHAPSODE_INLINE Vec tanh(Vec x) {
  const Words sign = _mm512_set1_epi32(int(0x80000000)), bits = _mm512_castps_si512(x);
  // min gives its second operand where one is not a number: what is wrong stays visible.
  Vec inside = _mm512_min_ps(all(TANH_END), _mm512_castsi512_ps(_mm512_andnot_si512(sign, bits)));
  Words y = _mm512_castps_si512(on_curve(tanh_curve, inside, 1 / TANH_WIDTH));
  constexpr int blend = 0xf8;  // a | (b & c)
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(y, bits, sign, blend));
}

// 2^x, relative error 1e-7: the fraction through a polynomial (minimax of degree 5), the whole part through the exponent.
RHAPSODE_INLINE Vec power_of_two(Vec x) {
  constexpr int fraction_above_floor = 0x01;
  Vec f = _mm512_reduce_ps(x, fraction_above_floor);
  Vec p = _mm512_fmadd_ps(all(0.00187758f), f, all(0.00898934f));
  p = _mm512_fmadd_ps(p, f, all(0.05582632f));
  p = _mm512_fmadd_ps(p, f, all(0.24015362f));
  p = _mm512_fmadd_ps(p, f, all(0.69315307f));
  p = _mm512_fmadd_ps(p, f, all(0.99999993f));
  return _mm512_scalef_ps(p, x);
}
constexpr float LOG2_E = 1.44269504f;

// Sixteen vectors of 32-bit words as a matrix, transposed in place.
RHAPSODE_INLINE void transpose(Words* r) {
  Words t[16];
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 2; j++) {
      r[4 * i + 2 * j] = _mm512_unpacklo_epi64(t[4 * i + j], t[4 * i + 2 + j]);
      r[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(t[4 * i + j], t[4 * i + 2 + j]);
    }
  // Now r[4i + j] holds, in its four quarters c, column 4c + j of rows 4i … 4i + 3.
  for (int j = 0; j < 4; j++) {
    t[j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
    t[4 + j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
    t[8 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
  }
  for (int j = 0; j < 4; j++) {
    r[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
    r[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
    r[4 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0x88);
    r[12 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0xdd);
  }
}

// The sixteen vectors at `from`, transposed, to the tile `to`.
RHAPSODE_INLINE void store_transposed(const bf16* from, bf16* to) {
  Words r[16];
  for (int i = 0; i < 16; i++) r[i] = words(from + i * 32);
  transpose(r);
  for (int i = 0; i < 16; i++) store(to + i * 32, r[i]);
}

}  // namespace
}  // namespace rhapsode::amx

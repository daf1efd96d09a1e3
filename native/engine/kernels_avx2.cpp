// The engine's kernels for AVX2 with FMA. See native/README.md for what may not stand here.
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "engine/kernels.h"

#define RHAPSODE_VEC_AVX2
namespace rhapsode::engine {
namespace {
#include "vec.h"

constexpr int BATCH_ROWS = 3, BATCH_LINES = 2, SINGLE_GROUPS = 1;
constexpr int OFFSET = 0;  // what is added to an int8 input

RHAPSODE_INLINE F as_floats(I a) { return {_mm256_castsi256_ps(a.v)}; }
RHAPSODE_INLINE I shift_left_16(I a) { return {_mm256_slli_epi32(a.v, 16)}; }
RHAPSODE_INLINE F larger_magnitude(F a, F b) {
  __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(b.v), _mm256_set1_epi32(0x7fffffff));
  return {_mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a.v), magnitude))};
}
RHAPSODE_INLINE F to_floats(I a) { return {_mm256_cvtepi32_ps(a.v)}; }
// acc + the sum of the products of four signed bytes, by way of 16 bits, where nothing can overflow.
RHAPSODE_INLINE I dot4(I acc, I w, I x) {
  __m256i even = _mm256_madd_epi16(_mm256_srai_epi16(_mm256_slli_epi16(w.v, 8), 8),
                                   _mm256_srai_epi16(_mm256_slli_epi16(x.v, 8), 8));
  __m256i odd = _mm256_madd_epi16(_mm256_srai_epi16(w.v, 8), _mm256_srai_epi16(x.v, 8));
  return {_mm256_add_epi32(acc.v, _mm256_add_epi32(even, odd))};
}
// Numbers from -127 to 127 as bytes, rounded to the nearest.
RHAPSODE_INLINE void store_bytes(uint8_t* p, F a) {
  __m256i words = _mm256_cvtps_epi32(a.v);
  __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(halves, halves));
}

#include "engine/kernels.inc"
}  // namespace

const Kernels& avx2_kernels() {
  static const Kernels table = make_table();
  return table;
}

}  // namespace rhapsode::engine

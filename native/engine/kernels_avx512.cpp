// The engine's kernels for AVX-512 (F, BW, DQ, VL). See native/README.md for what may not stand here.
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "engine/kernels.h"

#define RHAPSODE_VEC_AVX512
namespace rhapsode::engine {
namespace {
#include "vec.h"
#include "engine/avx512.inc"

constexpr int OFFSET = 0;  // what is added to an int8 input

// acc + the sum of the products of four signed bytes, by way of 16 bits, where nothing can overflow.
RHAPSODE_INLINE I dot4(I acc, I w, I x) {
  __m512i even = _mm512_madd_epi16(_mm512_srai_epi16(_mm512_slli_epi16(w.v, 8), 8),
                                   _mm512_srai_epi16(_mm512_slli_epi16(x.v, 8), 8));
  __m512i odd = _mm512_madd_epi16(_mm512_srai_epi16(w.v, 8), _mm512_srai_epi16(x.v, 8));
  return {_mm512_add_epi32(acc.v, _mm512_add_epi32(even, odd))};
}
// Numbers from -127 to 127 as bytes, rounded to the nearest.
RHAPSODE_INLINE void store_bytes(uint8_t* p, F a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}

#include "engine/kernels.inc"
}  // namespace

const Kernels& avx512_kernels() {
  static const Kernels table = make_table();
  return table;
}

}  // namespace rhapsode::engine

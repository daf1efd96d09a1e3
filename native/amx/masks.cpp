#include "masks.h"

#include "scan_parts.h"

namespace rhapsode::amx {
namespace {

RHAPSODE_INLINE Words hashed(Words x) {
  x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
  x = _mm512_mullo_epi32(x, _mm512_set1_epi32(0x7feb352d));
  x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
  x = _mm512_mullo_epi32(x, _mm512_set1_epi32(int(0x846ca68b)));
  return _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
}

}  // namespace

// Sixteen hashes at a time: 64 columns of a row.
void draw(const Mask& mask, int64_t rows, int64_t columns, uint16_t* bits, int64_t pitch, int thread, int threads) {
  const int64_t groups = (columns + 63) / 64;
  const Words lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const Words key = _mm512_set1_epi32(int(mask.key)), threshold = _mm512_set1_epi8(static_cast<char>(mask.threshold));
  const Part part = part_of(rows, thread, threads);
  for (int64_t r = part.first; r < part.last; r++) {
    const uint32_t first = mask.row(r) * static_cast<uint32_t>(groups) * 16;
    Words counter = _mm512_add_epi32(_mm512_set1_epi32(int(first)), lanes);
    for (int64_t g = 0; g < groups; g++) {
      const uint64_t kept = _mm512_cmpge_epu8_mask(hashed(_mm512_xor_si512(counter, key)), threshold);
      for (int i = 0; i < 4; i++) bits[(4 * g + i) * pitch + r] = static_cast<uint16_t>(kept >> (16 * i));
      counter = _mm512_add_epi32(counter, _mm512_set1_epi32(16));
    }
  }
}

}  // namespace rhapsode::amx

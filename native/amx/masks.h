// The dropout masks of rhapsode.nn.masks as bits, drawn once a step for all that they fall on.
#pragma once

#include <cstdint>

#include "layers.h"
#include "memory.h"

namespace rhapsode::amx {

// Which entries of a matrix are kept: bit l of bits[c * pitch + r] for entry [r, 16 c + l]. Without bits, all are.
struct Kept {
  const uint16_t* bits = nullptr;
  int64_t pitch = 0;
  float scale = 1;

  RHAPSODE_INLINE bool on() const { return bits; }
  RHAPSODE_INLINE uint16_t at(int64_t row, int64_t block) const { return bits[block * pitch + row]; }
};

// The bits of rows of data, or of rows k * G + g of a recurrent matrix; columns are rounded up to 64.
void draw(const Mask& mask, int64_t rows, int64_t columns, uint16_t* bits, int64_t pitch, int thread, int threads);

// A mask and its bits.
class DrawnMask {
 public:
  // Of a matrix [rows, columns], whose bits `draw`, called by all threads, then makes. Without dropout, neither does anything.
  void set(const Mask& mask, int64_t rows, int64_t columns) {
    mask_ = mask, rows_ = rows, columns_ = columns, kept_ = {};
    if (!mask.on()) return;
    // Up to 32 rows beyond the last may be read; an odd number of cache lines, so that columns' lines do not displace each other.
    const int64_t pitch = (rows / 64 * 2 + 3) * 32;
    bits_.reserve(pitch * round_up(columns, 64) / 16);
    kept_ = {bits_.data(), pitch, mask.scale};
  }
  void draw(int thread, int threads) {
    if (kept_.on()) amx::draw(mask_, rows_, columns_, bits_.data(), kept_.pitch, thread, threads);
  }
  const Kept& kept() const { return kept_; }

 private:
  Mask mask_;
  int64_t rows_ = 0, columns_ = 0;
  Buffer<uint16_t> bits_;
  Kept kept_;
};

}  // namespace rhapsode::amx

// The one kernel that every product of the AMX path goes through: a 32 x 32 block of the result, kept in four tile
// registers while a run of operand tiles streams by.
//
// One step of the loop loads two left and two right tiles and multiplies them into the four accumulators: 64 cycles in
// the matrix unit. In these cycles the core can execute some 60 to 90 vector instructions for free, but only if they are
// spread evenly: a clump that fills the reorder window stops the matrix unit (docs/LOG.md has the measurements). So the
// kernel takes a `weave`, work that is cut into slices, and runs a few after each step: the pointwise part of one block
// hides behind the products of the next.
#pragma once

#include "formats.h"
#include "simd.h"

namespace rhapsode::amx {
namespace {

// Tile registers exist for the calling thread while this lives: eight of 16 rows x 64 bytes.
class TileRegisters {
 public:
  TileRegisters() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
  }
  ~TileRegisters() { __asm__ volatile("tilerelease"); }
};

// The compiler does not know that tile instructions touch memory: nothing is moved over this line.
RHAPSODE_INLINE void memory_fence() { __asm__ volatile("" : : : "memory"); }

RHAPSODE_INLINE void clear_block() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

// The block as four fp32 tiles, given by where they lie: [row half][column half], rows 64 bytes apart.
struct Block {
  float *t00, *t01, *t10, *t11;
};
RHAPSODE_INLINE Block contiguous(float* p) { return {p, p + SQUARE, p + 2 * SQUARE, p + 3 * SQUARE}; }

RHAPSODE_INLINE void load_block(const Block& b) {
  memory_fence();
  _tile_loadd(0, b.t00, 64);
  _tile_loadd(1, b.t01, 64);
  _tile_loadd(2, b.t10, 64);
  _tile_loadd(3, b.t11, 64);
}
RHAPSODE_INLINE void store_block(const Block& b) {
  _tile_stored(0, b.t00, 64);
  _tile_stored(1, b.t01, 64);
  _tile_stored(2, b.t10, 64);
  _tile_stored(3, b.t11, 64);
  memory_fence();
}

struct NoWeave {
  RHAPSODE_INLINE void slice() {}
};

// Which operand stays in the first-level cache; the other one streams past it.
enum class Keep { left, right };

// accumulators += left * right over `steps` tiles. `left0`, `left1`: the upper and lower 16 rows; `right`: pairs of
// tiles. `direction` -1 walks the same tiles from last to first, so that a panel that is a little larger than the cache
// is entered where it was left.
template <Keep keep, class Weave>
RHAPSODE_INLINE void multiply(const bf16* left0, const bf16* left1, const bf16* right, int64_t steps, int64_t direction,
                              Weave& weave) {
  memory_fence();
  if (direction < 0) {
    left0 += (steps - 1) * TILE;
    left1 += (steps - 1) * TILE;
    right += (steps - 1) * 2 * TILE;
  }
  const int64_t left_step = direction * TILE, right_step = direction * 2 * TILE;
  for (int64_t k = 0; k < steps; k++) {
    if (keep == Keep::left) {
      _tile_stream_loadd(6, right, 64);
      _tile_loadd(4, left0, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_stream_loadd(7, right + TILE, 64);
      _tile_dpbf16ps(1, 4, 7);
      weave.slice();
      _tile_loadd(5, left1, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    } else {
      _tile_loadd(6, right, 64);
      _tile_stream_loadd(4, left0, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, right + TILE, 64);
      _tile_dpbf16ps(1, 4, 7);
      weave.slice();
      _tile_stream_loadd(5, left1, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    left0 += left_step;
    left1 += left_step;
    right += right_step;
    weave.slice();
  }
}

template <Keep keep>
RHAPSODE_INLINE void multiply(const bf16* left0, const bf16* left1, const bf16* right, int64_t steps) {
  NoWeave none;
  multiply<keep>(left0, left1, right, steps, 1, none);
}

}  // namespace
}  // namespace rhapsode::amx

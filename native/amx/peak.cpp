#include "peak.h"

#include "product.h"

namespace rhapsode::amx {

int64_t tile_products(int64_t rounds) {
  TileRegisters on;
  clear_block();
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t round = 0; round < rounds; round++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  constexpr int64_t operations = LANES * LANES * PAIR * 2;  // of one product of two tiles
  return rounds * 4 * operations;
}

}  // namespace rhapsode::amx

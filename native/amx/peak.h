// The matrix units alone.
#pragma once

#include <cstdint>

namespace rhapsode::amx {

// Nothing but `rounds` of tile products in bf16, all of whose operands are in tile registers; the floating-point
// operations.
int64_t tile_products(int64_t rounds);

}  // namespace rhapsode::amx

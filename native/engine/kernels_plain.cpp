// The engine's kernels for any processor. See native/README.md for what may not stand here.
#include <math.h>
#include <string.h>

#include "engine/kernels.h"

#define RHAPSODE_VEC_PLAIN
namespace rhapsode::engine {
namespace {
#include "vec.h"

constexpr int BATCH_ROWS = 2, BATCH_LINES = 1, SINGLE_GROUPS = 1;
constexpr int OFFSET = 0;  // what is added to an int8 input

RHAPSODE_INLINE F as_floats(I a) {
  F r;
  for (int i = 0; i < W; i++) r.v[i] = float_of(a.v[i]);
  return r;
}
RHAPSODE_INLINE I shift_left_16(I a) {
  for (int i = 0; i < W; i++) a.v[i] <<= 16;
  return a;
}
RHAPSODE_INLINE F larger_magnitude(F a, F b) {
  for (int i = 0; i < W; i++) {
    const uint32_t most = bits_of(a.v[i]), magnitude = bits_of(b.v[i]) & 0x7fffffffu;
    a.v[i] = float_of(magnitude > most ? magnitude : most);
  }
  return a;
}
RHAPSODE_INLINE F to_floats(I a) {
  F r;
  for (int i = 0; i < W; i++) r.v[i] = static_cast<float>(static_cast<int32_t>(a.v[i]));
  return r;
}
// acc + the sum of the products of four signed bytes.
RHAPSODE_INLINE I dot4(I acc, I w, I x) {
  for (int i = 0; i < W; i++)
    for (int b = 0; b < 32; b += 8)
      acc.v[i] += static_cast<uint32_t>(static_cast<int8_t>(w.v[i] >> b) * static_cast<int8_t>(x.v[i] >> b));
  return acc;
}
// Numbers from -127 to 127 as bytes, rounded to the nearest.
RHAPSODE_INLINE void store_bytes(uint8_t* p, F a) {
  a = nearest(a);
  for (int i = 0; i < W; i++) p[i] = static_cast<uint8_t>(static_cast<int>(a.v[i]));
}

#include "engine/kernels.inc"
}  // namespace

const Kernels& plain_kernels() {
  static const Kernels table = make_table();
  return table;
}

}  // namespace rhapsode::engine

// The engine's kernels for Arm NEON. See native/README.md for what may not stand here.
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "engine/kernels.h"

#define RHAPSODE_VEC_NEON
namespace rhapsode::engine {
namespace {
#include "vec.h"

constexpr int BATCH_ROWS = 4, BATCH_LINES = 1, SINGLE_GROUPS = 1;
constexpr int OFFSET = 0;  // what is added to an int8 input

RHAPSODE_INLINE F as_floats(I a) { return {vreinterpretq_f32_u32(a.v)}; }
RHAPSODE_INLINE I shift_left_16(I a) { return {vshlq_n_u32(a.v, 16)}; }
RHAPSODE_INLINE F larger_magnitude(F a, F b) {
  uint32x4_t magnitude = vandq_u32(vreinterpretq_u32_f32(b.v), vdupq_n_u32(0x7fffffff));
  return {vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(a.v), magnitude))};
}
RHAPSODE_INLINE F to_floats(I a) { return {vcvtq_f32_s32(vreinterpretq_s32_u32(a.v))}; }
// acc + the sum of the products of four signed bytes.
RHAPSODE_INLINE I dot4(I acc, I w, I x) {
  int8x16_t a = vreinterpretq_s8_u32(w.v), b = vreinterpretq_s8_u32(x.v);
#if defined(__ARM_FEATURE_DOTPROD)
  return {vreinterpretq_u32_s32(vdotq_s32(vreinterpretq_s32_u32(acc.v), a, b))};
#else
  int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
  int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(a), vget_high_s8(b)));
  return {vreinterpretq_u32_s32(vaddq_s32(vreinterpretq_s32_u32(acc.v), vpaddq_s32(low, high)))};
#endif
}
// Numbers from -127 to 127 as bytes, rounded to the nearest.
RHAPSODE_INLINE void store_bytes(uint8_t* p, F a) {
  int16x4_t halves = vqmovn_s32(vcvtnq_s32_f32(a.v));
  int8x8_t bytes = vqmovn_s16(vcombine_s16(halves, halves));
  vst1_lane_u32(reinterpret_cast<uint32_t*>(p), vreinterpret_u32_s8(bytes), 0);
}

#include "engine/kernels.inc"
}  // namespace

const Kernels& neon_kernels() {
  static const Kernels table = make_table();
  return table;
}

}  // namespace rhapsode::engine

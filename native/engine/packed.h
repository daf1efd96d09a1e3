// How the engine's matrices lie in memory, and what kernels read: the same order for every instruction set and precision.
//
// Outputs are cut into lines of 16, lines into groups of 4 (the last group may have fewer). A step is 4 bytes of each
// output's inputs: one fp32, two bf16 or four int8. A group is contiguous, step after step, line after line within a
// step: 64 bytes, one cache line, for 16 outputs. So one sequence reads every byte once, in order; and 16 steps of a
// line are a tile of AMX as they stand.
#pragma once

#include <cstdint>
#include <vector>

#include "memory.h"
#include "panels.h"
#include "threads.h"

namespace rhapsode::engine {

// split: fp32 as the sum of two bf16, for matrix units (Henry, Tang & Heinecke 2019): 16 steps of the larger parts, then the
// smaller parts of the same inputs.
enum class WeightType { fp32, bf16, int8, split };
constexpr int WEIGHT_TYPES = 4;
// Whether less is kept of a weight than nearly all of fp32.
constexpr bool is_rounded(WeightType type) { return type == WeightType::bf16 || type == WeightType::int8; }
constexpr int64_t LINE = 16, GROUP = 4, STEP_BYTES = 64;

// How many inputs a step holds, on average.
RHAPSODE_INLINE constexpr int64_t inputs_per_step(WeightType type) {
  return type == WeightType::bf16 ? 2 : type == WeightType::int8 ? 4 : 1;
}
// Steps that are used or left out together: what one product of tiles takes.
RHAPSODE_INLINE constexpr int64_t steps_together(WeightType type) { return type == WeightType::split ? 32 : 16; }

struct PackedMatrix {
  WeightType type = WeightType::fp32;
  int64_t inputs = 0;
  int64_t lines = 0;
  int64_t steps = 0;
  Array<uint8_t> data;
  Array<float> scale;     // int8: [lines * 16], what a weight's integer is multiplied with
  Array<int32_t> sums;    // int8: [lines * 16], 128 times the sum of an output's integers: some kernels add 128 to inputs
  std::vector<Range> used;  // of each group: the steps beyond which all weights are 0, whole tiles, which kernels leave out

  RHAPSODE_INLINE int64_t groups() const { return (lines + GROUP - 1) / GROUP; }
  RHAPSODE_INLINE int64_t lines_in(int64_t group) const {
    int64_t left = lines - group * GROUP;
    return left < GROUP ? left : GROUP;
  }
  RHAPSODE_INLINE const uint8_t* group(int64_t g) const { return data.data() + g * GROUP * steps * STEP_BYTES; }
  // The steps that any of `count` groups uses.
  RHAPSODE_INLINE Range used_by(int64_t group, int64_t count) const {
    Range all = used[group];
    for (int64_t g = group + 1; g < group + count; g++) {
      if (used[g].first < all.first) all.first = used[g].first;
      if (used[g].last > all.last) all.last = used[g].last;
    }
    return all;
  }
  int64_t bytes() const { return lines * steps * STEP_BYTES; }
  // Of those that kernels read.
  int64_t used_bytes() const;
};

// A matrix of so many lines of outputs, without its arrays.
PackedMatrix without_arrays(WeightType type, int64_t lines, int64_t inputs);

// What `used` is for these weights. The recurrent matrix of networks that were joined is block-diagonal.
std::vector<Range> used_steps(const PackedMatrix& m);

// rows[i]: the `inputs` weights of output i, or null for a padding output; as many as a multiple of 16.
PackedMatrix pack(WeightType type, const std::vector<const float*>& rows, int64_t inputs);

}  // namespace rhapsode::engine

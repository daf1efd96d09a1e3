#include "engine/packed.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace rhapsode::engine {
namespace {

// The nearest bf16; a tie goes to the even one.
uint16_t bf16_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);  // not a number stays so
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float float_of(uint16_t bf16) {
  const uint32_t bits = static_cast<uint32_t>(bf16) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

// Writes the inputs of one output, step after step; `stride` bytes lie between steps.
struct Lane {
  uint8_t* first;
  int64_t stride;

  template <class T>
  void put(int64_t input, T value) const {
    constexpr int64_t per_step = 4 / sizeof(T);
    put(input / per_step, input % per_step, value);
  }
  // As the number `at` of a step.
  template <class T>
  void put(int64_t step, int64_t at, T value) const {
    std::memcpy(first + step * stride + at * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
  }
  // Both parts of it.
  void put_split(int64_t input, float value) const {
    const uint16_t larger = bf16_of(value);
    const int64_t step = input / 32 * 32 + input % 32 / 2;
    put(step, input % 2, larger);
    put(step + 16, input % 2, bf16_of(value - float_of(larger)));
  }
};

// Symmetric: the largest weight becomes 127 or -127. A weight that is not a number makes the scale one too, which shows in the logits.
void quantise(const float* row, int64_t inputs, const Lane& lane, float* scale, int32_t* sum) {
  float most = 0;
  bool finite = true;
  for (int64_t k = 0; k < inputs; k++) most = std::fmax(most, std::fabs(row[k])), finite &= std::isfinite(row[k]);
  *scale = finite ? most / 127 : NAN;
  int32_t total = 0;
  for (int64_t k = 0; finite && most > 0 && k < inputs; k++) {
    int32_t q = static_cast<int32_t>(std::nearbyint(row[k] / *scale));
    q = q > 127 ? 127 : q < -127 ? -127 : q;
    lane.put(k, static_cast<int8_t>(q));
    total += q;
  }
  *sum = 128 * total;
}

}  // namespace

PackedMatrix without_arrays(WeightType type, int64_t lines, int64_t inputs) {
  PackedMatrix m;
  m.type = type, m.inputs = inputs, m.lines = lines;
  // Those for tiles are padded to whole ones.
  const int64_t per_step = inputs_per_step(type);
  m.steps = type == WeightType::fp32 ? inputs : round_up(inputs, steps_together(type) * per_step) / per_step;
  return m;
}

int64_t PackedMatrix::used_bytes() const {
  int64_t bytes = 0;
  for (int64_t g = 0; g < groups(); g++) bytes += lines_in(g) * (used[g].last - used[g].first) * STEP_BYTES;
  return bytes;
}

std::vector<Range> used_steps(const PackedMatrix& m) {
  const int64_t together = steps_together(m.type);
  std::vector<Range> used;
  for (int64_t g = 0; g < m.groups(); g++) {
    const int64_t step = m.lines_in(g) * STEP_BYTES;
    auto is_zero = [&](int64_t first, int64_t last) {
      const uint8_t *from = m.group(g) + first * step, *to = m.group(g) + last * step;
      return std::all_of(from, to, [](uint8_t byte) { return byte == 0; });
    };
    Range own{0, m.steps};
    while (own.first < own.last && is_zero(own.first, std::min(own.first + together, own.last))) own.first += together;
    own.first = std::min(own.first, own.last);
    while (own.last > own.first) {
      const int64_t before = (own.last - 1) / together * together;
      if (!is_zero(before, own.last)) break;
      own.last = before;
    }
    used.push_back(own);
  }
  return used;
}

PackedMatrix pack(WeightType type, const std::vector<const float*>& rows, int64_t inputs) {
  PackedMatrix m = without_arrays(type, static_cast<int64_t>(rows.size()) / LINE, inputs);
  const int64_t integers = type == WeightType::int8 ? m.lines * LINE : 0;
  Buffer<uint8_t> data(m.bytes());
  Buffer<float> scale(integers);
  Buffer<int32_t> sums(integers);
  for (int64_t i = 0; i < m.lines * LINE; i++) {
    const float* row = rows[static_cast<size_t>(i)];
    if (!row) continue;
    int64_t line = i / LINE, g = line / GROUP;
    Lane lane{data.data() + g * GROUP * m.steps * STEP_BYTES + line % GROUP * STEP_BYTES + i % LINE * 4,
              m.lines_in(g) * STEP_BYTES};
    if (type == WeightType::int8) quantise(row, inputs, lane, &scale[i], &sums[i]);
    for (int64_t k = 0; k < inputs; k++) {
      if (type == WeightType::fp32) lane.put(k, row[k]);
      if (type == WeightType::bf16) lane.put(k, bf16_of(row[k]));
      if (type == WeightType::split) lane.put_split(k, row[k]);
    }
  }
  m.data = std::move(data), m.scale = std::move(scale), m.sums = std::move(sums);
  m.used = used_steps(m);
  return m;
}

}  // namespace rhapsode::engine

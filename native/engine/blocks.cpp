// What stands around the recurrent layers as sequences move through a model: short convolution and gated MLP.
#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/walk.h"

namespace rhapsode::engine {
namespace {

void copy(const float* from, float* to, int64_t n) { std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float)); }

}  // namespace

// Floats of what a sequence has read: the last K - 1 vectors, padded.
int64_t Walk::past_size(size_t layer) const {
  const Layer& l = m_.layers[layer];
  return l.conv.taps ? (l.conv.taps - 1) * round_up(l.width, LINE) : 0;
}

void Walk::set_past(size_t layer, int64_t row, const float* plain) {
  const int64_t D = m_.layers[layer].width, width = round_up(D, LINE), size = past_size(layer);
  for (Own& own : own_)
    for (int64_t i = 0; i < size / width; i++) copy(plain + i * D, own.past[layer].data() + row * size + i * width, D);
}

void Walk::get_past(size_t layer, int64_t row, float* plain) const {
  const int64_t D = m_.layers[layer].width, width = round_up(D, LINE), size = past_size(layer);
  for (int64_t i = 0; i < size / width; i++) copy(own_[0].past[layer].data() + row * size + i * width, plain + i * D, D);
}

void Walk::move_past(size_t layer, int64_t from, int64_t to) {
  const int64_t size = past_size(layer);
  copy(own_[0].past[layer].data() + from * size, own_[0].past[layer].data() + to * size, size);
}

// Every thread of a team reads all of x, so each keeps what the convolution has read for itself.
Walk::Vectors Walk::convolve(size_t number, Vectors x, int64_t T, Own& own) const {
  const Layer& layer = m_.layers[number];
  const int64_t steps = layer.conv.taps - 1, width = round_up(layer.width, LINE);
  std::vector<const float*> read(static_cast<size_t>(steps + T));
  for (int64_t r = 0; r < rows_; r++) {
    float* past = own.past[number].data() + r * past_size(number);
    for (int64_t i = 0; i < steps; i++) read[static_cast<size_t>(i)] = past + i * width;
    for (int64_t t = 0; t < T; t++) read[static_cast<size_t>(steps + t)] = x.data + (t * rows_ + r) * x.ld;
    for (int64_t t = 0; t < T; t++)
      m_.kernels.convolve(&read[static_cast<size_t>(t)], layer.conv.taps, layer.conv.weight.data(), layer.conv.bias.data(),
                          own.convolved.data() + (t * rows_ + r) * m_.vector_width, width);
    for (int64_t i = 0; i < steps; i++) copy(read[static_cast<size_t>(T + i)], past + i * width, width);
  }
  return {own.convolved.data(), m_.vector_width};
}

// y + mlp(norm(y)) of n rows. Threads of a team divide the inner units, then the outputs, and wait for each other.
Walk::Vectors Walk::feed(const Mlp& mlp, Vectors y, int64_t n, const Team& team) {
  Own& own = own_[static_cast<size_t>(team.thread)];
  const Vectors z = m_.config.norm == NormKind::none ? y : normalise(mlp.norm, y, m_.config.hidden, n, own);
  const UnitPart inner = unit_part(m_.inner_lines, 2, team), outer = unit_part(m_.unit_lines, 1, team);
  const int64_t inner_width = m_.inner_lines * LINE, ld = 2 * inner_width;
  std::fill_n(own.base.begin(), n, nullptr);
  Operand operand = prepare(mlp.in, z.data, z.ld, n, own);
  m_.products().product(mlp.in, inner.groups, operand, n, own.base.data(), own.inner_gates.data() + inner.groups.first * GROUP * LINE,
                        ld);
  for (int64_t i = 0; i < n; i++)
    m_.kernels.gate(own.inner_gates.data() + i * ld, inner_.data() + i * inner_width, inner.lines);
  if (team.threads > 1) team.barrier();
  for (int64_t i = 0; i < n; i++) own.base[static_cast<size_t>(i)] = y.data + i * y.ld;
  operand = prepare(mlp.out, inner_.data(), inner_width, n, own);
  m_.products().product(mlp.out, outer.groups, operand, n, own.base.data(), fed_.data() + outer.groups.first * GROUP * LINE,
                        m_.width);
  if (team.threads > 1) team.barrier();
  return {fed_.data(), m_.width};
}

}  // namespace rhapsode::engine

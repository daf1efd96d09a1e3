#include "engine/walk.h"

#include <algorithm>
#include <cstring>

namespace rhapsode::engine {
namespace {

constexpr int64_t FEW_ROWS = 4;

// How many lines of units go from product to cell at once: for a few rows all of them, so that the product is one long
// stream of weights; for many rows so few that their gates stay in the nearest cache.
int64_t lines_at_once(const Model& m, int64_t rows) {
  const int64_t least = m.gates % GROUP ? GROUP : 1;
  return rows > FEW_ROWS ? least : m.unit_lines;
}

void copy(const float* from, float* to, int64_t n) { std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float)); }

}  // namespace

Range gate_groups(int64_t gates, Range lines) {
  return {(lines.first * gates + GROUP - 1) / GROUP, (lines.last * gates + GROUP - 1) / GROUP};
}

Walk::Walk(const Model& model, int64_t rows, int64_t most_steps, int threads)
    : m_(model), rows_(rows), states_(model.layers.size()), own_(static_cast<size_t>(threads)) {
  const int64_t n = rows * most_steps, padded = round_up(n, LINE);
  const int64_t few = std::min(rows, FEW_ROWS);  // rows may be dropped
  for (LayerState& s : states_) {
    for (Buffer<float>& h : s.h) h.reserve(n * m_.width);
    if (has_memory(m_.config.cell)) s.c.reserve(rows * m_.width);
    if (m_.config.cell == MLSTM || m_.config.cell == MOGRIFIER) s.m.reserve(rows * m_.width);
    if (m_.config.cell == MOGRIFIER) s.x.reserve(rows * m_.width);
  }
  if (m_.config.inner) inner_.reserve(n * m_.inner_lines * LINE), fed_.reserve(n * m_.width);
  bool vectors = m_.layers.size() > 1 || m_.config.input != InputKind::one_hot;
  for (Own& own : own_) {
    if (vectors) own.vector.reserve(n * m_.vector_width), own.input.reserve(n * m_.gate_width);
    if (m_.config.norm != NormKind::none) own.normed.reserve(n * m_.vector_width);
    if (m_.config.conv > 1) own.convolved.reserve(n * m_.vector_width);
    own.past.resize(m_.layers.size());
    for (size_t l = 0; l < m_.layers.size(); l++) own.past[l].reserve(rows * past_size(l));
    own.inner_gates.reserve(n * m_.inner_lines * 2 * LINE);
    own.gates.reserve(std::max(rows * lines_at_once(m_, rows), few * m_.unit_lines) * m_.gates * LINE);
    if (m_.config.cell == MOGRIFIER) own.gates.reserve(rows * 4 * m_.width);
    // The largest of all types: fp32.
    own.operand.reserve(padded * round_up(std::max(m_.vector_width, m_.inner_lines * LINE), 64) * 4);
    own.operand_scale.reserve(padded);
    own.base.resize(static_cast<size_t>(std::max(n, LINE)));
  }
}

void Walk::set_state(const StateArray& array, const float* plain) {
  const size_t l = static_cast<size_t>(array.layer);
  float* to = array.field ? states_[l].c.data() : states_[l].h[1].data();
  for (int64_t r = 0; r < rows_; r++, plain += array.width) {
    if (array.field == StateArray::CONV) set_past(l, r, plain);
    else copy(plain, to + r * m_.width, array.width);
  }
}

void Walk::get_state(const StateArray& array, float* plain) const {
  for (int64_t r = 0; r < rows_; r++) get_row(array, r, plain + r * array.width);
}

void Walk::get_row(const StateArray& array, int64_t row, float* plain) const {
  const size_t l = static_cast<size_t>(array.layer);
  if (array.field == StateArray::CONV) return get_past(l, row, plain);
  copy((array.field ? states_[l].c.data() : last_h(l, own_[0])) + row * m_.width, plain, array.width);
}

void Walk::drop_row(int64_t row) {
  rows_--;
  own_[0].held = nullptr;
  for (size_t l = 0; l < states_.size(); l++) {
    float* h = const_cast<float*>(last_h(l, own_[0]));
    if (row < rows_) copy(h + rows_ * m_.width, h + row * m_.width, m_.width);
    float* c = states_[l].c.data();
    if (c && row < rows_) copy(c + rows_ * m_.width, c + row * m_.width, m_.width);
    if (row < rows_ && past_size(l)) move_past(l, rows_, row);
  }
}

const float* Walk::last_h(size_t layer, const Own& own) const {
  return states_[layer].h[1 - own.pieces % 2].data() + (own.last_steps - 1) * rows_ * m_.width;
}

void Walk::read(const int32_t* ids, int64_t T, const Team& team) {
  Own& own = own_[static_cast<size_t>(team.thread)];
  const int64_t n = T * rows_;
  const UnitPart part = unit_part(m_.unit_lines, m_.gates, team);
  Vectors x = enter(ids, n, own);
  for (size_t l = 0; l < m_.layers.size(); l++) {
    const Layer& layer = m_.layers[l];
    Vectors z = layer.normalised ? normalise(layer.norm, x, layer.width, n, own) : x;
    if (layer.conv.taps) z = convolve(l, z, T, own);
    receive(layer, ids, z, n, part.groups, own);
    recur(l, T, team);
    Vectors h{states_[l].h[own.pieces % 2].data(), m_.width};
    if (layer.residual)
      for (int64_t i = 0; i < n; i++)
        m_.kernels.add(x.data + i * x.ld, h.data + i * h.ld, own.vector.data() + i * m_.vector_width, m_.width);
    x = layer.residual ? Vectors{own.vector.data(), m_.vector_width} : h;
    if (m_.config.inner) x = feed(layer.mlp, x, n, team);
  }
  if (m_.config.norm != NormKind::none) x = normalise(m_.norm, x, m_.config.hidden, n, own);
  own.outputs = x.data, own.ld_outputs = x.ld;
  own.pieces++, own.last_steps = T, own.held = nullptr;
}

// The vectors that the first layer reads, if it reads vectors.
Walk::Vectors Walk::enter(const int32_t* ids, int64_t n, Own& own) const {
  const int64_t width = round_up(m_.config.embedding_size, LINE);
  for (int64_t i = 0; i < n && m_.config.input != InputKind::one_hot; i++) {
    float* to = own.vector.data() + i * m_.vector_width;
    if (m_.config.input == InputKind::embedding) copy(m_.embedding.data() + ids[i] * width, to, width);
    else to[0] = static_cast<float>(ids[i] / static_cast<double>(m_.config.vocabulary));
  }
  return {own.vector.data(), m_.vector_width};
}

Walk::Vectors Walk::normalise(const NormWeights& norm, Vectors x, int64_t width, int64_t n, Own& own) const {
  for (int64_t i = 0; i < n; i++)
    m_.kernels.norm(x.data + i * x.ld, width, norm.weight.data(), norm.bias.data(), own.normed.data() + i * m_.vector_width);
  return {own.normed.data(), m_.vector_width};
}

Operand Walk::prepare(const PackedMatrix& w, const float* x, int64_t ld, int64_t n, Own& own) const {
  const Products& p = m_.products();
  Operand operand{own.operand.data(), w.steps * p.operand_bytes, own.operand_scale.data()};
  if (x != own.held) p.prepare(x, ld, n, w.inputs, w.steps, operand);
  own.held = nullptr;
  return operand;
}

// own.base: what the gates receive from the input, one row of gates for each of n rows.
void Walk::receive(const Layer& layer, const int32_t* ids, Vectors x, int64_t n, Range groups, Own& own) const {
  if (!layer.width) {
    for (int64_t i = 0; i < n; i++) own.base[static_cast<size_t>(i)] = layer.table.data() + ids[i] * m_.gate_width;
    return;
  }
  std::fill_n(own.base.begin(), n, layer.bias.data());
  Operand operand = prepare(layer.input, x.data, x.ld, n, own);
  m_.products().product(layer.input, groups, operand, n, own.base.data(), own.input.data() + groups.first * GROUP * LINE,
                        m_.gate_width);
  for (int64_t i = 0; i < n; i++) own.base[static_cast<size_t>(i)] = own.input.data() + i * m_.gate_width;
}

// The recurrence of one layer over T steps.
void Walk::recur(size_t number, int64_t T, const Team& team) {
  Own& own = own_[static_cast<size_t>(team.thread)];
  const Layer& layer = m_.layers[number];
  LayerState& s = states_[number];
  const Range lines = unit_part(m_.unit_lines, m_.gates, team).lines;
  const auto cell = m_.cell();
  const bool gru = m_.config.cell == GRU, matrix = has_matrix(m_.config.cell);
  const bool multiplied = m_.config.cell == MLSTM;
  const std::vector<const float*> same(gru || multiplied ? static_cast<size_t>(rows_) : 0, layer.recurrent_base.data());
  const int64_t most = lines_at_once(m_, rows_);
  const float* before = last_h(number, own);
  float* h = s.h[own.pieces % 2].data();
  for (int64_t t = 0; t < T; t++, before = h, h += rows_ * m_.width) {
    const float* const* received = own.base.data() + t * rows_;
    if (!matrix) {
      cell({rows_, lines, nullptr, 0, received, before, h, s.c.data(), m_.width, layer.own.data()});
      if (team.threads > 1 && t == T - 1) team.barrier();
      continue;
    }
    if (m_.config.cell == MOGRIFIER) {
      mogrify(number, before, received, h, team);
      if (team.threads > 1) team.barrier();
      continue;
    }
    if (multiplied) {
      multiply(layer, {before, m_.width}, received, s.m.data(), lines, own);
      if (team.threads > 1) team.barrier();
    }
    Operand operand = prepare(layer.recurrent, multiplied ? s.m.data() : before, m_.width, rows_, own);
    const int64_t gates = multiplied ? m_.gates - 1 : m_.gates;
    for (Range some{lines.first, lines.first}; some.last < lines.last; some.first = some.last) {
      some.last = std::min(some.first + most, lines.last);
      m_.products().product(layer.recurrent, gate_groups(gates, some), operand, rows_,
                            gru || multiplied ? same.data() : received, own.gates.data(), most * gates * LINE);
      cell({rows_, some, own.gates.data(), most * gates * LINE, received, before, h, s.c.data(), m_.width, nullptr});
    }
    if (team.threads > 1) team.barrier();
  }
}

// m = a_m * (W_mh h) of the mlstm, for these lines.
void Walk::multiply(const Layer& layer, Vectors before, const float* const* received, float* m, Range lines, Own& own) const {
  const std::vector<const float*> nothing(static_cast<size_t>(rows_), nullptr);
  const int64_t most = lines_at_once(m_, rows_);
  Operand operand = prepare(layer.multiplier, before.data, before.ld, rows_, own);
  for (Range some{lines.first, lines.first}; some.last < lines.last; some.first = some.last) {
    some.last = std::min(some.first + most, lines.last);
    m_.products().product(layer.multiplier, gate_groups(1, some), operand, rows_, nothing.data(), own.gates.data(), most * LINE);
    m_.kernels.multiply({rows_, some, own.gates.data(), most * LINE, received, nullptr, m, nullptr, m_.width, nullptr});
  }
}

void Walk::logits(int64_t first, int64_t n, Range groups, float* y, const Team& team) {
  Own& own = own_[static_cast<size_t>(team.thread)];
  std::fill_n(own.base.begin(), n, m_.output_bias.data());
  const float* x = own.outputs + first * own.ld_outputs;
  Operand operand = prepare(m_.output, x, own.ld_outputs, n, own);
  if (x == last_h(0, own) && n == rows_) own.held = x;
  m_.products().product(m_.output, groups, operand, n, own.base.data(), y + groups.first * GROUP * LINE, m_.logit_width);
}

UnitPart unit_part(int64_t all, int64_t gates, const Team& team) {
  Range fours = team.part((all + GROUP - 1) / GROUP);
  Range lines{std::min(fours.first * GROUP, all), std::min(fours.last * GROUP, all)};
  return {lines, gate_groups(gates, lines)};
}

}  // namespace rhapsode::engine

#include "engine/model.h"

#include <algorithm>
#include <cstring>

namespace rhapsode::engine {
namespace {

int64_t gates_of(CellIndex cell) { return cell == LSTM ? 4 : cell == GRU ? 3 : 1; }

// `rows` rows of `columns` floats, each padded with zeros to `width`.
Buffer<float> padded(const float* plain, int64_t rows, int64_t columns, int64_t width) {
  Buffer<float> to(rows * width);
  for (int64_t r = 0; r < rows; r++) std::memcpy(&to[r * width], plain + r * columns, static_cast<size_t>(columns) * 4);
  return to;
}

}  // namespace

Model::Model(const Config& c, const FindParameter& find)
    : config(c), kernels(current_kernels()), gates(gates_of(c.cell)), unit_lines((c.hidden + LINE - 1) / LINE),
      gate_width(unit_lines * gates * LINE), width(unit_lines * LINE),
      vector_width(std::max(width, round_up(c.embedding_size, LINE))), logit_width(round_up(c.vocabulary, LINE)) {
  if (c.input == InputKind::embedding)
    embedding = padded(find("embedding.weight", {c.vocabulary, c.embedding_size}), c.vocabulary, c.embedding_size,
                       round_up(c.embedding_size, LINE));
  for (int64_t l = 0; l < c.layers; l++) layers.push_back(make_layer(l, find));
  if (c.norm != NormKind::none) norm = make_norm("norm.", c.hidden, find);
  const float* weight = find(c.tied ? "embedding.weight" : "output.weight", {c.vocabulary, c.hidden});
  std::vector<const float*> rows(static_cast<size_t>(logit_width));
  for (int64_t v = 0; v < c.vocabulary; v++) rows[static_cast<size_t>(v)] = weight + v * c.hidden;
  output = pack(c.type, rows, c.hidden);
  output_bias = padded(find("output.bias", {c.vocabulary}), 1, c.vocabulary, logit_width);
}

int64_t Model::step_bytes() const {
  int64_t bytes = output.bytes();
  for (const Layer& layer : layers) bytes += layer.input.bytes() + layer.recurrent.bytes();
  return bytes;
}

Layer Model::make_layer(int64_t number, const FindParameter& find) const {
  const std::string name = "layers." + std::to_string(number) + ".";
  const int64_t GH = gates * config.hidden;
  Layer layer;
  if (number == 0 && config.input == InputKind::one_hot) {
    const float* table = find(name + "table", {config.vocabulary, GH});
    layer.table.reserve(config.vocabulary * gate_width);
    for (int64_t v = 0; v < config.vocabulary; v++) spread_gates(table + v * GH, &layer.table[v * gate_width]);
  } else {
    bool vector = number > 0 || config.input == InputKind::embedding;
    layer.width = number > 0 ? config.hidden : vector ? config.embedding_size : 1;
    layer.normalised = vector && config.norm != NormKind::none;
    layer.residual = vector && config.residual && layer.width == config.hidden;
    if (layer.normalised) layer.norm = make_norm(name + "norm.", layer.width, find);
    layer.input = pack_gates(find(name + "weight_ih", {GH, layer.width}), layer.width);
    layer.bias.reserve(gate_width);
    spread_gates(find(name + "bias", {GH}), layer.bias.data());
  }
  layer.recurrent = pack_gates(find(name + "weight_hh", {GH, config.hidden}), config.hidden);
  if (config.cell == GRU) {
    std::vector<float> base(static_cast<size_t>(GH));
    std::memcpy(&base[static_cast<size_t>(2 * config.hidden)], find(name + "bias_hn", {config.hidden}),
                static_cast<size_t>(config.hidden) * 4);
    layer.recurrent_base.reserve(gate_width);
    spread_gates(base.data(), layer.recurrent_base.data());
  }
  return layer;
}

NormWeights Model::make_norm(const std::string& prefix, int64_t width, const FindParameter& find) const {
  NormWeights norm;
  norm.weight = padded(find(prefix + "weight", {width}), 1, width, width);
  if (config.norm == NormKind::layer) norm.bias = padded(find(prefix + "bias", {width}), 1, width, width);
  return norm;
}

// A plain row [G * H] in the order (line of units, gate, unit in the line).
void Model::spread_gates(const float* plain, float* row) const {
  for (int64_t u = 0; u < config.hidden; u++)
    for (int64_t g = 0; g < gates; g++) row[(u / LINE * gates + g) * LINE + u % LINE] = plain[g * config.hidden + u];
}

PackedMatrix Model::pack_gates(const float* weight, int64_t inputs) const {
  std::vector<const float*> rows(static_cast<size_t>(gate_width));
  for (int64_t u = 0; u < config.hidden; u++)
    for (int64_t g = 0; g < gates; g++)
      rows[static_cast<size_t>((u / LINE * gates + g) * LINE + u % LINE)] = weight + (g * config.hidden + u) * inputs;
  return pack(config.type, rows, inputs);
}

}  // namespace rhapsode::engine

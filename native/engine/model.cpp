#include "engine/model.h"

#include <algorithm>
#include <cstring>

namespace rhapsode::engine {
namespace {

int64_t gates_of(CellIndex cell) {
  switch (cell) {
    case MLSTM: return 5;
    case LSTM:
    case SRU:
    case RGLRU: return 4;
    case GRU:
    case MINLSTM: return 3;
    case MINGRU: return 2;
    default: return 1;
  }
}

// `rows` rows of `columns` floats into zeros, each padded to `width`.
void pad(const float* plain, int64_t rows, int64_t columns, int64_t width, float* to) {
  for (int64_t r = 0; r < rows; r++) std::memcpy(to + r * width, plain + r * columns, static_cast<size_t>(columns) * 4);
}

Buffer<float> padded(const float* plain, int64_t rows, int64_t columns, int64_t width) {
  Buffer<float> to(rows * width);
  pad(plain, rows, columns, width, to.data());
  return to;
}

}  // namespace

bool has_matrix(CellIndex cell) { return cell < MINGRU; }
std::vector<const char*> own_vectors(CellIndex cell) {
  if (cell == SRU) return {"v_f", "v_r"};
  if (cell == RGLRU) return {"decay"};
  return {};
}
bool has_memory(CellIndex cell) {
  return cell == LSTM || cell == MLSTM || cell == MOGRIFIER || cell == SRU || cell == RGLRU;
}

Model::Model(const Config& c, const FindParameter& find, const FindPacked& find_packed)
    : config(c), kernels(current_kernels()), gates(gates_of(c.cell)), unit_lines((c.hidden + LINE - 1) / LINE),
      inner_lines((c.inner + LINE - 1) / LINE), gate_width(unit_lines * gates * LINE), width(unit_lines * LINE),
      vector_width(std::max(width, round_up(c.embedding_size, LINE))), logit_width(round_up(c.vocabulary, LINE)) {
  if (c.input == InputKind::embedding) {
    const int64_t size = round_up(c.embedding_size, LINE);
    embedding = table("embedding.weight", c.vocabulary * size, find_packed, [&](float* to) {
      pad(find("embedding.weight", {c.vocabulary, c.embedding_size}), c.vocabulary, c.embedding_size, size, to);
    });
  }
  for (int64_t l = 0; l < c.layers; l++) {
    layers.push_back(make_layer(l, find, find_packed));
    if (c.cell != SRU && c.cell != RGLRU) state.push_back({l, 0, c.hidden});
    if (has_memory(c.cell)) state.push_back({l, 1, c.hidden});
    const Layer& layer = layers.back();
    if (layer.conv.taps) state.push_back({l, StateArray::CONV, (layer.conv.taps - 1) * layer.width});
  }
  if (c.norm != NormKind::none) norm = make_norm("norm.", c.hidden, find);
  output = matrix(c.tied ? "embedding.weight" : "output.weight", c.vocabulary, 1, c.hidden, find, find_packed);
  output_bias = padded(find("output.bias", {c.vocabulary}), 1, c.vocabulary, logit_width);
}

int64_t Model::step_bytes() const {
  int64_t bytes = output.used_bytes();
  for (const Layer& layer : layers) {
    for (const PackedMatrix* m :
         {&layer.input, &layer.recurrent, &layer.multiplier, &layer.reader, &layer.mlp.in, &layer.mlp.out})
      bytes += m->used_bytes();
    for (const PackedMatrix& m : layer.rounds) bytes += m.used_bytes();
  }
  return bytes;
}

Layer Model::make_layer(int64_t number, const FindParameter& find, const FindPacked& find_packed) {
  const std::string name = "layers." + std::to_string(number) + ".";
  const int64_t GH = gates * config.hidden;
  Layer layer;
  if (number == 0 && config.input == InputKind::one_hot) {
    layer.table = table(name + "table", config.vocabulary * gate_width, find_packed, [&](float* to) {
      const float* rows = find(name + "table", {config.vocabulary, GH});
      for (int64_t v = 0; v < config.vocabulary; v++) spread_gates(rows + v * GH, gates, to + v * gate_width);
    });
  } else {
    bool vector = number > 0 || config.input == InputKind::embedding;
    layer.width = number > 0 ? config.hidden : vector ? config.embedding_size : 1;
    layer.normalised = vector && config.norm != NormKind::none;
    layer.residual = vector && config.residual && layer.width == config.hidden;
    if (layer.normalised) layer.norm = make_norm(name + "norm.", layer.width, find);
    if (vector && config.conv > 1) layer.conv = make_conv(name + "conv.", layer.width, find);
    layer.input = matrix(name + "weight_ih", config.hidden, gates, layer.width, find, find_packed);
    layer.bias.reserve(gate_width);
    spread_gates(find(name + "bias", {GH}), gates, layer.bias.data());
  }
  if (config.cell == MLSTM) {
    const std::string whole = name + "weight_hh";
    layer.recurrent = matrix(whole, {name + "weight_hm", 0, 4, 5}, config.hidden, config.hidden, find, find_packed);
    layer.multiplier = matrix(whole, {name + "weight_mh", 4, 1, 5}, config.hidden, config.hidden, find, find_packed);
  } else if (config.cell == MOGRIFIER) {
    make_mogrifier(layer, name, find, find_packed);
  } else if (has_matrix(config.cell)) {
    layer.recurrent = matrix(name + "weight_hh", config.hidden, gates, config.hidden, find, find_packed);
  }
  const std::vector<const char*> own = own_vectors(config.cell);
  layer.own.reserve(static_cast<int64_t>(own.size()) * width);
  for (size_t i = 0; i < own.size(); i++)
    std::memcpy(&layer.own[static_cast<int64_t>(i) * width], find(name + own[i], {config.hidden}),
                static_cast<size_t>(config.hidden) * 4);
  if (config.cell == GRU) {
    std::vector<float> base(static_cast<size_t>(GH));
    std::memcpy(&base[static_cast<size_t>(2 * config.hidden)], find(name + "bias_hn", {config.hidden}),
                static_cast<size_t>(config.hidden) * 4);
    layer.recurrent_base.reserve(gate_width);
    spread_gates(base.data(), gates, layer.recurrent_base.data());
  }
  if (config.inner) layer.mlp = make_mlp(name + "mlp.", find, find_packed);
  return layer;
}

// The matrices of rhapsode.nn.cells.mogrifier, one below the other in weight_hh.
void Model::make_mogrifier(Layer& layer, const std::string& prefix, const FindParameter& find, const FindPacked& find_packed) {
  constexpr int64_t ROUNDS = 5, TOTAL = 8 + ROUNDS;
  auto part = [&](const std::string& name, int64_t first, int64_t count) {
    return matrix(prefix + "weight_hh", {prefix + name, first, count, TOTAL}, config.hidden, config.hidden, find, find_packed);
  };
  layer.recurrent = part("weight_h", 0, 4), layer.reader = part("weight_x", 4, 4);
  for (int64_t i = 0; i < ROUNDS; i++) layer.rounds.push_back(part("round_" + std::to_string(i + 1), 8 + i, 1));
  layer.recurrent_base.reserve(4 * width);
  spread_gates(find(prefix + "bias_hh", {4 * config.hidden}), 4, layer.recurrent_base.data());
}

NormWeights Model::make_norm(const std::string& prefix, int64_t width, const FindParameter& find) const {
  NormWeights norm;
  norm.weight = padded(find(prefix + "weight", {width}), 1, width, width);
  if (config.norm == NormKind::layer) norm.bias = padded(find(prefix + "bias", {width}), 1, width, width);
  return norm;
}

Conv Model::make_conv(const std::string& prefix, int64_t width, const FindParameter& find) const {
  Conv conv;
  conv.taps = config.conv;
  const float* plain = find(prefix + "weight", {width, conv.taps});
  const int64_t row = round_up(width, LINE);
  conv.weight.reserve(conv.taps * row);
  for (int64_t d = 0; d < width; d++)
    for (int64_t k = 0; k < conv.taps; k++) conv.weight[k * row + d] = plain[d * conv.taps + k];
  conv.bias = padded(find(prefix + "bias", {width}), 1, width, row);
  return conv;
}

Mlp Model::make_mlp(const std::string& prefix, const FindParameter& find, const FindPacked& find_packed) {
  Mlp mlp;
  if (config.norm != NormKind::none) mlp.norm = make_norm(prefix + "norm.", config.hidden, find);
  mlp.in = matrix(prefix + "weight_in", config.inner, 2, config.hidden, find, find_packed);
  mlp.out = matrix(prefix + "weight_out", config.hidden, 1, config.inner, find, find_packed);
  return mlp;
}

// A plain row [count * H] in the order (line of units, gate, unit in the line).
void Model::spread_gates(const float* plain, int64_t count, float* row) const {
  for (int64_t u = 0; u < config.hidden; u++)
    for (int64_t g = 0; g < count; g++) row[(u / LINE * count + g) * LINE + u % LINE] = plain[g * config.hidden + u];
}

Array<float> Model::table(const std::string& name, int64_t size, const FindPacked& find_packed,
                          const std::function<void(float*)>& fill) {
  Array<float> found(static_cast<const float*>(find_packed(name, size * 4)), size);
  if (!found.data()) {
    Buffer<float> own(size);
    fill(own.data());
    found = std::move(own);
  }
  packed.push_back({name, found.data(), size * 4});
  return found;
}

PackedMatrix Model::matrix(const std::string& name, const Gates& gates, int64_t units, int64_t inputs,
                           const FindParameter& find, const FindPacked& find_packed) {
  const int64_t lines = round_up(units, LINE) / LINE * gates.count;
  const std::string data = gates.name + ".packed", scale = gates.name + ".scale", sums = gates.name + ".sums";
  PackedMatrix m = without_arrays(config.type, lines, inputs);
  const int64_t integers = config.type == WeightType::int8 ? lines * LINE : 0;
  m.data = Array<uint8_t>(static_cast<const uint8_t*>(find_packed(data, m.bytes())), m.bytes());
  if (integers) {
    m.scale = Array<float>(static_cast<const float*>(find_packed(scale, integers * 4)), integers);
    m.sums = Array<int32_t>(static_cast<const int32_t*>(find_packed(sums, integers * 4)), integers);
  }
  if (!m.data.data() || (integers && !(m.scale.data() && m.sums.data()))) {
    const float* weight = find(name, {gates.total * units, inputs}) + gates.first * units * inputs;
    std::vector<const float*> rows(static_cast<size_t>(lines * LINE));
    for (int64_t g = 0; g < gates.count; g++)
      for (int64_t u = 0; u < units; u++)
        rows[static_cast<size_t>((u / LINE * gates.count + g) * LINE + u % LINE)] = weight + (g * units + u) * inputs;
    m = pack(config.type, rows, inputs);
  } else {
    m.used = used_steps(m);
  }
  packed.push_back({data, m.data.data(), m.bytes()});
  if (integers) packed.push_back({scale, m.scale.data(), integers * 4}), packed.push_back({sums, m.sums.data(), integers * 4});
  return m;
}

}  // namespace rhapsode::engine

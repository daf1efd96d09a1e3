// The engine's border with Python: checks shapes, types and ranges, lets go of the interpreter lock, does no arithmetic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>

#include "engine/engine.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace rhapsode::engine;

namespace {

using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Allowed = nb::ndarray<const bool, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using States = std::vector<Floats>;

void require(bool condition, const std::string& what) {
  if (!condition) throw nb::value_error(what.c_str());
}

template <class T>
nb::ndarray<nb::numpy, T> new_array(const std::vector<size_t>& shape) {
  size_t size = 1;
  for (size_t s : shape) size *= s;
  T* data = new T[std::max<size_t>(size, 1)];
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::ndarray<nb::numpy, T>(data, shape.size(), shape.data(), owner);
}

template <class Kind>
Kind chosen(const std::string& field, const std::string& name, std::vector<std::pair<const char*, Kind>> known) {
  for (auto& [spelling, kind] : known)
    if (name == spelling) return kind;
  throw nb::value_error((field + ": not known: " + name).c_str());
}

CellIndex cell_of(const std::string& cell, const std::string& nonlinearity) {
  if (cell == "rnn") return nonlinearity == "relu" ? RNN_RELU : RNN_TANH;
  return chosen<CellIndex>("cell", cell, {{"gru", GRU}, {"lstm", LSTM}, {"mlstm", MLSTM}, {"mogrifier", MOGRIFIER},
                                   {"mingru", MINGRU}, {"minlstm", MINLSTM}, {"sru", SRU}, {"rglru", RGLRU}});
}

// Reads a rhapsode.config.ModelConfig.
Config config_of(nb::handle c, const std::string& precision) {
  auto number = [&](const char* name) { return nb::cast<int64_t>(c.attr(name)); };
  auto text = [&](const char* name) { return nb::cast<std::string>(c.attr(name)); };
  Config config;
  config.vocabulary = number("vocab_size"), config.hidden = number("hidden"), config.layers = number("layers");
  config.input = chosen<InputKind>(
      "input", text("input"),
      {{"one-hot", InputKind::one_hot}, {"embedding", InputKind::embedding}, {"scalar", InputKind::scalar}});
  config.embedding_size = config.input == InputKind::embedding ? number("embedding_size") : 1;
  config.cell = cell_of(text("cell"), text("nonlinearity"));
  config.norm = chosen<NormKind>("norm", text("norm"),
                                 {{"none", NormKind::none}, {"layer", NormKind::layer}, {"rms", NormKind::rms}});
  config.residual = nb::cast<bool>(c.attr("residual")), config.tied = nb::cast<bool>(c.attr("tied"));
  config.conv = number("conv");
  const double inner = nb::cast<double>(c.attr("mlp")) * static_cast<double>(config.hidden);
  config.inner = inner > 0 ? std::max<int64_t>(1, std::llrint(inner)) : 0;  // as rhapsode.nn.spec.mlp_width
  config.type = chosen<WeightType>("precision", precision,
                                   {{"fp32", WeightType::fp32}, {"bf16", WeightType::bf16}, {"int8", WeightType::int8},
                                    {"split", WeightType::split}});
  require(config.type != WeightType::split || has_split(), "split: this machine has no matrix unit");
  return config;
}

// The parameter of a dict of arrays, if it is of this shape.
const float* find(const nb::dict& parameters, const std::string& name, const std::vector<int64_t>& shape) {
  require(parameters.contains(name.c_str()), "parameter " + name + " is missing");
  Floats array = nb::cast<Floats>(parameters[name.c_str()]);
  require(array.ndim() == shape.size(), "parameter " + name + ": wrong shape");
  for (size_t i = 0; i < shape.size(); i++)
    require(static_cast<int64_t>(array.shape(i)) == shape[i], "parameter " + name + ": wrong shape");
  return array.data();
}

std::unique_ptr<Model> make_model(nb::handle config, const nb::dict& parameters, const std::string& precision,
                                  const nb::dict& packed) {
  auto find_parameter = [&](const std::string& name, std::vector<int64_t> shape) { return find(parameters, name, shape); };
  auto find_packed = [&](const std::string& name, int64_t bytes) -> const void* {
    if (!packed.contains(name.c_str())) return nullptr;
    Bytes array = nb::cast<Bytes>(packed[name.c_str()]);
    return static_cast<int64_t>(array.size()) == bytes ? array.data() : nullptr;
  };
  auto model = std::make_unique<Model>(config_of(config, precision), find_parameter, find_packed);
  model->lender = std::shared_ptr<const nb::dict>(new nb::dict(packed), [](const nb::dict* lent) {
    nb::gil_scoped_acquire lock;
    delete lent;
  });
  return model;
}

nb::dict packed_arrays(const Model& m) {
  nb::dict found;
  for (const Packed& array : m.packed) {
    auto copy = new_array<uint8_t>({static_cast<size_t>(array.bytes)});
    std::memcpy(copy.data(), array.data, static_cast<size_t>(array.bytes));
    found[array.name.c_str()] = copy;
  }
  return found;
}

// States as they come in, and new ones that go out.
struct StatesOfCall {
  StatesOfCall(const Model& m, const States& before, int64_t B) {
    require(before.size() == m.state.size(), "state: wrong number of arrays");
    for (size_t i = 0; i < before.size(); i++) {
      const Floats& array = before[i];
      require(array.ndim() == 2 && static_cast<int64_t>(array.shape(0)) == B &&
                  static_cast<int64_t>(array.shape(1)) == m.state[i].width, "state: an array is not of the model's shape");
      after.push_back(new_array<float>({array.shape(0), array.shape(1)}));
      arrays.before.push_back(array.data());
      arrays.after.push_back(after.back().data());
    }
  }
  std::vector<nb::ndarray<nb::numpy, float>> after;
  StateArrays arrays;
};

void check_ids(const Model& m, const Ids& ids, const char* what) {
  require(ids.size() > 0, std::string(what) + ": none");
  for (size_t i = 0; i < ids.size(); i++)
    require(ids.data()[i] >= 0 && ids.data()[i] < m.config.vocabulary, std::string(what) + ": not of the vocabulary");
}

nb::tuple read_ids(const Model& m, Ids ids, States before) {
  check_ids(m, ids, "ids");
  const size_t T = ids.shape(0), B = ids.shape(1);
  StatesOfCall states(m, before, static_cast<int64_t>(B));
  auto logits = new_array<float>({T, B, static_cast<size_t>(m.config.vocabulary)});
  {
    nb::gil_scoped_release release;
    read(m, ids.data(), static_cast<int64_t>(T), static_cast<int64_t>(B), states.arrays, logits.data());
  }
  return nb::make_tuple(logits, states.after);
}

std::vector<nb::ndarray<nb::numpy, float>> skim_ids(const Model& m, Ids ids, States before) {
  check_ids(m, ids, "ids");
  const size_t T = ids.shape(0), B = ids.shape(1);
  StatesOfCall states(m, before, static_cast<int64_t>(B));
  {
    nb::gil_scoped_release release;
    skim(m, ids.data(), static_cast<int64_t>(T), static_cast<int64_t>(B), states.arrays);
  }
  return states.after;
}

nb::tuple losses_of(const Model& m, Ids ids, Ids targets, States before) {
  check_ids(m, ids, "ids");
  check_ids(m, targets, "targets");
  const size_t T = ids.shape(0), B = ids.shape(1);
  require(targets.shape(0) == T && targets.shape(1) == B, "targets: not of the shape of ids");
  StatesOfCall states(m, before, static_cast<int64_t>(B));
  auto nats = new_array<double>({T, B});
  {
    nb::gil_scoped_release release;
    losses(m, ids.data(), targets.data(), static_cast<int64_t>(T), static_cast<int64_t>(B), states.arrays, nats.data());
  }
  return nb::make_tuple(nats, states.after);
}

// A rule with the arrays that it points into.
struct BoundRule {
  Ids rows;
  Numbers row_of;
  std::optional<Numbers> steps;
  Rule rule;
};

void make_rule(BoundRule* self, Ids rows, Numbers row_of, std::optional<Numbers> steps, bool keeps_out) {
  require(!steps || steps->size() == row_of.size(), "rule: steps are not [S]");
  Rule rule{rows.data(), row_of.data(), steps ? steps->data() : nullptr, static_cast<int64_t>(rows.shape(0)),
            static_cast<int64_t>(row_of.size()), keeps_out};
  new (self) BoundRule{rows, row_of, steps, rule};
}

// A text with what it points into.
struct BoundText {
  Text text;
  std::vector<BoundRule> rules;

  void check(const Model& m) const {
    const int64_t V = m.config.vocabulary;
    for (int32_t id : text.recent) require(id >= 0 && id < V, "recent: not of the vocabulary");
    for (auto [id, value] : text.sampling.bias) require(id >= 0 && id < V, "bias: not of the vocabulary");
    require(static_cast<int64_t>(text.allowed.size()) == V, "allowed: not [V]");
    require(text.states.size() == rules.size(), "states: not one for each rule");
    for (const BoundRule& rule : rules)
      require(rule.rows.size() == 0 || static_cast<int64_t>(rule.rows.shape(1)) == V, "rule: rows are not [R, V]");
    require(text.most > 0, "text: nothing may be written");
  }
};

// Of each text (ids, log-probabilities, alternatives, states of its rules) or, where the model predicts what is not a
// number, None; then logits, state.
nb::tuple generate_texts(const Model& m, std::vector<BoundText*> asked, States before, Floats logits) {
  const size_t B = asked.size(), V = static_cast<size_t>(m.config.vocabulary);
  require(B > 0 && logits.ndim() == 2 && logits.shape(0) == B && logits.shape(1) == V, "logits: not [B, V]");
  std::vector<Text> texts;
  for (const BoundText* text : asked) text->check(m), texts.push_back(text->text);
  StatesOfCall states(m, before, static_cast<int64_t>(B));
  auto after = new_array<float>({B, V});
  {
    nb::gil_scoped_release release;
    generate(m, texts, states.arrays, logits.data(), after.data());
  }
  nb::list written;
  for (const Text& text : texts) {
    if (text.damaged) written.append(nb::none());
    else written.append(nb::make_tuple(text.ids, text.log_p, text.best, text.after));
  }
  return nb::make_tuple(written, after, states.after);
}

void make_text(BoundText* self, uint64_t seed, uint64_t written, int64_t most, int64_t left, int32_t end, Allowed allowed,
               Numbers recent, std::vector<BoundRule*> rules, std::vector<int32_t> states, int64_t top, Sampling sampling) {
  new (self) BoundText;
  for (const BoundRule* rule : rules) self->rules.push_back(*rule), self->text.rules.push_back(rule->rule);
  Text& text = self->text;
  text.seed = seed, text.written = written, text.most = most, text.left = left, text.end = end, text.top = top;
  text.allowed.assign(allowed.data(), allowed.data() + allowed.size());
  text.recent.assign(recent.data(), recent.data() + recent.size());
  text.states = std::move(states), text.sampling = std::move(sampling);
}

void make_sampling(Sampling* self, std::vector<double> temperatures, int64_t top_k, double top_p, double min_p, double typical_p,
                   double repetition, double frequency, double presence, int64_t window, bool greedy,
                   std::vector<std::pair<int32_t, double>> bias) {
  require(!temperatures.empty(), "temperatures: none");
  new (self) Sampling{std::move(temperatures), top_p, min_p, typical_p, repetition, frequency, presence, top_k, window, greedy,
                      std::move(bias)};
}

}  // namespace

void bind_engine(nb::module_& m) {
  nb::class_<Sampling>(m, "EngineSampling", "how a symbol is chosen: rhapsode.config.SamplingConfig")
      .def("__init__", &make_sampling, nb::kw_only(), "temperatures"_a, "top_k"_a, "top_p"_a, "min_p"_a, "typical_p"_a,
           "repetition"_a, "frequency"_a, "presence"_a, "window"_a, "greedy"_a, "bias"_a);

  nb::class_<BoundRule>(m, "EngineRule", "what may be written: rhapsode.matching.Table")
      .def("__init__", &make_rule, nb::kw_only(), "rows"_a, "row_of"_a, "steps"_a.none(), "keeps_out"_a);

  nb::class_<BoundText>(m, "EngineText", "a text to write on: rhapsode.engine.Ask")
      .def("__init__", &make_text, nb::kw_only(), "seed"_a, "written"_a, "most"_a, "left"_a, "end"_a, "allowed"_a,
           "recent"_a, "rules"_a, "states"_a, "top"_a, "sampling"_a);

  m.def("has_split", &has_split, "whether a model's precision may be split: fp32 by way of the matrix unit, for many rows");

  m.def("seconds_to_read", &seconds_to_read, "bytes"_a, "repeats"_a, nb::call_guard<nb::gil_scoped_release>(),
        "seconds that one thread needs to read so many bytes once, the best of `repeats`");

  nb::class_<Model>(m, "EngineModel", "a model that predicts: weights packed in a precision, shared by threads")
      .def(nb::new_(&make_model), "config"_a, "parameters"_a, "precision"_a, "packed"_a)
      .def("packed", &packed_arrays, "its large arrays by name, bytes, which a model of the same weights can borrow")
      .def_prop_ro("step_bytes", &Model::step_bytes, "bytes of weights that a symbol of one sequence reads")
      .def("read", &read_ids, "ids"_a, "state"_a, "logits [T, B, V] and the state after ids [T, B]")
      .def("skim", &skim_ids, "ids"_a, "state"_a, "the state after ids [T, B]")
      .def("losses", &losses_of, "ids"_a, "targets"_a, "state"_a, "-log p of targets [T, B] after ids, and the state")
      .def("generate", &generate_texts, "texts"_a, "state"_a, "logits"_a);
}

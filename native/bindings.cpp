// The border with Python: checks shapes, types and ranges, lets go of the interpreter lock, does no arithmetic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>

#include "conv.h"
#include "glue.h"
#include "isa.h"
#include "layers.h"
#include "optimizer.h"
#include "peak.h"
#include "plain.h"
#include "threads.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace rhapsode;

void bind_engine(nb::module_& m);  // engine/bindings.cpp

namespace {

using FloatsIn = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using IdsIn = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using FloatsOut = nb::ndarray<nb::numpy, float>;

// A new numpy array, not yet filled.
FloatsOut new_array(const std::vector<size_t>& shape) {
  size_t size = 1;
  for (size_t s : shape) size *= s;
  float* data = new float[std::max<size_t>(size, 1)];
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  return FloatsOut(data, shape.size(), shape.data(), owner);
}

void require(bool condition, const char* what) {
  if (!condition) throw nb::value_error(what);
}

void require_shape(const FloatsIn& array, const std::vector<int64_t>& shape, const char* what) {
  require(array.ndim() == shape.size(), what);
  for (size_t i = 0; i < shape.size(); i++) require(static_cast<int64_t>(array.shape(i)) == shape[i], what);
}

void require_range(const int32_t* ids, int64_t n, int64_t limit, const char* what) {
  for (int64_t i = 0; i < n; i++)
    if (ids[i] < 0 || ids[i] >= limit) throw nb::value_error(what);
}

void require_matrix(const Activations& x, int64_t rows, int64_t columns, const char* what) {
  require(x.rows() == rows && x.columns() == columns, what);
}

Precision precision_of(const std::string& name) {
  require(name == "fp32" || name == "bf16", "precision: fp32 or bf16");
  Precision precision = name == "bf16" ? Precision::bf16 : Precision::fp32;
  require(supports(precision), "precision: not on this machine");
  return precision;
}

FloatsOut plain_of(const Parameter& p, const float* stored) {
  FloatsOut out = new_array(std::vector<size_t>(p.shape.begin(), p.shape.end()));
  nb::gil_scoped_release release;
  p.to_plain(stored, out.data());
  return out;
}

// One state array [B, H] after another.
std::vector<FloatsOut> new_states(int count, int64_t B, int64_t H) {
  std::vector<FloatsOut> arrays;
  for (int i = 0; i < count; i++) arrays.push_back(new_array({static_cast<size_t>(B), static_cast<size_t>(H)}));
  return arrays;
}

template <class Arrays>
auto pointers(Arrays& arrays) {
  std::vector<decltype(arrays[0].data())> out;
  for (auto& a : arrays) out.push_back(a.data());
  return out;
}

CellKind cell_of(const std::string& name) {
  const std::pair<const char*, CellKind> cells[] = {{"rnn_tanh", CellKind::rnn_tanh}, {"rnn_relu", CellKind::rnn_relu},
                                                    {"gru", CellKind::gru},           {"lstm", CellKind::lstm},
                                                    {"mlstm", CellKind::mlstm},       {"mogrifier", CellKind::mogrifier},
                                                    {"mingru", CellKind::mingru},
                                                    {"minlstm", CellKind::minlstm},   {"sru", CellKind::sru},
                                                    {"rglru", CellKind::rglru}};
  for (auto& [known, cell] : cells)
    if (name == known) return cell;
  throw nb::value_error(("cell: not known: " + name).c_str());
}

// A recurrent layer with what the checks need to know of it.
struct Recurrent {
  Recurrent(const std::string& cell, bool table, int64_t input, int64_t hidden, const std::string& precision)
      : input(input), hidden(hidden) {
    RecurrentSpec spec;
    spec.cell = cell_of(cell);
    require(input > 0 && hidden > 0, "input and hidden: above 0");
    spec.table = table, spec.input = input, spec.hidden = hidden;
    layer = make_recurrent(spec, precision_of(precision));
    this->table = table;
  }

  LayerInput check(nb::object x, const Mask& id_mask) {
    LayerInput in;
    if (table) {
      IdsIn ids = nb::cast<IdsIn>(x);
      require(static_cast<int64_t>(ids.shape(0)) == T && static_cast<int64_t>(ids.shape(1)) == B, "ids: not [T, B]");
      require_range(ids.data(), T * B, input, "ids: from 0 to below the vocabulary's size");
      in.ids = ids.data(), in.id_mask = id_mask;
    } else {
      in.vectors = &nb::cast<const Activations&>(x);
      require_matrix(*in.vectors, T * B, input, "vectors: not [T * B, D]");
    }
    return in;
  }

  std::tuple<const Activations*, nb::object> forward(nb::object x, int64_t steps, int64_t batch,
                                                     std::vector<FloatsIn> state, const Mask& id_mask,
                                                     const Mask& dropconnect, bool training) {
    require(steps > 0 && batch > 0, "T and B: above 0");
    T = steps, B = batch;
    LayerInput in = check(x, id_mask);
    require(static_cast<int>(state.size()) == layer->states(), "state: wrong number of arrays");
    for (auto& s : state) require_shape(s, {B, hidden}, "state: not [B, H]");
    std::vector<FloatsOut> after = new_states(layer->states(), B, hidden);
    auto from = pointers(state);
    auto to = pointers(after);
    trained = training;
    const Activations* out;
    {
      nb::gil_scoped_release release;
      out = &layer->forward(in, T, B, from.data(), to.data(), dropconnect, training);
    }
    return {out, nb::cast(std::move(after))};
  }

  std::tuple<const Activations*, nb::object> backward(
      nb::object x, const Activations& d_output, std::optional<std::vector<FloatsIn>> d_after, const Mask& id_mask,
      bool with_state, bool accumulate) {
    require(trained, "backward: needs a forward with training first");
    trained = false;
    LayerInput in = check(x, id_mask);
    require_matrix(d_output, T * B, hidden, "d_output: not [T * B, H]");
    std::vector<const float*> from;
    if (d_after) {
      require(static_cast<int>(d_after->size()) == layer->states(), "d_state: wrong number of arrays");
      for (auto& s : *d_after) require_shape(s, {B, hidden}, "d_state: not [B, H]");
      from = pointers(*d_after);
    }
    std::optional<std::vector<FloatsOut>> before;
    std::vector<float*> to;
    if (with_state) before = new_states(layer->states(), B, hidden), to = pointers(*before);
    const Activations* d_input;
    {
      nb::gil_scoped_release release;
      d_input = layer->backward(in, d_output, d_after ? from.data() : nullptr, with_state ? to.data() : nullptr,
                                accumulate);
    }
    return {d_input, nb::cast(std::move(before))};
  }

  std::unique_ptr<RecurrentLayer> layer;
  bool table, trained = false;
  int64_t input, hidden, T = 0, B = 0;
};

struct Output {
  Output(int64_t V, int64_t H, Parameter* tied, const std::string& precision) : V(V), H(H) {
    require(V > 0 && H > 0, "V and H: above 0");
    require(!tied || tied->shape == std::vector<int64_t>{V, H}, "tied: not [V, H]");
    layer = make_output({V, H, tied}, precision_of(precision));
  }

  void check(const Activations& x, const IdsIn& targets) {
    require_matrix(x, static_cast<int64_t>(targets.size()), H, "x: not [T * B, H]");
    require_range(targets.data(), x.rows(), V, "targets: from 0 to below the vocabulary's size");
  }

  std::tuple<double, const Activations*> train(const Activations& x, IdsIn targets, std::optional<FloatsIn> weights,
                                               float scale, const Mask& mask, bool accumulate) {
    check(x, targets);
    if (weights) require(weights->size() == targets.size(), "weights: not [T, B]");
    nb::gil_scoped_release release;
    Loss loss = layer->train(x, mask, targets.data(), weights ? weights->data() : nullptr, scale, accumulate);
    return {loss.sum, &layer->d_input()};
  }

  FloatsOut losses(const Activations& x, IdsIn targets) {
    check(x, targets);
    FloatsOut nats = new_array({targets.shape(0), targets.shape(1)});
    nb::gil_scoped_release release;
    layer->losses(x, targets.data(), nats.data());
    return nats;
  }

  FloatsOut logits(const Activations& x) {
    require(x.columns() == H, "x: not [rows, H]");
    FloatsOut out = new_array({static_cast<size_t>(x.rows()), static_cast<size_t>(V)});
    nb::gil_scoped_release release;
    layer->logits(x, out.data());
    return out;
  }

  int64_t V, H;
  std::unique_ptr<OutputLayer> layer;
};

Method method_of(const std::string& name) {
  const std::pair<const char*, Method> methods[] = {
      {"sgd", Method::sgd},         {"adagrad", Method::adagrad}, {"adadelta", Method::adadelta},
      {"rmsprop", Method::rmsprop}, {"adam", Method::adam},       {"adamw", Method::adamw}};
  for (auto& [known, method] : methods)
    if (name == known) return method;
  throw nb::value_error("method: sgd, adagrad, adadelta, rmsprop, adam or adamw");
}

// An array of the optimiser: slot `which`, or the running average for -1.
Buffer<float>& array_of(Optimizer& o, size_t parameter, int which) {
  require(parameter < o.trained().size(), "no such parameter");
  Trained& t = o.trained()[parameter];
  require(which >= -1 && which < static_cast<int>(t.slots.size()) && (which >= 0 || t.average.size()), "no such array");
  return which < 0 ? t.average : t.slots[static_cast<size_t>(which)];
}

void bind_machine(nb::module_& m) {
  m.def("isa", [] { return std::string(isa_name(current_isa())); }, "the instruction set in use");
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (Isa isa : available_isas()) names.push_back(isa_name(isa));
    return names;
  }, "instruction sets this machine has, in rising order");
  m.def("use_isa", &use_isa, "name"_a, "use another instruction set for layers made from now on");
  m.def("threads", &thread_count, nb::call_guard<nb::gil_scoped_release>(), "threads in the pool");
  m.def("use_threads", &use_threads, "n"_a, "team"_a = 0, nb::call_guard<nb::gil_scoped_release>(),
        "use n threads from now on, in teams of `team`, or of as many as find a processor where that is 0");
  m.def("supports_bf16", [] { return supports(Precision::bf16); }, "whether bf16 layers can be made");
  m.def("measured_peak", [](const std::string& precision, double seconds) {
    require(seconds > 0 && seconds <= 60, "seconds: above 0, at most 60");
    const Precision of = precision_of(precision);
    nb::gil_scoped_release release;
    return measured_peak(of, seconds);
  }, "precision"_a, "seconds"_a, "floating-point operations a second of the pool's threads, doing nothing else");
}

void bind_data(nb::module_& m) {
  nb::class_<Mask>(m, "Mask", "where dropout falls; Mask() drops nothing")
      .def(nb::init<>())
      .def("__init__", [](Mask* self, uint32_t key, int32_t threshold, float scale, int64_t batch, int64_t step,
                          int64_t first) {
        require(threshold >= 0 && threshold < 256 && batch > 0 && step >= 0 && first >= 0, "mask: out of range");
        new (self) Mask{key, threshold, scale, batch, step, first};
      }, "key"_a, "threshold"_a, "scale"_a, "batch"_a = 1, "step"_a = 1, "first"_a = 0);

  nb::class_<Activations>(m, "Activations", "a matrix [T * B, columns] that a layer owns, valid until its next call")
      .def_prop_ro("shape", [](const Activations& a) { return std::make_tuple(a.rows(), a.columns()); })
      .def("numpy", [](const Activations& a) {
        FloatsOut out = new_array({static_cast<size_t>(a.rows()), static_cast<size_t>(a.columns())});
        nb::gil_scoped_release release;
        ConstPanels x = a.panels();
        parallel([&](const Team& team) { to_rows(x, out.data(), team); });
        return out;
      }, "a copy as float32");

  nb::class_<Parameter>(m, "Parameter", "an array that is trained, in its layer's own order")
      .def_prop_ro("name", [](const Parameter& p) { return p.name; })
      .def_prop_ro("shape", [](const Parameter& p) { return nb::tuple(nb::cast(p.shape)); })
      .def("value", [](const Parameter& p) { return plain_of(p, p.value.data()); })
      .def("gradient", [](const Parameter& p) { return plain_of(p, p.gradient.data()); })
      .def("set_value", [](Parameter& p, FloatsIn x) {
        require_shape(x, p.shape, "value: wrong shape");
        nb::gil_scoped_release release;
        p.set_value(x.data());
      })
      .def("set_gradient", [](Parameter& p, FloatsIn x) {
        require_shape(x, p.shape, "gradient: wrong shape");
        p.from_plain(x.data(), p.gradient.data());
      });
}

void bind_layers(nb::module_& m) {
  auto inside = nb::rv_policy::reference_internal;
  nb::class_<Recurrent>(m, "Recurrent", "a recurrent layer: a whole sequence a call")
      .def(nb::init<const std::string&, bool, int64_t, int64_t, const std::string&>(), "cell"_a, "table"_a, "input"_a,
           "hidden"_a, "precision"_a)
      .def("parameters", [](Recurrent& r) { return r.layer->parameters(); }, inside)
      .def("forward", &Recurrent::forward, "x"_a, "T"_a, "B"_a, "state"_a, "id_mask"_a, "dropconnect"_a, "training"_a,
           inside)
      .def("backward", &Recurrent::backward, "x"_a, "d_output"_a, "d_after"_a.none(), "id_mask"_a, "with_state"_a,
           "accumulate"_a, inside);

  nb::class_<Output>(m, "Output", "the output layer with softmax and cross-entropy")
      .def(nb::init<int64_t, int64_t, Parameter*, const std::string&>(), "V"_a, "H"_a, "tied"_a.none(), "precision"_a,
           nb::keep_alive<1, 4>())
      .def("parameters", [](Output& o) { return o.layer->parameters(); }, inside)
      .def("train", &Output::train, "x"_a, "targets"_a, "weights"_a.none(), "scale"_a, "mask"_a, "accumulate"_a, inside)
      .def("losses", &Output::losses, "x"_a, "targets"_a)
      .def("logits", &Output::logits, "x"_a);

  nb::class_<Vectors>(m, "Vectors", "plain rows as activations")
      .def(nb::init<>())
      .def("set", [](Vectors& v, FloatsIn x) -> const Activations& {
        require(x.ndim() == 2 && x.size() > 0, "vectors: not [rows, columns]");
        nb::gil_scoped_release release;
        return v.set(x.data(), static_cast<int64_t>(x.shape(0)), static_cast<int64_t>(x.shape(1)));
      }, inside);

  nb::class_<Sum>(m, "Sum", "a + b")
      .def(nb::new_([](const std::string& precision) { return make_sum(precision_of(precision)); }), "precision"_a)
      .def("run", [](Sum& s, const Activations& a, const Activations& b) -> const Activations& {
        require_matrix(b, a.rows(), a.columns(), "sum: shapes differ");
        nb::gil_scoped_release release;
        return s.run(a, b);
      }, inside);

  nb::class_<Dropout>(m, "Dropout", "x under a mask, forward and backward alike")
      .def(nb::init<>())
      .def("run", &Dropout::run, "x"_a, "mask"_a, inside, nb::call_guard<nb::gil_scoped_release>());

  nb::class_<Embedding>(m, "Embedding", "rows of a matrix [V, D]")
      .def(nb::init<int64_t, int64_t, bool>(), "V"_a, "D"_a, "tied"_a)
      .def_prop_ro("weight", &Embedding::weight, inside)
      .def("forward", [](Embedding& e, IdsIn ids) -> const Activations& {
        require_range(ids.data(), static_cast<int64_t>(ids.size()), e.weight().shape[0],
                      "ids: from 0 to below the vocabulary's size");
        nb::gil_scoped_release release;
        return e.forward(ids.data(), static_cast<int64_t>(ids.size()));
      }, inside)
      .def("backward", [](Embedding& e, IdsIn ids, const Activations& d_output, bool accumulate) {
        require_matrix(d_output, static_cast<int64_t>(ids.size()), e.weight().shape[1], "d_output: not [T * B, D]");
        require_range(ids.data(), d_output.rows(), e.weight().shape[0], "ids: from 0 to below the vocabulary's size");
        nb::gil_scoped_release release;
        e.backward(ids.data(), d_output, accumulate);
      }, "ids"_a, "d_output"_a, "accumulate"_a);

  nb::class_<Norm>(m, "Norm", "LayerNorm where centred, else RMSNorm")
      .def(nb::init<int64_t, bool, float>(), "width"_a, "centred"_a, "epsilon"_a)
      .def("parameters", &Norm::parameters, inside)
      .def("forward", [](Norm& n, const Activations& x) -> const Activations& {
        require(x.columns() == n.parameters()[0]->shape[0], "x: wrong width");
        nb::gil_scoped_release release;
        return n.forward(x);
      }, inside)
      .def("backward", [](Norm& n, const Activations& x, const Activations& d_output, bool accumulate) -> const Activations& {
        require_matrix(d_output, x.rows(), x.columns(), "d_output: shape differs from x");
        nb::gil_scoped_release release;
        return n.backward(x, d_output, accumulate);
      }, inside, "x"_a, "d_output"_a, "accumulate"_a);

  nb::class_<PanelParameter, Parameter>(m, "Array", "a vector or matrix that the model holds itself")
      .def("__init__", [](PanelParameter* self, const std::string& name, const std::vector<int64_t>& shape) {
        require(shape.size() == 1 || shape.size() == 2, "shape: one or two sizes");
        for (int64_t size : shape) require(size > 0, "shape: above 0");
        new (self) PanelParameter(name, shape, Order::natural, 1, false, current_kernels());
      }, "name"_a, "shape"_a);
}

void bind_blocks(nb::module_& m) {
  auto inside = nb::rv_policy::reference_internal;
  nb::class_<Convolution>(m, "Convolution", "a short causal depthwise convolution over time")
      .def("__init__", [](Convolution* self, int64_t width, int64_t taps) {
        require(width > 0 && taps > 1 && taps <= MOST_TAPS, "convolution: width above 0, taps from 2 to 64");
        new (self) Convolution(width, taps);
      }, "width"_a, "taps"_a)
      .def("parameters", &Convolution::parameters, inside)
      .def("forward", [](Convolution& c, const Activations& x, FloatsIn before) {
        const int64_t B = before.ndim() == 2 ? static_cast<int64_t>(before.shape(0)) : 0, past = (c.taps - 1) * c.width;
        require_shape(before, {B, past}, "state: not [B, (K-1) * D]");
        require(B > 0 && x.columns() == c.width && x.rows() % B == 0, "x: not [T * B, D]");
        FloatsOut after = new_array({before.shape(0), before.shape(1)});
        const Activations* out;
        {
          nb::gil_scoped_release release;
          out = &c.forward(x, B, before.data(), after.data());
        }
        return std::make_tuple(out, nb::cast(std::move(after)));
      }, inside, "x"_a, "state"_a)
      .def("backward", [](Convolution& c, const Activations& x, const Activations& d_output,
                          std::optional<FloatsIn> d_after, bool with_state, bool accumulate) {
        const int64_t B = c.batch(), past = (c.taps - 1) * c.width;
        require(B > 0 && x.columns() == c.width && x.rows() % B == 0, "backward: needs a forward of the same shape first");
        require_matrix(d_output, x.rows(), c.width, "d_output: shape differs from x");
        if (d_after) require_shape(*d_after, {B, past}, "d_state: not [B, (K-1) * D]");
        std::optional<FloatsOut> before;
        if (with_state) before = new_array({static_cast<size_t>(B), static_cast<size_t>(past)});
        const Activations* d_x;
        {
          nb::gil_scoped_release release;
          d_x = &c.backward(x, d_output, d_after ? d_after->data() : nullptr, before ? before->data() : nullptr, accumulate);
        }
        return std::make_tuple(d_x, nb::cast(std::move(before)));
      }, inside, "x"_a, "d_output"_a, "d_after"_a.none(), "with_state"_a, "accumulate"_a);

  nb::class_<GatedMlp>(m, "GatedMlp", "W_out (gelu(W_gate z) * W_up z)")
      .def(nb::new_([](int64_t hidden, int64_t inner, const std::string& precision) {
        require(hidden > 0 && inner > 0, "hidden and inner: above 0");
        return make_gated_mlp(hidden, inner, precision_of(precision));
      }), "hidden"_a, "inner"_a, "precision"_a)
      .def("parameters", &GatedMlp::parameters, inside)
      .def("forward", [](GatedMlp& mlp, const Activations& z, bool training) -> const Activations& {
        require(z.columns() == mlp.parameters()[1]->shape[0], "z: wrong width");
        nb::gil_scoped_release release;
        return mlp.forward(z, training);
      }, inside, "z"_a, "training"_a)
      .def("backward", [](GatedMlp& mlp, const Activations& z, const Activations& d_output,
                          bool accumulate) -> const Activations& {
        require_matrix(d_output, z.rows(), mlp.parameters()[1]->shape[0], "d_output: shape differs from z");
        nb::gil_scoped_release release;
        return mlp.backward(z, d_output, accumulate);
      }, inside, "z"_a, "d_output"_a, "accumulate"_a);
}

void bind_optimizer(nb::module_& m) {
  using Entry = std::tuple<Parameter*, bool, float>;
  nb::class_<Optimizer>(m, "Optimizer", "all parameters at once; entries are (parameter, decayed, lr multiple)")
      .def("__init__", [](Optimizer* self, const std::string& method, std::vector<Entry> entries, float momentum,
                          bool nesterov, float beta1, float beta2, float eps, float weight_decay, float clip_norm,
                          float clip_value, float averaging) {
        std::vector<Trained> trained;
        for (auto& [parameter, decayed, multiple] : entries) trained.push_back({parameter, decayed, multiple, {}, {}});
        OptimizerSpec spec{method_of(method), momentum, beta1, beta2, eps, weight_decay, nesterov, clip_norm,
                           clip_value, averaging};
        new (self) Optimizer(spec, std::move(trained));
      }, "method"_a, "entries"_a, nb::kw_only(), "momentum"_a, "nesterov"_a, "beta1"_a, "beta2"_a, "eps"_a,
           "weight_decay"_a, "clip_norm"_a, "clip_value"_a, "averaging"_a, nb::keep_alive<1, 3>())
      .def("step", &Optimizer::step, "lr"_a, nb::call_guard<nb::gil_scoped_release>(),
           "clip, update, repack; the gradient's norm before clipping (not finite: nothing was done)")
      .def("swap_average", [](Optimizer& o) {
        for (Trained& t : o.trained()) require(t.average.size() > 0, "no running average is kept");
        nb::gil_scoped_release release;
        o.swap_average();
      }, "exchange the weights with their running average")
      .def_prop_ro("slot_names", &Optimizer::slot_names)
      .def_rw("updates", &Optimizer::updates)
      .def("array", [](Optimizer& o, size_t parameter, int which) {
        Buffer<float>& stored = array_of(o, parameter, which);
        return plain_of(*o.trained()[parameter].parameter, stored.data());
      }, "parameter"_a, "which"_a, "slot number `which` of a parameter, or for -1 its running average")
      .def("set_array", [](Optimizer& o, size_t parameter, int which, FloatsIn x) {
        Buffer<float>& stored = array_of(o, parameter, which);
        Parameter& p = *o.trained()[parameter].parameter;
        require_shape(x, p.shape, "array: wrong shape");
        p.from_plain(x.data(), stored.data());
      }, "parameter"_a, "which"_a, "x"_a);
}

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "rhapsode's native core";
  nb::register_exception_translator([](const std::exception_ptr& p, void*) {
    try {
      std::rethrow_exception(p);
    } catch (const SettingError& e) {
      nb::object type = nb::module_::import_("rhapsode.errors").attr("ConfigError");
      nb::object error = type(e.name, e.found, e.allowed);
      PyErr_SetObject(type.ptr(), error.ptr());
    }
  });
  bind_machine(m);
  bind_data(m);
  bind_layers(m);
  bind_blocks(m);
  bind_optimizer(m);
  bind_engine(m);
}

// The contract between the layers of a model, whatever they compute in.
//
// A model is a chain of layer objects that Python composes (src/rhapsode/backends/native/model.py). Each object owns
// its parameters and every buffer it needs. fp32 versions (recurrent.cpp, output.cpp, glue.cpp) run everywhere; a
// faster version of a class may stand in for one, chosen by the factories below when the model is made. What such a
// version must keep, and what it is free in:
//
// - One call does a whole sequence, forward or backward, on the thread pool (threads.h). Calls come in the order
//   forward, backward, forward, … ; a forward with training = false may come between steps and keeps nothing.
// - Letters: T time steps, B batch, V vocabulary, D input width, H hidden, G gates. Rows are r = t * B + b.
// - What passes between layers is an `Activations`: an opaque matrix that its maker owns and that stays valid until
//   the maker's next call of the same kind. A layer that gets its own kind uses it as it is; any other kind it
//   takes as fp32 panels (`panels()`), which every kind can give. Gradients travel backward in the same form.
// - Parameters are stored in an order and padding of the layer's choice (padding is zero and stays zero under every
//   optimiser, because its gradient is zero). The optimiser works element by element on that storage, with its own
//   arrays in the same order, and tells the layer which stretch it has changed, so that packed copies can be renewed
//   while they are in the cache. It may also exchange a whole value buffer for another of the same size (the running average)
//   and then tell that all has changed. Plain arrays are made on request only.
// - States are plain row-major arrays [B, H]; a layer has one (h) or two (h, c).
// - Everything is deterministic for a given instruction set and input, however many threads work: no atomics on floats, no
//   order that depends on timing. Only in the recurrence backward on AMX a sum is cut into as many parts as the pool has
//   threads (amx/scan_backward.h), whichever of these come to work.
// - Sizes are checked by the caller (bindings.cpp). Layers throw only std::bad_alloc.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "memory.h"
#include "panels.h"

namespace rhapsode {

// Where dropout falls: rhapsode.nn.masks. A row r = t * batch + b of the data uses row t * step + first + b of the mask:
// step = B for a mask anew at each time step, 0 for one mask a sequence; `first` and `batch` < B where a batch is cut
// into pieces. threshold 0: no dropout.
struct Mask {
  uint32_t key = 0;
  int32_t threshold = 0;
  float scale = 1;
  int64_t batch = 1, step = 1, first = 0;

  RHAPSODE_INLINE bool on() const { return threshold > 0; }
  RHAPSODE_INLINE uint32_t row(int64_t r) const { return static_cast<uint32_t>(r / batch * step + first + r % batch); }
};

class Activations {
 public:
  virtual ~Activations() = default;
  // The matrix as fp32 panels of the width of the kernels in use. For fp32 activations this is the data itself; other
  // kinds convert into a buffer of theirs.
  virtual ConstPanels panels() const = 0;
  virtual int64_t rows() const = 0;
  virtual int64_t columns() const = 0;
};

// fp32 activations: a view of panels that someone owns.
class PanelActivations : public Activations {
 public:
  Panels view;
  ConstPanels panels() const override { return view; }
  int64_t rows() const override { return view.rows; }
  int64_t columns() const override { return view.columns; }
};

class Parameter {
 public:
  Parameter(std::string name, std::vector<int64_t> shape, int64_t stored, int64_t grain)
      : name(std::move(name)), shape(std::move(shape)), grain(grain), value(stored), gradient(stored) {}
  virtual ~Parameter() = default;
  Parameter(const Parameter&) = delete;

  // Its name within its layer, e.g. weight_hh, and plain shape; the last axis is the fastest.
  const std::string name;
  const std::vector<int64_t> shape;
  // The optimiser gives threads whole multiples of this many stored elements (stored sizes are multiples of it).
  const int64_t grain;
  // In the layer's order. backward() fills or adds to the gradient.
  Buffer<float> value, gradient;

  int64_t plain_size() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }
  // Where the plain element (row, column) is stored; a vector has row 0. In every order (0, 0) is stored first, and a row
  // and a column add up: place(r, c) = place(r, 0) + place(0, c).
  virtual int64_t place(int64_t row, int64_t column) const { return row * shape.back() + column; }
  // Between the stored order and plain arrays; padding becomes zero.
  void to_plain(const float* stored, float* plain) const;
  void from_plain(const float* plain, float* stored) const;
  // Take over a plain array as the value, packed copies and all.
  void set_value(const float* plain);
  // Stored elements [first, last) of `value` have changed: renew packed copies of them. Called by workers, in parallel,
  // for disjoint ranges that begin and end at a multiple of `grain`.
  virtual void changed(int64_t first, int64_t last) {
    (void)first, (void)last;
  }
};

// What a recurrent layer reads: ids [T * B] of table rows, or vectors.
struct LayerInput {
  const int32_t* ids = nullptr;
  Mask id_mask;                          // dropout of the one-hot vector's entry: mask columns are ids
  const Activations* vectors = nullptr;  // [T * B, D]
};

class RecurrentLayer {
 public:
  virtual ~RecurrentLayer() = default;
  // table, or weight_ih and bias; weight_hh; vectors of the cell's own (rhapsode.nn.cells).
  virtual std::vector<Parameter*> parameters() = 0;
  // Arrays of state: 2 for lstm, mlstm and mogrifier, else 1.
  virtual int states() const = 0;

  // h of all steps. state_in and state_out are `states()` arrays [B, H] and may be the same. `dropconnect` falls on
  // weight_hh (rows k * M + m, columns u, M matrices [H, H]), where there is one. With `training`, what backward needs is kept.
  virtual const Activations& forward(const LayerInput& input, int64_t T, int64_t B, const float* const* state_in,
                                     float* const* state_out, const Mask& dropconnect, bool training) = 0;

  // After a forward with training = true, with the same input. d_output: [T * B, H] gradient of what forward gave. d_state_out
  // may be null (zeros); d_state_in, if not null, receives the gradient of state_in. With `accumulate` the parameters'
  // gradients are added to, else overwritten. Returns the gradient of input.vectors, or null for ids.
  virtual const Activations* backward(const LayerInput& input, const Activations& d_output,
                                      const float* const* d_state_out, float* const* d_state_in, bool accumulate) = 0;
};

// The loss of one training step, or the pieces of it.
struct Loss {
  double sum = 0;  // of weight * nats
};

class OutputLayer {
 public:
  virtual ~OutputLayer() = default;
  // weight (unless tied) and bias.
  virtual std::vector<Parameter*> parameters() = 0;

  // Forward and backward at once. x [rows, H] with dropout `mask`; targets [rows]; weights [rows] or null (all 1).
  // The gradients are of scale * sum(weight * nats). Keeps d_input(). The first rows, as far as they weigh nothing, cost
  // nothing: windows that predict only what follows their end.
  virtual Loss train(const Activations& x, const Mask& mask, const int32_t* targets, const float* weights, float scale,
                     bool accumulate) = 0;
  // Gradient of x, [rows, H], of the last train().
  virtual const Activations& d_input() = 0;

  // Nats of each row, and logits [rows, V], without dropout, into plain arrays.
  virtual void losses(const Activations& x, const int32_t* targets, float* nats) = 0;
  virtual void logits(const Activations& x, float* plain) = 0;
};

// How many of the first rows weigh nothing; at most all but one.
inline int64_t weightless(const float* weights, int64_t rows) {
  return weights ? std::find_if(weights, weights + rows - 1, [](float w) { return w != 0; }) - weights : 0;
}

// W_out (gelu(W_gate z) * (W_up z)) of rhapsode.nn.blocks, without norm and residual.
class GatedMlp {
 public:
  virtual ~GatedMlp() = default;
  // weight_in and weight_out.
  virtual std::vector<Parameter*> parameters() = 0;

  // [rows, H] from z [rows, H]. With `training`, what backward needs is kept.
  virtual const Activations& forward(const Activations& z, bool training) = 0;
  // After a forward with training = true; z must still be there. Returns the gradient of z.
  virtual const Activations& backward(const Activations& z, const Activations& d_output, bool accumulate) = 0;
};

// The first ones have a recurrent matrix, in the others a unit sees only its own state.
enum class CellKind { rnn_tanh, rnn_relu, gru, lstm, mlstm, mogrifier, mingru, minlstm, sru, rglru };
constexpr int MATRIX_CELLS = 6, ELEMENTWISE_CELLS = 4;
constexpr bool is_elementwise(CellKind cell) { return static_cast<int>(cell) >= MATRIX_CELLS; }

enum class Precision { fp32, bf16 };

struct RecurrentSpec {
  CellKind cell = CellKind::lstm;
  bool table = true;       // reads ids; `input` is V then
  int64_t input = 0;       // D or V
  int64_t hidden = 0;      // H
};

struct OutputSpec {
  int64_t vocabulary = 0, hidden = 0;
  Parameter* tied = nullptr;  // the embedding's matrix [V, H], used (and its gradient added to) instead of `weight`
};

// Whether bf16 layers exist for the instruction set in use; fp32 ones always do.
bool supports(Precision precision);

// The version of the layer that fits the instruction set in use (isa.h) and the precision.
std::unique_ptr<RecurrentLayer> make_recurrent(const RecurrentSpec& spec, Precision precision);
std::unique_ptr<OutputLayer> make_output(const OutputSpec& spec, Precision precision);
std::unique_ptr<GatedMlp> make_gated_mlp(int64_t hidden, int64_t inner, Precision precision);

}  // namespace rhapsode

// A model that predicts: its weights, packed once, never changed, shared by all threads. (What it learns of the
// machine's pace changes no result.)
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/kernels.h"
#include "engine/pace.h"
#include "engine/packed.h"

namespace rhapsode::engine {

enum class InputKind { one_hot, embedding, scalar };
enum class NormKind { none, layer, rms };

// The fields of rhapsode.config.ModelConfig that decide predictions.
struct Config {
  int64_t vocabulary = 0, embedding_size = 0, hidden = 0, layers = 0;
  InputKind input = InputKind::one_hot;
  CellIndex cell = LSTM;
  NormKind norm = NormKind::none;
  bool residual = false, tied = false;
  int64_t conv = 0;   // taps of short convolutions, if above 1
  int64_t inner = 0;  // units within the gated MLPs; 0: none
  WeightType type = WeightType::fp32;
};

struct NormWeights {
  Buffer<float> weight, bias;  // bias: LayerNorm only
};

struct Conv {
  int64_t taps = 0;            // 0: none
  Buffer<float> weight, bias;  // [taps] rows of what the layer reads; one row
};

struct Mlp {
  NormWeights norm;
  PackedMatrix in, out;
};

// An array of a layer's state, `width` floats a sequence: `field` 0 is h, 1 is c, CONV what the convolution has read.
struct StateArray {
  static constexpr int64_t CONV = -1;
  int64_t layer, field, width;
};

struct Layer {
  int64_t width = 0;          // of the vector it reads; 0: it reads its table
  bool normalised = false, residual = false;
  NormWeights norm;
  Conv conv;
  Mlp mlp;
  Array<float> table;           // [V] rows of gates
  PackedMatrix input;
  Buffer<float> bias;           // gates
  PackedMatrix recurrent;       // none where the recurrence is element-wise
  PackedMatrix multiplier;      // mlstm: W_mh; `recurrent` has the gates that see m
  PackedMatrix reader;          // mogrifier: W_x; `recurrent` is W_h
  std::vector<PackedMatrix> rounds;  // mogrifier: of the rounds
  Buffer<float> own;            // vectors of the cell's own, rows of units
  Buffer<float> recurrent_base; // what is added to W_hh h: gru: zeros, and b_hn at its gate; mogrifier: b
};

bool has_matrix(CellIndex cell);
// Names of the vectors of the cell's own.
std::vector<const char*> own_vectors(CellIndex cell);
// Whether the state has a memory c: beside h, or (sru, rglru) instead of it.
bool has_memory(CellIndex cell);

// Finds a parameter of rhapsode.nn.spec by name; checks its shape; plain row-major floats.
using FindParameter = std::function<const float*(const std::string& name, std::vector<int64_t> shape)>;

// A large array as the engine reads it, which another model of the same weights can borrow.
struct Packed {
  std::string name;
  const void* data;
  int64_t bytes;
};
// Finds such an array by name, if there is one of so many bytes; else null.
using FindPacked = std::function<const void*(const std::string& name, int64_t bytes)>;

class Model {
 public:
  // What `find_packed` finds is not packed again, nor copied. Throws what `find` throws, and std::bad_alloc.
  Model(const Config& config, const FindParameter& find, const FindPacked& find_packed = nothing_packed);

  const Config config;
  const Kernels& kernels;
  const int64_t gates;        // G
  const int64_t unit_lines;   // lines of a layer's units
  const int64_t inner_lines;  // lines of the units within an MLP
  const int64_t gate_width;   // floats of a row of gates
  const int64_t width;        // floats of a row of units
  const int64_t vector_width; // floats of the widest vector between layers
  const int64_t logit_width;  // floats of a row of logits

  const Products& products() const { return kernels.products[static_cast<int>(config.type)]; }
  auto cell() const { return (is_rounded(config.type) ? kernels.quick_cell : kernels.cell)[config.cell]; }
  // Bytes of weights that each symbol of a single sequence reads.
  int64_t step_bytes() const;

  std::vector<Packed> packed; // matrices and tables
  std::shared_ptr<const void> lender;  // of what is borrowed
  std::vector<Layer> layers;
  std::vector<StateArray> state;
  Array<float> embedding;     // [V] rows of vectors
  NormWeights norm;
  PackedMatrix output;
  Buffer<float> output_bias;

  mutable Pace pace;  // of calls with one sequence

 private:
  static const void* nothing_packed(const std::string&, int64_t) { return nullptr; }
  Layer make_layer(int64_t number, const FindParameter& find, const FindPacked& find_packed);
  void make_mogrifier(Layer& layer, const std::string& prefix, const FindParameter& find, const FindPacked& find_packed);
  NormWeights make_norm(const std::string& prefix, int64_t width, const FindParameter& find) const;
  Conv make_conv(const std::string& prefix, int64_t width, const FindParameter& find) const;
  Mlp make_mlp(const std::string& prefix, const FindParameter& find, const FindPacked& find_packed);
  // What is found packed, or `fill`ed in.
  Array<float> table(const std::string& name, int64_t size, const FindPacked& find_packed,
                     const std::function<void(float*)>& fill);
  // Some gates of a parameter [total * units, inputs]; name: what it is packed as.
  struct Gates {
    std::string name;
    int64_t first, count, total;
  };
  // Likewise, from the parameter's rows, in the order of gates.
  PackedMatrix matrix(const std::string& name, const Gates& gates, int64_t units, int64_t inputs, const FindParameter& find,
                      const FindPacked& find_packed);
  PackedMatrix matrix(const std::string& name, int64_t units, int64_t gates, int64_t inputs, const FindParameter& find,
                      const FindPacked& find_packed) {
    return matrix(name, {name, 0, gates, gates}, units, inputs, find, find_packed);
  }
  void spread_gates(const float* plain, int64_t count, float* row) const;
};

}  // namespace rhapsode::engine

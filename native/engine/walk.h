// Sequences moving through a model: their state and the scratch of one call.
//
// R rows (sequences) side by side. All threads of a team call `read` together, or one alone with a team of one. Where the
// team has several threads they divide the units of each layer and wait for each other once a layer; what a unit
// computes does not depend on who computes it.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model.h"
#include "threads.h"

namespace rhapsode::engine {

class Walk {
 public:
  // Room for `rows` sequences, for pieces of up to `most_steps` symbols of each, for a team of `threads`.
  Walk(const Model& model, int64_t rows, int64_t most_steps, int threads);

  // An array of the state: plain rows [R, array.width].
  void set_state(const StateArray& array, const float* plain);
  void get_state(const StateArray& array, float* plain) const;
  // That of one sequence.
  void get_row(const StateArray& array, int64_t row, float* plain) const;
  // The last sequence takes the place of sequence `row`, which is dropped. For a team of one.
  void drop_row(int64_t row);

  // Read ids [T, R] (row t * R + r); T > 1 only while the number of sequences stays.
  void read(const int32_t* ids, int64_t T, const Team& team);

  // Logits after rows [first, first + n) of the latest piece: y has n rows of model.logit_width floats, of which these
  // groups of outputs are written. Each thread calls it for itself.
  void logits(int64_t first, int64_t n, Range groups, float* y, const Team& team);

 private:
  // What each thread has for itself.
  struct Own {
    Buffer<float> vector, normed, convolved, input, gates, inner_gates;
    std::vector<Buffer<float>> past;     // by layer: the last vectors that its convolution read, those of a row together
    Buffer<uint8_t> operand;
    const float* held = nullptr;         // the state that the operand was made of, where the next piece begins with that
    Buffer<float> operand_scale;
    std::vector<const float*> base;
    int64_t pieces = 0, last_steps = 1;  // pieces read, and the length of the latest
    const float* outputs = nullptr;      // what the output layer reads
    int64_t ld_outputs = 0;
  };
  struct LayerState {
    Buffer<float> h[2];  // outputs of the latest piece and of the one before, in turn: rows t * R + r
    Buffer<float> c;
    Buffer<float> m;     // mlstm: of the latest step; mogrifier: h between its rounds
    Buffer<float> x;     // mogrifier: x between its rounds
  };
  // Rows of vectors, `ld` floats apart.
  struct Vectors {
    const float* data;
    int64_t ld;
  };

  const float* last_h(size_t layer, const Own& own) const;
  Vectors enter(const int32_t* ids, int64_t n, Own& own) const;
  Vectors normalise(const NormWeights& norm, Vectors x, int64_t width, int64_t n, Own& own) const;
  Operand prepare(const PackedMatrix& w, const float* x, int64_t ld, int64_t n, Own& own) const;
  void receive(const Layer& layer, const int32_t* ids, Vectors x, int64_t n, Range groups, Own& own) const;
  void recur(size_t number, int64_t T, const Team& team);
  void multiply(const Layer& layer, Vectors before, const float* const* received, float* m, Range lines, Own& own) const;

  // mogrifier.cpp
  void mogrify(size_t number, const float* before, const float* const* received, float* h, const Team& team);

  // blocks.cpp
  int64_t past_size(size_t layer) const;
  void set_past(size_t layer, int64_t row, const float* plain);
  void get_past(size_t layer, int64_t row, float* plain) const;
  void move_past(size_t layer, int64_t from, int64_t to);
  Vectors convolve(size_t number, Vectors x, int64_t T, Own& own) const;
  Vectors feed(const Mlp& mlp, Vectors y, int64_t n, const Team& team);

  const Model& m_;
  int64_t rows_;
  std::vector<LayerState> states_;
  std::vector<Own> own_;
  Buffer<float> inner_, fed_;  // of the latest MLP: its inner units, and what came out
};

// What a thread of a team works on: whole fours of `all` lines of units, and their groups of `gates` gates.
struct UnitPart {
  Range lines, groups;
};
UnitPart unit_part(int64_t all, int64_t gates, const Team& team);
// The groups of gates of these lines of units, which are whole fours, or the last ones, or whose gates are whole groups.
Range gate_groups(int64_t gates, Range lines);

}  // namespace rhapsode::engine

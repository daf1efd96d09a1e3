// What a recurrent layer's gates receive from its input, in fp32: rows of a table, or W_ih x + b; and the gradients.
#pragma once

#include <memory>
#include <vector>

#include "kernels.h"
#include "layers.h"
#include "panel_parameter.h"

namespace rhapsode {

class GateInput {
 public:
  GateInput(const RecurrentSpec& spec, int64_t gates, const Kernels& k);

  // table, or weight_ih and bias.
  std::vector<Parameter*> parameters() const;

  // Take the input of T * B rows, for a forward pass or its backward pass.
  void read(const LayerInput& input, int64_t rows);
  // Compute the gates of vectors; all threads. Those of ids are left in the table.
  void forward(const Team& team);
  // From the gates' gradients, which have taken their place, to those of the parameters and of vectors; all threads.
  void backward(bool accumulate, const Team& team);
  // Gradient of the vectors, or null for ids.
  const Activations* d_vectors();

  // [rows]: the gates of vectors, and the gradients of either.
  Panels gates() { return {gates_.data(), rows_, blocks_ * G_ * width_, width_, rows_ * width_}; }
  // Null where vectors are read; factors are null where all are 1.
  const int32_t* ids() const { return input_.ids; }
  ConstPanels table() { return table_ ? table_->values() : Panels{}; }
  const float* factors() const { return factors_on_ ? factors_.data() : nullptr; }

 private:
  const RecurrentSpec spec_;
  const int64_t G_;
  const Kernels& k_;
  const int64_t width_, blocks_;
  std::unique_ptr<PanelParameter> table_, weight_, bias_;

  LayerInput input_;
  ConstPanels x_;
  int64_t rows_ = 0;
  bool factors_on_ = false;
  Buffer<float> gates_, factors_, d_vectors_buffer_;
  std::vector<const float*> list_;  // panels of gates
  PanelActivations d_vectors_;
};

}  // namespace rhapsode

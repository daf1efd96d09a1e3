// What stands between recurrent layers, in fp32: embedding, vectors from plain arrays, dropout, norm, sum, and parameters
// that the model holds itself. Each owns its output, as layers.h says.
#pragma once

#include <memory>
#include <vector>

#include "kernels.h"
#include "layers.h"
#include "panel_parameter.h"

namespace rhapsode {

// Activations with a buffer of their own.
class OwnedActivations : public PanelActivations {
 public:
  // Make room for [rows, columns]; padding must be written by whoever fills it.
  Panels& shape(int64_t rows, int64_t columns, int64_t width);

 private:
  Buffer<float> buffer_;
};

// Plain rows as activations.
class Vectors {
 public:
  const Activations& set(const float* plain, int64_t rows, int64_t columns);

 private:
  const Kernels& k_ = current_kernels();
  OwnedActivations out_;
};

// out = a + b, in fp32, or for `make_sum(bf16)` in the form that both have.
class Sum {
 public:
  virtual ~Sum() = default;
  virtual const Activations& run(const Activations& a, const Activations& b);

 private:
  const Kernels& k_ = current_kernels();
  OwnedActivations out_;
};

std::unique_ptr<Sum> make_sum(Precision precision);

// out = x under a mask: the same forward and backward.
class Dropout {
 public:
  const Activations& run(const Activations& x, const Mask& mask);

 private:
  const Kernels& k_ = current_kernels();
  OwnedActivations out_;
};

class Embedding {
 public:
  // With `tied` an output layer shares the matrix.
  Embedding(int64_t vocabulary, int64_t width, bool tied);
  Parameter& weight() { return weight_; }
  const Activations& forward(const int32_t* ids, int64_t rows);
  void backward(const int32_t* ids, const Activations& d_output, bool accumulate);

 private:
  const Kernels& k_;
  PanelParameter weight_;
  OwnedActivations out_;
};

// LayerNorm (arXiv:1607.06450) where centred, else RMSNorm (arXiv:1910.07467).
class Norm {
 public:
  Norm(int64_t width, bool centred, float epsilon);
  std::vector<Parameter*> parameters();
  const Activations& forward(const Activations& x);
  // x is what forward had; it must still be there.
  const Activations& backward(const Activations& x, const Activations& d_output, bool accumulate);

 private:
  const Kernels& k_;
  const bool centred_;
  const float epsilon_;
  PanelParameter weight_, bias_;
  Buffer<float> statistics_;
  OwnedActivations out_, d_x_;
};

}  // namespace rhapsode

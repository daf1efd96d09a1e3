// The short causal depthwise convolution over time of rhapsode.nn.blocks, in fp32.
#pragma once

#include "glue.h"

namespace rhapsode {

class Convolution {
 public:
  // D columns, K taps, 2 to MOST_TAPS.
  Convolution(int64_t width, int64_t taps);
  std::vector<Parameter*> parameters() { return {&weight_, &bias_}; }

  // x [T * B, D]. `before` and `after` are states [B, (K - 1) * D]: the last K - 1 vectors, the oldest first.
  const Activations& forward(const Activations& x, int64_t B, const float* before, float* after);
  // x is what forward had; it must still be there. d_after may be null (zeros); d_before, if not null, receives the
  // gradient of `before`.
  const Activations& backward(const Activations& x, const Activations& d_output, const float* d_after, float* d_before,
                              bool accumulate);

  int64_t batch() const { return B_; }  // of the last forward

  const int64_t width, taps;

 private:
  ShortConvolution over(const Activations& x);

  const Kernels& k_;
  PanelParameter weight_, bias_;
  int64_t B_ = 0;
  OwnedActivations past_, d_past_, d_after_, out_, d_x_;
};

}  // namespace rhapsode

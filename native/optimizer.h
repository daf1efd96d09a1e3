// The optimisers of TrainConfig, over all parameters of a model at once: torch's formulas, element by element on each
// parameter's stored order (layers.h), so that any layer's layout serves.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layers.h"

namespace rhapsode {

struct Kernels;

enum class Method { sgd, adagrad, adadelta, rmsprop, adam, adamw };

struct OptimizerSpec {
  Method method = Method::adamw;
  float momentum = 0, beta1 = 0.9f, beta2 = 0.99f, eps = 1e-8f, weight_decay = 0;
  bool nesterov = false;
  float clip_norm = 0, clip_value = 0;  // 0: none; values are clipped first
  float averaging = 0;                  // decay d of the running average, but at most (1 + n) / (10 + n) after n updates
};

// One parameter as the optimiser sees it.
struct Trained {
  Parameter* parameter;
  bool decayed;          // feels weight decay
  float lr_multiple;     // of the step's rate
  std::vector<Buffer<float>> slots;  // the method's arrays, in the order of slot_names
  Buffer<float> average;
};

class Optimizer {
 public:
  Optimizer(const OptimizerSpec& spec, std::vector<Trained> trained);
  Optimizer(const Optimizer&) = delete;

  // Clip, update, renew packed copies. Returns the norm of the whole gradient before clipping; if that is not finite,
  // nothing was changed.
  double step(double lr);

  // Exchange every value with its running average.
  void swap_average();

  // torch's names of the method's arrays, e.g. exp_avg and exp_avg_sq.
  const std::vector<std::string>& slot_names() const { return slot_names_; }
  std::vector<Trained>& trained() { return trained_; }

  int64_t updates = 0;  // made so far

 private:
  // What threads share: a stretch of a parameter, in whole grains, of which the layer packs its copies while it is in the
  // cache.
  struct Piece {
    Trained* of;
    int64_t first, last;
  };

  const Kernels& k_;
  OptimizerSpec spec_;
  std::vector<Trained> trained_;
  std::vector<Piece> pieces_;  // of all parameters, however many threads there are: the norm is summed up piece by piece
  std::vector<std::string> slot_names_;
};

}  // namespace rhapsode

// From logits to a symbol: rhapsode.sampling, the same numbers in the same order, in double.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/kernels.h"

namespace rhapsode::engine {

// The fields of rhapsode.config.SamplingConfig that choose a symbol.
struct Sampling {
  std::vector<double> temperatures{1};  // of the symbols of a text, in turn
  double top_p = 1, min_p = 0, typical_p = 1;
  double repetition = 1, frequency = 0, presence = 0;  // penalties
  int64_t top_k = 0, window = 64;
  bool greedy = false;
  std::vector<std::pair<int32_t, double>> bias;

  // Of the symbol that follows `written` others.
  double temperature_at(uint64_t written) const { return temperatures[written % temperatures.size()]; }
  bool looks_back() const { return repetition != 1 || frequency != 0 || presence != 0; }
};

// A symbol and its log-probability.
using Opinion = std::pair<int32_t, double>;

class Sampler {
 public:
  Sampler(const Kernels& kernels, int64_t vocabulary);

  // The next symbol from logits [V]; allowed [V]: which may be chosen, some may; recent: the last symbols;
  // `written` symbols of the text came before; u in [0, 1). -1 if a logit is not finite. Both arrays are padded to whole lines,
  // with finite numbers and with zeros.
  int32_t choose(const float* logits, const uint8_t* allowed, const Sampling& settings,
                 const std::vector<int32_t>& recent, uint64_t written, double u);

  // log softmax(logits)[id]; adds the `top` most probable symbols to `best`, the best first.
  double log_probability(const float* logits, int32_t id, int64_t top, std::vector<Opinion>& best);

 private:
  void penalise(const Sampling& settings, const std::vector<int32_t>& recent);
  void keep_top_k(int64_t k);
  void keep_top_p(double p);
  void keep_min_p(double p);
  void keep_typical(double p);
  int32_t draw(double u);
  double total_weight();
  int64_t size() const { return static_cast<int64_t>(x_.size()); }

  const Kernels& kernels_;
  const int64_t vocabulary_;
  std::vector<double> x_, weights_;  // padded to whole lines with what is impossible
  std::vector<double> line_sums_;    // of weights
  std::vector<int32_t> order_;
};

// Number `index` of the stream of `seed`: uniform in [0, 1).
double uniform(uint64_t seed, uint64_t index);

}  // namespace rhapsode::engine

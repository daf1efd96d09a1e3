#include "engine/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace rhapsode::engine {
namespace {

constexpr double NEVER = -std::numeric_limits<double>::infinity();
constexpr uint64_t GOLDEN = 0x9E3779B97F4A7C15ull;

uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

double highest(const std::vector<double>& x) { return *std::max_element(x.begin(), x.end()); }

}  // namespace

double uniform(uint64_t seed, uint64_t index) {
  return static_cast<double>(mix(mix(seed + GOLDEN) + (index + 1) * GOLDEN) >> 11) * 0x1p-53;
}

Sampler::Sampler(const Kernels& kernels, int64_t vocabulary)
    : kernels_(kernels), x_(static_cast<size_t>(vocabulary)), weights_(static_cast<size_t>(vocabulary)) {}

int32_t Sampler::choose(const float* logits, const uint8_t* allowed, const Sampling& s, const std::vector<int32_t>& recent,
                        double u) {
  bool finite = true;
  for (size_t i = 0; i < x_.size(); i++) x_[i] = static_cast<double>(logits[i]), finite &= std::isfinite(logits[i]);
  if (!finite) return -1;
  penalise(s, recent);
  for (size_t i = 0; i < x_.size(); i++) x_[i] = allowed[i] ? x_[i] : NEVER;
  if (s.greedy || s.temperature == 0)
    return static_cast<int32_t>(std::max_element(x_.begin(), x_.end()) - x_.begin());
  const double top = highest(x_);
  for (double& x : x_) x = (x - top) / s.temperature;
  if (s.top_k > 0 && s.top_k < static_cast<int64_t>(x_.size())) keep_top_k(s.top_k);
  if (s.top_p < 1) keep_top_p(s.top_p);
  if (s.min_p > 0) keep_min_p(s.min_p);
  return draw(u);
}

void Sampler::penalise(const Sampling& s, const std::vector<int32_t>& recent) {
  if (s.penalty == 1) return;
  size_t first = recent.size() > static_cast<size_t>(s.window) ? recent.size() - static_cast<size_t>(s.window) : 0;
  order_.assign(recent.begin() + static_cast<std::ptrdiff_t>(first), recent.end());
  std::sort(order_.begin(), order_.end());
  order_.erase(std::unique(order_.begin(), order_.end()), order_.end());
  for (int32_t id : order_) {
    double& x = x_[static_cast<size_t>(id)];
    x = x > 0 ? x / s.penalty : x * s.penalty;
  }
}

// Whether a comes before b: the larger logit, of equal ones the smaller id.
struct Before {
  const double* x;
  bool operator()(int32_t a, int32_t b) const { return x[a] > x[b] || (x[a] == x[b] && a < b); }
};

void Sampler::keep_top_k(int64_t k) {
  order_.resize(x_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::nth_element(order_.begin(), order_.begin() + k, order_.end(), Before{x_.data()});
  for (auto i = order_.begin() + k; i != order_.end(); ++i) x_[static_cast<size_t>(*i)] = NEVER;
}

// Sorts only as many as are kept: the first 32, then twice as many, and so on.
void Sampler::keep_top_p(double p) {
  const double limit = p * total_weight();
  order_.clear();
  for (size_t i = 0; i < x_.size(); i++)
    if (x_[i] > NEVER) order_.push_back(static_cast<int32_t>(i));
  const size_t size = order_.size();
  double sum = 0;
  size_t kept = 0, sorted = 0;
  for (size_t step = 32; kept < size && (kept == 0 || sum < limit); kept++) {
    if (kept == sorted) {
      sorted = std::min(size, sorted + step), step *= 2;
      auto from = order_.begin() + static_cast<std::ptrdiff_t>(kept);
      std::partial_sort(from, order_.begin() + static_cast<std::ptrdiff_t>(sorted), order_.end(), Before{x_.data()});
    }
    sum += weights_[static_cast<size_t>(order_[kept])];
  }
  for (; kept < size; kept++) x_[static_cast<size_t>(order_[kept])] = NEVER;
}

void Sampler::keep_min_p(double p) {
  const double least = highest(x_) + std::log(p);
  for (double& x : x_) x = x >= least ? x : NEVER;
}

int32_t Sampler::draw(double u) {
  const double limit = u * total_weight();
  double sum = 0;
  int32_t last = 0;
  for (size_t i = 0; i < x_.size(); i++) {
    sum += weights_[i];
    if (weights_[i] > 0) last = static_cast<int32_t>(i);
    if (sum > limit) return last;
  }
  return last;
}

// weights_ = exp(x - highest x); their sum, in the order of ids. The highest x is 0.
double Sampler::total_weight() {
  kernels_.exponentials(x_.data(), weights_.data(), static_cast<int64_t>(x_.size()));
  return std::accumulate(weights_.begin(), weights_.end(), 0.);
}

double Sampler::log_probability(const float* logits, int32_t id) {
  float top = *std::max_element(logits, logits + x_.size());
  for (size_t i = 0; i < x_.size(); i++) x_[i] = static_cast<double>(logits[i]) - static_cast<double>(top);
  const double chosen = x_[static_cast<size_t>(id)];
  return chosen - std::log(total_weight());
}

}  // namespace rhapsode::engine

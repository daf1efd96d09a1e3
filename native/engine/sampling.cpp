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

}  // namespace

double uniform(uint64_t seed, uint64_t index) {
  return static_cast<double>(mix(mix(seed + GOLDEN) + (index + 1) * GOLDEN) >> 11) * 0x1p-53;
}

Sampler::Sampler(const Kernels& kernels, int64_t vocabulary)
    : kernels_(kernels), vocabulary_(vocabulary), x_(static_cast<size_t>(round_up(vocabulary, LINE))),
      weights_(x_.size()), line_sums_(x_.size() / LINE) {}

int32_t Sampler::choose(const float* logits, const uint8_t* allowed, const Sampling& s, const std::vector<int32_t>& recent,
                        uint64_t written, double u) {
  if (!kernels_.possible(logits, allowed, x_.data(), size())) return -1;
  penalise(s, recent);
  for (auto [id, value] : s.bias) x_[static_cast<size_t>(id)] += value;
  const double temperature = s.temperature_at(written);
  if (s.greedy || temperature == 0)
    return static_cast<int32_t>(std::max_element(x_.begin(), x_.end()) - x_.begin());
  kernels_.cool(x_.data(), temperature, size());
  if (s.top_k > 0 && s.top_k < vocabulary_) keep_top_k(s.top_k);
  if (s.top_p < 1) keep_top_p(s.top_p);
  if (s.min_p > 0) keep_min_p(s.min_p);
  if (s.typical_p < 1) keep_typical(s.typical_p);
  return draw(u);
}

void Sampler::penalise(const Sampling& s, const std::vector<int32_t>& recent) {
  if (!s.looks_back()) return;
  const auto window = std::min(static_cast<std::ptrdiff_t>(s.window), static_cast<std::ptrdiff_t>(recent.size()));
  order_.assign(recent.end() - window, recent.end());
  std::sort(order_.begin(), order_.end());
  for (size_t first = 0, last = 0; first < order_.size(); first = last) {
    while (last < order_.size() && order_[last] == order_[first]) last++;
    double& x = x_[static_cast<size_t>(order_[first])];
    x = x > 0 ? x / s.repetition : x * s.repetition;
    x -= s.presence + s.frequency * static_cast<double>(last - first);
  }
}

// Whether a comes before b: the larger logit, of equal ones the smaller id.
struct Before {
  const double* x;
  bool operator()(int32_t a, int32_t b) const { return x[a] > x[b] || (x[a] == x[b] && a < b); }
};

void Sampler::keep_top_k(int64_t k) {
  order_.resize(static_cast<size_t>(vocabulary_));
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

// The highest x is 0.
void Sampler::keep_min_p(double p) {
  const double least = std::log(p);
  for (double& x : x_) x = x >= least ? x : NEVER;
}

// The nearest to the entropy come first; the largest that is kept becomes 0 again.
void Sampler::keep_typical(double p) {
  const double total = total_weight();
  double mean = 0;
  for (size_t i = 0; i < x_.size(); i++) mean += weights_[i] > 0 ? weights_[i] * x_[i] : 0;
  mean /= total;
  order_.clear();
  for (size_t i = 0; i < x_.size(); i++)
    if (x_[i] > NEVER) order_.push_back(static_cast<int32_t>(i));
  std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    const double far_a = std::abs(x_[static_cast<size_t>(a)] - mean), far_b = std::abs(x_[static_cast<size_t>(b)] - mean);
    return far_a < far_b || (far_a == far_b && a < b);
  });
  double sum = 0;
  size_t kept = 0;
  for (; kept < order_.size() && (kept == 0 || sum < p * total); kept++) sum += weights_[static_cast<size_t>(order_[kept])];
  for (; kept < order_.size(); kept++) x_[static_cast<size_t>(order_[kept])] = NEVER;
  const double top = *std::max_element(x_.begin(), x_.end());
  for (double& x : x_) x -= top;
}

// The line where the sum of weights passes u of their total, and then the symbol in it.
int32_t Sampler::draw(double u) {
  const double limit = u * total_weight();
  double sum = 0;
  size_t line = 0;
  while (line + 1 < line_sums_.size() && sum + line_sums_[line] <= limit) sum += line_sums_[line++];
  size_t i = line * LINE;
  for (; i < weights_.size(); i++)
    if ((sum += weights_[i]) > limit) return static_cast<int32_t>(i);
  while (weights_[--i] == 0) {}  // what was rounded: the last that is possible
  return static_cast<int32_t>(i);
}

// weights_ = exp(x); their sum. The highest x is 0.
double Sampler::total_weight() {
  kernels_.exponentials(x_.data(), weights_.data(), line_sums_.data(), size());
  return std::accumulate(line_sums_.begin(), line_sums_.end(), 0.);
}

double Sampler::log_probability(const float* logits, int32_t id, int64_t top, std::vector<Opinion>& best) {
  std::copy_n(logits, vocabulary_, x_.begin());
  std::fill(x_.begin() + vocabulary_, x_.end(), NEVER);
  kernels_.cool(x_.data(), 1, size());
  const double log_total = std::log(total_weight());
  if (top > 0) {
    order_.resize(static_cast<size_t>(vocabulary_));
    std::iota(order_.begin(), order_.end(), 0);
    const auto last = order_.begin() + std::min(static_cast<std::ptrdiff_t>(top), static_cast<std::ptrdiff_t>(order_.size()));
    std::partial_sort(order_.begin(), last, order_.end(), Before{x_.data()});
    for (auto i = order_.begin(); i != last; ++i) best.push_back({*i, x_[static_cast<size_t>(*i)] - log_total});
  }
  return x_[static_cast<size_t>(id)] - log_total;
}

}  // namespace rhapsode::engine

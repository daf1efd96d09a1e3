#include "curves.h"

#include <cmath>

namespace rhapsode::amx {
namespace {

// The parabola through f at the Chebyshev nodes of [middle - width / 2, middle + width / 2], in powers of x itself.
template <class F>
void fit(F f, double middle, double width, int at, Parabolas& out) {
  const double step = width / 2 * std::sqrt(0.75);
  const double low = f(middle - step), mid = f(middle), high = f(middle + step);
  const double square = (high - 2 * mid + low) / (2 * step * step), slope = (high - low) / (2 * step);
  out.square[at] = static_cast<float>(square);
  out.linear[at] = static_cast<float>(slope - 2 * square * middle);
  out.constant[at] = static_cast<float>(mid - slope * middle + square * middle * middle);
}

Parabolas fit_sigmoid() {
  Parabolas p;
  for (int i = -16; i < 16; i++)
    fit([](double x) { return 1 / (1 + std::exp(-x)); }, i * double{SIGMOID_WIDTH}, SIGMOID_WIDTH, i & 31, p);
  return p;
}

Parabolas fit_tanh() {
  Parabolas p;
  for (int i = 0; i < 32; i++) fit([](double x) { return std::tanh(x); }, i * double{TANH_WIDTH}, TANH_WIDTH, i, p);
  return p;
}

}  // namespace

const Parabolas sigmoid_curve = fit_sigmoid(), tanh_curve = fit_tanh();

}  // namespace rhapsode::amx

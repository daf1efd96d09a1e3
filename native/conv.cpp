#include "conv.h"

#include <cstring>

#include "plain.h"
#include "threads.h"

namespace rhapsode {
namespace {

// Between a state [B, steps * D] and panels of rows step * B + b. Each thread does a part.
void from_state(const float* plain, int64_t B, Panels to, const Team& team) {
  const int64_t steps = to.rows / B;
  Range panels = team.part(to.count());
  for (int64_t p = panels.first; p < panels.last; p++)
    for (int64_t r = 0; r < to.rows; r++)
      for (int64_t i = 0, c = p * to.width; i < to.width; i++, c++)
        to.panel(p)[r * to.width + i] = c < to.columns ? plain[(r % B * steps + r / B) * to.columns + c] : 0;
}

// Row `row` of panels into a plain row.
void to_row(ConstPanels from, int64_t row, float* plain) {
  for (int64_t c = 0; c < from.columns; c += from.width) {
    const int64_t n = from.columns - c < from.width ? from.columns - c : from.width;
    std::memcpy(plain + c, from.panel(c / from.width) + row * from.width, static_cast<size_t>(n) * sizeof(float));
  }
}

}  // namespace

Convolution::Convolution(int64_t width, int64_t taps)
    : width(width), taps(taps), k_(current_kernels()), weight_("weight", {width, taps}, Order::gate_rows, 1, false, k_),
      bias_("bias", {width}, Order::natural, 1, false, k_) {}

ShortConvolution Convolution::over(const Activations& x) {
  const ConstPanels read = x.panels();
  return {read.rows / B_, B_, taps, past_.view, read, weight_.values(), bias_.value.data()};
}

const Activations& Convolution::forward(const Activations& x, int64_t B, const float* before, float* after) {
  B_ = B;
  const int64_t past = taps - 1;
  past_.shape(past * B, width, k_.width);
  const ShortConvolution c = over(x);
  Panels out = out_.shape(c.x.rows, width, k_.width);
  parallel([&](const Team& team) {
    from_state(before, B, past_.view, team);
    team.barrier();
    Tiling t = tiling(team, out.count(), c.T, 1);
    k_.convolve(c, out, t.panels, t.rows);
    Range rows = team.part(past * B);
    for (int64_t r = rows.first; r < rows.last; r++) {
      const int64_t row = r + c.x.rows;  // among the past ones and those of x
      float* to = after + (r % B * past + r / B) * width;
      if (row < past * B) to_row(past_.view, row, to);
      else to_row(c.x, row - past * B, to);
    }
  });
  return out_;
}

const Activations& Convolution::backward(const Activations& x, const Activations& d_output, const float* d_after,
                                         float* d_before, bool accumulate) {
  const ShortConvolution c = over(x);
  const ConstPanels d = d_output.panels();
  const int64_t past = taps - 1;
  Panels d_x = d_x_.shape(c.x.rows, width, k_.width);
  const std::vector<const float*> d_list = list(d);
  Panels from_after = d_after ? d_after_.shape(past * B_, width, k_.width) : Panels{};
  Panels d_past = d_before ? d_past_.shape(past * B_, width, k_.width) : Panels{};
  parallel([&](const Team& team) {
    if (d_after) from_state(d_after, B_, from_after, team);
    team.barrier();
    Tiling t = tiling(team, d_x.count(), c.T + past, 1);
    k_.convolve_backward(c, d, from_after, d_past, d_x, t.panels, t.rows);
    Range panels = team.part(d_x.count());
    k_.convolve_parameters(c, d, accumulate, weight_.gradients(), panels);
    k_.column_sums(d_list.data(), c.x.rows, accumulate, bias_.gradient.data(), panels);
    if (!d_before) return;
    team.barrier();
    Range rows = team.part(past * B_);
    for (int64_t r = rows.first; r < rows.last; r++) to_row(d_past, r, d_before + (r % B_ * past + r / B_) * width);
  });
  return d_x_;
}

}  // namespace rhapsode

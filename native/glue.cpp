#include "glue.h"

#include <cstring>

#include "amx/make.h"
#include "plain.h"
#include "threads.h"

namespace rhapsode {

Panels& OwnedActivations::shape(int64_t rows, int64_t columns, int64_t width) {
  buffer_.reserve(rows * round_up(columns, width));
  view = {buffer_.data(), rows, columns, width, rows * width};
  return view;
}

const Activations& Vectors::set(const float* plain, int64_t rows, int64_t columns) {
  Panels out = out_.shape(rows, columns, k_.width);
  parallel([&](const Team& team) { from_rows(plain, out, team); });
  return out_;
}

const Activations& Sum::run(const Activations& a, const Activations& b) {
  ConstPanels x = a.panels(), y = b.panels();
  Panels out = out_.shape(x.rows, x.columns, x.width);
  parallel([&](const Team& team) { k_.add(x, y, out, team.part(x.rows)); });
  return out_;
}

std::unique_ptr<Sum> make_sum(Precision precision) {
#if defined(RHAPSODE_HAS_AMX)
  if (precision == Precision::bf16) return amx::make_sum();
#endif
  (void)precision;
  return std::make_unique<Sum>();
}

const Activations& Dropout::run(const Activations& input, const Mask& mask) {
  ConstPanels x = input.panels();
  Panels out = out_.shape(x.rows, x.columns, x.width);
  parallel([&](const Team& team) { k_.drop(x, mask, 0, out, team.part(x.rows)); });
  return out_;
}

Embedding::Embedding(int64_t vocabulary, int64_t width, bool tied)
    : k_(current_kernels()), weight_("weight", {vocabulary, width}, Order::natural, 1, tied, k_) {}

const Activations& Embedding::forward(const int32_t* ids, int64_t rows) {
  Panels table = weight_.values(), out = out_.shape(rows, table.columns, table.width);
  parallel([&](const Team& team) { k_.gather(table, ids, out, team.part(rows)); });
  return out_;
}

void Embedding::backward(const int32_t* ids, const Activations& d_output, bool accumulate) {
  Panels table = weight_.gradients();
  ConstPanels d = d_output.panels();
  parallel([&](const Team& team) {
    Range panels = team.part(table.count());
    for (int64_t p = panels.first; !accumulate && p < panels.last; p++)
      std::memset(table.panel(p), 0, static_cast<size_t>(table.stride) * sizeof(float));
    k_.scatter(d, ids, nullptr, table, panels);
  });
}

Norm::Norm(int64_t width, bool centred, float epsilon)
    : k_(current_kernels()), centred_(centred), epsilon_(epsilon),
      weight_("weight", {width}, Order::natural, 1, false, k_), bias_("bias", {width}, Order::natural, 1, false, k_) {}

std::vector<Parameter*> Norm::parameters() {
  if (centred_) return {&weight_, &bias_};
  return {&weight_};
}

const Activations& Norm::forward(const Activations& input) {
  ConstPanels x = input.panels();
  Panels out = out_.shape(x.rows, x.columns, x.width);
  statistics_.reserve(2 * x.rows);
  const float* bias = centred_ ? bias_.value.data() : nullptr;
  parallel([&](const Team& team) {
    k_.norm(x, weight_.value.data(), bias, epsilon_, out, statistics_.data(), team.part(x.rows));
  });
  return out_;
}

const Activations& Norm::backward(const Activations& input, const Activations& d_output, bool accumulate) {
  ConstPanels x = input.panels(), d = d_output.panels();
  Panels d_x = d_x_.shape(x.rows, x.columns, x.width);
  float* d_bias = centred_ ? bias_.gradient.data() : nullptr;
  parallel([&](const Team& team) {
    k_.norm_backward(x, d, weight_.value.data(), centred_, statistics_.data(), d_x, team.part(x.rows));
    k_.norm_parameters(x, d, statistics_.data(), accumulate, weight_.gradient.data(), d_bias, team.part(x.count()));
  });
  return d_x_;
}

}  // namespace rhapsode

#include "gate_input.h"

#include <cstring>

#include "plain.h"
#include "threads.h"

namespace rhapsode {

GateInput::GateInput(const RecurrentSpec& spec, int64_t gates, const Kernels& k)
    : spec_(spec), G_(gates), k_(k), width_(k.width), blocks_(round_up(spec.hidden, k.width) / k.width) {
  const int64_t GH = gates * spec.hidden;
  auto make = [&](const char* name, std::vector<int64_t> shape, Order order, bool copy) {
    return std::make_unique<PanelParameter>(name, std::move(shape), order, gates, copy, k);
  };
  if (spec.table) {
    table_ = make("table", {spec.input, GH}, Order::gate_columns, false);
  } else {
    weight_ = make("weight_ih", {GH, spec.input}, Order::gate_rows, true);
    bias_ = make("bias", {GH}, Order::gate_columns, false);
  }
}

std::vector<Parameter*> GateInput::parameters() const {
  if (table_) return {table_.get()};
  return {weight_.get(), bias_.get()};
}

void GateInput::read(const LayerInput& input, int64_t rows) {
  input_ = input, rows_ = rows;
  x_ = input.vectors ? input.vectors->panels() : ConstPanels{};
  gates_.reserve(rows * blocks_ * G_ * width_);
  list_.resize(static_cast<size_t>(blocks_ * G_));
  for (size_t p = 0; p < list_.size(); p++) list_[p] = gates().panel(static_cast<int64_t>(p));
  factors_on_ = input.ids && input.id_mask.on();
  if (!factors_on_) return;
  factors_.reserve(rows);
  for (int64_t r = 0; r < rows; r++)
    factors_[r] = mask_factor(input.id_mask, input.id_mask.row(r), input.ids[r], spec_.input);
}

void GateInput::forward(const Team& team) {
  if (!input_.vectors) return;
  Tiling t = tiling(team, blocks_ * G_, rows_, 1);
  k_.product(x_.part(t.rows.first, t.count()), weight_->values(), bias_->value.data(), false,
             gates().part(t.rows.first, t.count()), t.panels);
}

const Activations* GateInput::d_vectors() {
  if (!input_.vectors) return nullptr;
  d_vectors_buffer_.reserve(rows_ * round_up(spec_.input, width_));
  d_vectors_.view = {d_vectors_buffer_.data(), rows_, spec_.input, width_, rows_ * width_};
  return &d_vectors_;
}

void GateInput::backward(bool accumulate, const Team& team) {
  if (input_.ids) {
    Range panels = team.part(blocks_ * G_);
    Panels gradient = table_->gradients();
    if (!accumulate)
      for (int64_t p = panels.first; p < panels.last; p++)
        std::memset(gradient.panel(p), 0, static_cast<size_t>(gradient.stride) * sizeof(float));
    k_.scatter(gates(), input_.ids, factors(), gradient, panels);
    return;
  }
  k_.column_sums(list_.data(), rows_, accumulate, bias_->gradient.data(), team.part(blocks_ * G_));
  Tiling t = tiling(team, blocks_ * G_, spec_.input, width_);
  k_.product_tn(x_, list_.data(), accumulate, weight_->gradients(), t.panels, t.rows);
  Tiling d = tiling(team, round_up(spec_.input, width_) / width_, rows_, 1);
  k_.product(gates().part(d.rows.first, d.count()), weight_->transposed(), nullptr, false,
             d_vectors_.view.part(d.rows.first, d.count()), d.panels);
}

}  // namespace rhapsode

#include "optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels.h"
#include "threads.h"

namespace rhapsode {
namespace {

constexpr int64_t PIECE = 1 << 12;  // elements: with the optimiser's arrays a part of the second-level cache

struct Rule {
  MethodIndex kernel;
  std::vector<std::string> slots;
};

Rule rule_of(const OptimizerSpec& spec) {
  bool momentum = spec.momentum > 0;
  switch (spec.method) {
    case Method::sgd: return momentum ? Rule{SGD_MOMENTUM, {"momentum_buffer"}} : Rule{SGD, {}};
    case Method::adagrad: return {ADAGRAD, {"sum"}};
    case Method::adadelta: return {ADADELTA, {"square_avg", "acc_delta"}};
    case Method::rmsprop:
      return momentum ? Rule{RMSPROP_MOMENTUM, {"square_avg", "momentum_buffer"}} : Rule{RMSPROP, {"square_avg"}};
    case Method::adam: return {ADAM, {"exp_avg", "exp_avg_sq"}};
    case Method::adamw: return {ADAMW, {"exp_avg", "exp_avg_sq"}};
  }
  return {SGD, {}};
}

}  // namespace

Optimizer::Optimizer(const OptimizerSpec& spec, std::vector<Trained> trained)
    : k_(current_kernels()), spec_(spec), trained_(std::move(trained)), slot_names_(rule_of(spec).slots) {
  for (Trained& t : trained_) {
    const Buffer<float>& value = t.parameter->value;
    const int64_t size = value.size(), piece = round_up(PIECE, t.parameter->grain);
    for (int64_t first = 0; first < size; first += piece) pieces_.push_back({&t, first, std::min(size, first + piece)});
    for (size_t i = 0; i < slot_names_.size(); i++) t.slots.emplace_back(size);
    if (spec.averaging <= 0) continue;
    t.average.reserve(size);
    std::copy(value.data(), value.data() + size, t.average.data());
  }
}

double Optimizer::step(double lr) {
  MethodIndex method = rule_of(spec_).kernel;
  std::vector<SquareSums> sums(pieces_.size());
  double norm = 0;
  auto run = [&](const Team& team) {
    const Range own = team.part(static_cast<int64_t>(pieces_.size()));
    for (int64_t i = own.first; i < own.last; i++) {
      const Piece& p = pieces_[static_cast<size_t>(i)];
      const float* gradient = p.of->parameter->gradient.data() + p.first;
      sums[static_cast<size_t>(i)] = k_.square_sums(gradient, p.last - p.first, spec_.clip_value);
    }
    team.barrier();
    SquareSums all{0, 0};
    for (const SquareSums& s : sums) all.raw += s.raw, all.clipped += s.clipped;
    if (team.thread == 0) norm = std::sqrt(all.raw);
    if (!std::isfinite(all.raw)) return;
    double length = std::sqrt(all.clipped);
    Update u{};
    double n = static_cast<double>(updates + 1);
    u.gradient_scale =
        spec_.clip_norm > 0 && length > spec_.clip_norm ? static_cast<float>(spec_.clip_norm / length) : 1.f;
    u.clip_value = spec_.clip_value;
    u.momentum = spec_.momentum, u.nesterov = spec_.nesterov;
    u.beta1 = spec_.beta1, u.beta2 = spec_.beta2, u.eps = spec_.eps;
    u.correction1 = static_cast<float>(1 - std::pow(double(spec_.beta1), n));
    u.correction2 = static_cast<float>(1 - std::pow(double(spec_.beta2), n));
    u.averaging = static_cast<float>(std::min(double(spec_.averaging), (1 + n) / (10 + n)));
    for (int64_t i = own.first; i < own.last; i++) {
      const Piece& p = pieces_[static_cast<size_t>(i)];
      Trained& t = *p.of;
      u.lr = static_cast<float>(lr * t.lr_multiple);
      u.decay = t.decayed ? spec_.weight_decay : 0.f;
      u.size = p.last - p.first;
      u.value = t.parameter->value.data() + p.first;
      u.gradient = t.parameter->gradient.data() + p.first;
      u.slot0 = t.slots.size() > 0 ? t.slots[0].data() + p.first : nullptr;
      u.slot1 = t.slots.size() > 1 ? t.slots[1].data() + p.first : nullptr;
      u.average = t.average.size() ? t.average.data() + p.first : nullptr;
      k_.update[method](u);
      t.parameter->changed(p.first, p.last);
    }
  };
  parallel(run);
  if (std::isfinite(norm)) updates++;
  return norm;
}

void Optimizer::swap_average() {
  for (Trained& t : trained_) std::swap(t.parameter->value, t.average);
  parallel([&](const Team& team) {
    const Range own = team.part(static_cast<int64_t>(pieces_.size()));
    for (int64_t i = own.first; i < own.last; i++) {
      const Piece& p = pieces_[static_cast<size_t>(i)];
      p.of->parameter->changed(p.first, p.last);
    }
  });
}

}  // namespace rhapsode

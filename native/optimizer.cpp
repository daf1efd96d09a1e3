#include "optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels.h"
#include "threads.h"

namespace rhapsode {
namespace {

constexpr int64_t PIECE = 1 << 14;  // elements: with the optimiser's arrays a part of the second-level cache

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

// A thread's stretch of a parameter, in whole grains.
Range stretch(const Parameter& p, const Team& team) {
  Range grains = team.part(p.value.size() / p.grain);
  return {grains.first * p.grain, grains.last * p.grain};
}

}  // namespace

Optimizer::Optimizer(const OptimizerSpec& spec, std::vector<Trained> trained)
    : k_(current_kernels()), spec_(spec), trained_(std::move(trained)), slot_names_(rule_of(spec).slots) {
  for (Trained& t : trained_) {
    for (size_t i = 0; i < slot_names_.size(); i++) t.slots.emplace_back(t.parameter->value.size());
    if (spec.averaging <= 0) continue;
    const Buffer<float>& value = t.parameter->value;
    t.average.reserve(value.size());
    std::copy(value.data(), value.data() + value.size(), t.average.data());
  }
}

double Optimizer::step(double lr) {
  MethodIndex method = rule_of(spec_).kernel;
  std::vector<SquareSums> sums(static_cast<size_t>(thread_count()), SquareSums{0, 0});
  double norm = 0;
  auto run = [&](const Team& team) {
    SquareSums own{0, 0};
    for (Trained& t : trained_) {
      Range r = stretch(*t.parameter, team);
      SquareSums s = k_.square_sums(t.parameter->gradient.data() + r.first, r.last - r.first, spec_.clip_value);
      own.raw += s.raw, own.clipped += s.clipped;
    }
    sums[static_cast<size_t>(team.thread)] = own;
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
    for (Trained& t : trained_) {
      Range r = stretch(*t.parameter, team);
      u.lr = static_cast<float>(lr * t.lr_multiple);
      u.decay = t.decayed ? spec_.weight_decay : 0.f;
      // In pieces, so that a layer packs its copies of a piece while that is in the cache.
      const int64_t piece = round_up(PIECE, t.parameter->grain);
      for (int64_t first = r.first; first < r.last; first += piece) {
        const int64_t last = std::min(r.last, first + piece);
        u.size = last - first;
        u.value = t.parameter->value.data() + first;
        u.gradient = t.parameter->gradient.data() + first;
        u.slot0 = t.slots.size() > 0 ? t.slots[0].data() + first : nullptr;
        u.slot1 = t.slots.size() > 1 ? t.slots[1].data() + first : nullptr;
        u.average = t.average.size() ? t.average.data() + first : nullptr;
        k_.update[method](u);
        t.parameter->changed(first, last);
      }
    }
  };
  parallel(run);
  if (std::isfinite(norm)) updates++;
  return norm;
}

void Optimizer::swap_average() {
  for (Trained& t : trained_) std::swap(t.parameter->value, t.average);
  parallel([&](const Team& team) {
    for (Trained& t : trained_) {
      Range r = stretch(*t.parameter, team);
      if (r.first < r.last) t.parameter->changed(r.first, r.last);
    }
  });
}

}  // namespace rhapsode

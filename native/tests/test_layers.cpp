// A small model of layers learns, on every instruction set and in every precision it has, and does so to the bit alike
// when run again, and however many of the threads work.
#include <vector>

#include "check.h"
#include "glue.h"
#include "layers.h"
#include "optimizer.h"
#include "threads.h"

namespace rhapsode {
namespace {

constexpr int64_t V = 11, H = 70, T = 5;  // three pairs of columns of tiles: shares of two sizes
constexpr int STEPS = SANITIZED ? 2 : 30;

void fill(const std::vector<Parameter*>& parameters, std::mt19937& source) {
  for (Parameter* p : parameters) {
    std::vector<float> plain(static_cast<size_t>(p->plain_size()));
    for (float& x : plain) x = 0.2f * std::normal_distribution<float>()(source);
    p->set_value(plain.data());
  }
}

// Losses of all steps on one batch of B sequences.
std::vector<double> losses(CellKind cell, Precision precision, int64_t B) {
  std::mt19937 source(3);
  auto first = make_recurrent({cell, true, V, H}, precision);
  auto second = make_recurrent({cell, false, H, H}, precision);
  auto output = make_output({V, H, nullptr}, precision);
  Norm norm(H, true, 1e-5f);
  std::vector<Trained> trained;
  for (auto list : {first->parameters(), second->parameters(), output->parameters()}) {
    fill(list, source);
    for (Parameter* p : list) trained.push_back({p, true, 1.f, {}, {}});
  }
  std::vector<float> ones(H, 1.f);
  norm.parameters()[0]->set_value(ones.data());
  OptimizerSpec spec;
  spec.clip_norm = 1, spec.averaging = 0.9f;
  Optimizer optimizer(spec, std::move(trained));
  std::vector<int32_t> ids(T * B), targets(T * B);
  for (size_t i = 0; i < ids.size(); i++) ids[i] = int32_t(source() % V), targets[i] = int32_t(source() % V);
  std::vector<float> zeros(B * H, 0.f), h(B * H), c(B * H);
  const float* in[] = {zeros.data(), zeros.data()};
  float* out[] = {h.data(), c.data()};
  std::vector<double> found;
  for (int step = 0; step < STEPS; step++) {
    LayerInput one, two;
    one.ids = ids.data(), one.id_mask = Mask{7u + unsigned(step), 10, 1.04f, B, B, 0};
    Mask weights{9u + unsigned(step), 20, 1.08f, 1, 1, 0};
    two.vectors = &first->forward(one, T, B, in, out, weights, true);
    const Activations& x = norm.forward(second->forward(two, T, B, in, out, weights, true));
    Loss loss = output->train(x, one.id_mask, targets.data(), nullptr, 1.f / (T * B), false);
    found.push_back(loss.sum / (T * B));
    // `x` of the norm is the second layer's output, which is still there.
    const Activations& d = norm.backward(second->forward(two, T, B, in, out, weights, true), output->d_input(), false);
    first->backward(one, *second->backward(two, d, nullptr, nullptr, false), nullptr, out, false);
    check(std::isfinite(optimizer.step(1e-2)), "the gradient is finite");
  }
  optimizer.swap_average();
  return found;
}

}  // namespace

void test_layers() {
  int before = thread_count();
  on_every_isa([](const std::string& isa) {
    for (int threads : {1, 2, 5}) {
      if (RACES_ALONE && threads == 1) continue;
      for (CellKind cell :
           {CellKind::rnn_tanh, CellKind::gru, CellKind::lstm, CellKind::mlstm, CellKind::mogrifier, CellKind::mingru,
            CellKind::sru}) {
        for (Precision precision : {Precision::fp32, Precision::bf16})
          for (int64_t B : {3, 33}) {
            if (!supports(precision)) continue;
            const std::string what = isa + (precision == Precision::bf16 ? "bf16 " : "fp32 ") + std::to_string(B) + " ";
            use_threads(threads, threads);
            const std::vector<double> all = losses(cell, precision, B);
            check(SANITIZED || all.back() < 0.8 * all.front(), what + "a small model learns");
            for (int team : {1, 2, 3, 5}) {
              if (team > threads) continue;
              use_threads(threads, team);
              check(losses(cell, precision, B) == all, what + "runs repeat to the bit, whatever the team");
            }
          }
      }
    }
  });
  use_threads(before);
}

}  // namespace rhapsode

// The gated MLP of rhapsode.nn.blocks in fp32.
#include "amx/make.h"
#include "glue.h"
#include "kernels.h"
#include "layers.h"
#include "plain.h"
#include "threads.h"

namespace rhapsode {
namespace {

class FloatMlp : public GatedMlp {
 public:
  FloatMlp(int64_t H, int64_t M)
      : H_(H), M_(M), k_(current_kernels()), weight_in_("weight_in", {2 * M, H}, Order::gate_rows, 2, true, k_),
        weight_out_("weight_out", {H, M}, Order::gate_rows, 1, true, k_) {}

  std::vector<Parameter*> parameters() override { return {&weight_in_, &weight_out_}; }

  const Activations& forward(const Activations& input, bool) override {
    const ConstPanels z = input.panels();
    const Panels a = a_.shape(z.rows, 2 * round_up(M_, k_.width), k_.width);
    const Panels inner = inner_.shape(z.rows, M_, k_.width), out = out_.shape(z.rows, H_, k_.width);
    parallel([&](const Team& team) {
      product(z, weight_in_.values(), a, team);
      team.barrier();
      k_.gate(a, inner, team.part(z.rows));
      team.barrier();
      product(inner, weight_out_.values(), out, team);
    });
    return out_;
  }

  const Activations& backward(const Activations& input, const Activations& d_output, bool accumulate) override {
    const ConstPanels z = input.panels(), d = d_output.panels();
    const Panels a = a_.view, inner = inner_.view;
    const Panels d_inner = d_inner_.shape(z.rows, M_, k_.width), d_z = d_z_.shape(z.rows, H_, k_.width);
    const std::vector<const float*> d_list = list(d), a_list = list(a);
    parallel([&](const Team& team) {
      product(d, weight_out_.transposed(), d_inner, team);
      team.barrier();
      k_.gate_backward(a, d_inner, team.part(z.rows));
      team.barrier();
      product(a, weight_in_.transposed(), d_z, team);
      weight_gradient(inner, d_list, M_, accumulate, weight_out_.gradients(), team);
      weight_gradient(z, a_list, H_, accumulate, weight_in_.gradients(), team);
    });
    return d_z_;
  }

 private:
  void product(ConstPanels x, ConstPanels weight, Panels out, const Team& team) {
    const Tiling t = tiling(team, out.count(), x.rows, 1);
    k_.product(x.part(t.rows.first, t.count()), weight, nullptr, false, out.part(t.rows.first, t.count()), t.panels);
  }

  void weight_gradient(ConstPanels x, const std::vector<const float*>& d, int64_t inputs, bool accumulate, Panels gradient,
                       const Team& team) {
    const Tiling t = tiling(team, gradient.count(), inputs, k_.width);
    k_.product_tn(x, d.data(), accumulate, gradient, t.panels, t.rows);
  }

  const int64_t H_, M_;
  const Kernels& k_;
  PanelParameter weight_in_, weight_out_;
  OwnedActivations a_, inner_, out_, d_inner_, d_z_;  // a: W_in z, then its gradient
};

}  // namespace

std::unique_ptr<GatedMlp> make_gated_mlp(int64_t hidden, int64_t inner, Precision precision) {
#if defined(RHAPSODE_HAS_AMX)
  if (precision == Precision::bf16) return amx::make_gated_mlp(hidden, inner);
#endif
  (void)precision;
  return std::make_unique<FloatMlp>(hidden, inner);
}

}  // namespace rhapsode

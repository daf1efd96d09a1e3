// The recurrent layer in fp32 of cells with a recurrent matrix: rnn, gru, lstm, mlstm. (The others: elementwise.cpp.)
#include <algorithm>
#include <cstring>

#include "amx/make.h"
#include "elementwise.h"
#include "gate_input.h"
#include "kernels.h"
#include "layers.h"
#include "panel_parameter.h"
#include "plain.h"
#include "threads.h"

namespace rhapsode {
namespace {

int64_t gates_of(CellKind cell) {
  return cell == CellKind::mlstm ? 5 : cell == CellKind::lstm ? 4 : cell == CellKind::gru ? 3 : 1;
}

class FloatRecurrent : public RecurrentLayer {
 public:
  explicit FloatRecurrent(const RecurrentSpec& spec)
      : spec_(spec), G_(gates_of(spec.cell)), k_(current_kernels()), width_(k_.width),
        blocks_(round_up(spec.hidden, k_.width) / k_.width), input_(spec, G_, k_),
        weight_hh_(std::make_unique<PanelParameter>("weight_hh", std::vector<int64_t>{G_ * spec.hidden, spec.hidden},
                                                    Order::gate_rows, G_, true, k_)) {
    if (spec.cell == CellKind::gru)
      bias_hn_ = std::make_unique<PanelParameter>("bias_hn", std::vector<int64_t>{spec.hidden}, Order::natural, 1, false, k_);
  }

  std::vector<Parameter*> parameters() override {
    std::vector<Parameter*> all = input_.parameters();
    all.push_back(weight_hh_.get());
    if (bias_hn_) all.push_back(bias_hn_.get());
    return all;
  }

  int states() const override { return spec_.cell == CellKind::lstm || multiplied() ? 2 : 1; }

  const Activations& forward(const LayerInput& input, int64_t T, int64_t B, const float* const* state_in,
                             float* const* state_out, const Mask& dropconnect, bool) override {
    prepare(input, T, B, dropconnect);
    Sequence s = sequence();
    parallel([&](const Team& team) {
      for (int i = 0; i < states(); i++) from_rows(state_in[i], state(i).part(0, B), team);
      if (dropconnect_.on()) drop_weights(team);
      input_.forward(team);
      team.barrier();
      k_.forward[static_cast<int>(spec_.cell)](s, team);
      team.barrier();
      for (int i = 0; i < states(); i++) to_rows(state(i).part(T * B, B), state_out[i], team);
    });
    output_.view = state(0).part(B, T * B);
    output_.view.columns = spec_.hidden;
    return output_;
  }

  const Activations* backward(const LayerInput&, const Activations& d_output, const float* const* d_state_out,
                              float* const* d_state_in, bool accumulate) override {
    const Activations* d_vectors = input_.d_vectors();
    dh_.reserve(B_ * units());
    dc_.reserve(states() > 1 ? B_ * units() : 0);
    dm_.reserve(multiplied() ? B_ * units() : 0);
    Sequence s = sequence();
    s.d_output = d_output.panels();
    s.with_state = d_state_in != nullptr;
    parallel([&](const Team& team) {
      for (int i = 0; i < states(); i++) from_rows(d_state_out ? d_state_out[i] : nullptr, d_state(i), team);
      team.barrier();
      k_.backward[static_cast<int>(spec_.cell)](s, team);
      team.barrier();
      for (int i = 0; d_state_in && i < states(); i++) to_rows(d_state(i), d_state_in[i], team);
      input_.backward(accumulate, team);
      recurrent_gradients(accumulate, team);
    });
    return d_vectors;
  }

 private:
  int64_t units() const { return blocks_ * width_; }
  // Whether the gates see m instead of h, and the last gate makes m of h.
  bool multiplied() const { return spec_.cell == CellKind::mlstm; }
  Panels over_time(Buffer<float>& buffer) { return {buffer.data(), T_ * B_, units(), width_, T_ * B_ * width_}; }
  // Arrays of the state over time: h, c.
  Panels state(int i) {
    int64_t rows = (T_ + 1) * B_;
    return {i ? c_.data() : h_.data(), rows, spec_.hidden, width_, rows * width_};
  }
  Panels d_state(int i) { return {i ? dc_.data() : dh_.data(), B_, spec_.hidden, width_, B_ * width_}; }

  void prepare(const LayerInput& input, int64_t T, int64_t B, const Mask& dropconnect) {
    T_ = T, B_ = B, dropconnect_ = dropconnect;
    input_.read(input, T * B);
    if (spec_.cell == CellKind::gru || multiplied()) extra_.reserve(T * B * units());
    if (multiplied()) m_.reserve(T * B * units());
    h_.reserve((T + 1) * B * units());
    if (states() > 1) c_.reserve((T + 1) * B * units());
    scratch_.reserve(thread_count() * k_.scratch_per_thread);
    if (dropconnect.on()) {
      dropped_.reserve(weight_hh_->value.size());
      dropped_transposed_.reserve(weight_hh_->value.size());
    }
    lists();
  }

  // The operands of products whose panels do not lie at one distance.
  void lists() {
    h_list_.resize(blocks_), extra_list_.resize(blocks_), m_list_.resize(blocks_), recurrent_list_.resize(blocks_ * G_);
    for (int64_t u = 0; u < blocks_; u++) {
      h_list_[u] = state(0).panel(u), extra_list_[u] = over_time(extra_).panel(u), m_list_[u] = over_time(m_).panel(u);
      for (int64_t g = 0; g < G_; g++) {
        // W_hn h is multiplied by the reset gate, W_mh h by the input's part.
        bool inside = (spec_.cell == CellKind::gru || multiplied()) && g == G_ - 1;
        recurrent_list_[u * G_ + g] = inside ? extra_list_[u] : input_.gates().panel(u * G_ + g);
      }
    }
  }

  Sequence sequence() {
    Sequence s{};
    s.T = T_, s.B = B_, s.blocks = blocks_;
    s.weight = dropconnect_.on() ? dropped_.data() : weight_hh_->value.data();
    s.weight_t = dropconnect_.on() ? dropped_transposed_.data() : weight_hh_->transposed().data;
    if (bias_hn_) s.bias_hn = bias_hn_->value.data();
    s.ids = input_.ids(), s.table = input_.table(), s.factors = input_.factors();
    s.gates = input_.gates(), s.extra = over_time(extra_), s.h = state(0), s.c = state(1), s.m = over_time(m_);
    s.h_panels = h_list_.data(), s.m_panels = m_list_.data(), s.gradient_panels = recurrent_list_.data();
    s.dh = d_state(0), s.dc = d_state(1), s.dm = {dm_.data(), B_, spec_.hidden, width_, B_ * width_};
    s.scratch = scratch_.data();
    s.row_parts = row_parts();
    return s;
  }

  // Threads share the units of a layer, each reading its part of the weights, and wait for each other after every
  // step. Where the weights fit in one core's cache, or units are few, they share the batch and need not wait.
  int row_parts() const {
    constexpr int64_t CACHE = 1 << 20, ROWS = 8;
    int64_t threads = thread_count(), weights = weight_hh_->value.size() * 4;
    int64_t parts = weights <= CACHE ? threads : (threads + blocks_ - 1) / blocks_;
    return static_cast<int>(std::max<int64_t>(1, std::min({parts, threads, B_ / ROWS})));
  }

  void drop_weights(const Team& team) {
    Panels values = weight_hh_->values(), dropped = weight_hh_->view(dropped_.data()), copy = weight_hh_->transposed();
    values.columns = spec_.hidden * G_;
    copy.data = dropped_transposed_.data();
    Range panels = team.part(blocks_ * G_);
    k_.drop_weights(values, dropped, G_, dropconnect_, false, panels);
    for (int64_t p = panels.first; p < panels.last; p++) k_.transpose(dropped, copy, p, {0, dropped.rows});
  }

  void recurrent_gradients(bool accumulate, const Team& team) {
    if (bias_hn_) k_.column_sums(extra_list_.data(), T_ * B_, accumulate, bias_hn_->gradient.data(), team.part(blocks_));
    if (!dropconnect_.on()) {
      weight_gradient(accumulate, weight_hh_->gradients(), team);
      return;
    }
    // The dropped weights are no longer needed: their place holds the gradient before its mask.
    Panels whole = weight_hh_->view(dropped_.data());
    weight_gradient(false, whole, team);
    team.barrier();
    whole.columns = spec_.hidden * G_;
    k_.drop_weights(whole, weight_hh_->gradients(), G_, dropconnect_, accumulate, team.part(blocks_ * G_));
  }

  void weight_gradient(bool accumulate, Panels to, const Team& team) {
    const ConstPanels h = state(0).part(0, T_ * B_);
    if (!multiplied()) {
      Tiling t = tiling(team, blocks_ * G_, units(), width_);
      return k_.product_tn(h, recurrent_list_.data(), accumulate, to, t.panels, t.rows);
    }
    Tiling t = tiling(team, blocks_, units(), width_);
    std::vector<const float*> gate(static_cast<size_t>(blocks_));
    for (int64_t g = 0; g < G_; g++) {  // every G-th panel is the same gate's
      for (int64_t u = 0; u < blocks_; u++) gate[static_cast<size_t>(u)] = recurrent_list_[u * G_ + g];
      const Panels own{to.panel(g), to.rows, units(), width_, to.stride * G_};
      k_.product_tn(g < G_ - 1 ? ConstPanels(over_time(m_)) : h, gate.data(), accumulate, own, t.panels, t.rows);
    }
  }

  const RecurrentSpec spec_;
  const int64_t G_;
  const Kernels& k_;
  const int64_t width_, blocks_;
  GateInput input_;
  std::unique_ptr<PanelParameter> weight_hh_, bias_hn_;

  // Of the last forward.
  int64_t T_ = 0, B_ = 0;
  Mask dropconnect_;
  Buffer<float> extra_, h_, c_, m_, dh_, dc_, dm_, scratch_, dropped_, dropped_transposed_;
  std::vector<const float*> h_list_, extra_list_, m_list_, recurrent_list_;
  PanelActivations output_;
};

}  // namespace

std::unique_ptr<RecurrentLayer> make_recurrent(const RecurrentSpec& spec, Precision precision) {
#if defined(RHAPSODE_HAS_AMX)
  if (precision == Precision::bf16) return amx::make_recurrent(spec);
#endif
  (void)precision;
  if (is_elementwise(spec.cell)) return make_elementwise(spec);
  return std::make_unique<FloatRecurrent>(spec);
}

}  // namespace rhapsode

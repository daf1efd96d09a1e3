// The recurrent layer in fp32 of cells with a recurrent matrix: rnn, gru, lstm, mlstm, mogrifier. (Others: elementwise.cpp.)
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
int64_t matrices_of(CellKind cell) { return cell == CellKind::mogrifier ? mogrifier::MATRICES : gates_of(cell); }

class FloatRecurrent : public RecurrentLayer {
 public:
  explicit FloatRecurrent(const RecurrentSpec& spec)
      : spec_(spec), M_(matrices_of(spec.cell)), k_(current_kernels()), width_(k_.width),
        blocks_(round_up(spec.hidden, k_.width) / k_.width), input_(spec, gates_of(spec.cell), k_),
        weight_hh_(make("weight_hh", {M_ * spec.hidden, spec.hidden}, Order::gate_rows, M_, true)) {
    if (spec.cell == CellKind::gru) bias_ = make("bias_hn", {spec.hidden}, Order::natural, 1, false);
    if (mogrified()) bias_ = make("bias_hh", {4 * spec.hidden}, Order::gate_columns, 4, false);
  }

  std::vector<Parameter*> parameters() override {
    std::vector<Parameter*> all = input_.parameters();
    all.push_back(weight_hh_.get());
    if (bias_) all.push_back(bias_.get());
    return all;
  }

  int states() const override { return spec_.cell == CellKind::lstm || multiplied() || mogrified() ? 2 : 1; }

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
    dm_.reserve(multiplied() || mogrified() ? B_ * units() : 0);
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
  // Whether rounds of gating come before the gates.
  bool mogrified() const { return spec_.cell == CellKind::mogrifier; }
  std::unique_ptr<PanelParameter> make(const char* name, std::vector<int64_t> shape, Order order, int64_t gates, bool copy) {
    return std::make_unique<PanelParameter>(name, std::move(shape), order, gates, copy, k_);
  }
  Panels over_time(Buffer<float>& buffer) { return {buffer.data(), T_ * B_, units(), width_, T_ * B_ * width_}; }
  // What a step makes before its gates: m of the mlstm, x or h of each round of the mogrifier.
  Panels given(int64_t i) { return {m_.data() + i * T_ * B_ * units(), T_ * B_, units(), width_, T_ * B_ * width_}; }
  int64_t count_given() const { return multiplied() ? 1 : mogrified() ? mogrifier::ROUNDS : 0; }
  Panels kept() { return {kept_.data(), T_ * B_, mogrifier::KEPT * units(), width_, T_ * B_ * width_}; }
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
    m_.reserve(count_given() * T * B * units());
    if (mogrified()) kept_.reserve(mogrifier::KEPT * T * B * units());
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
    h_list_.resize(blocks_), extra_list_.resize(blocks_), m_list_.clear(), recurrent_list_.resize(blocks_ * M_);
    for (int64_t i = 0; i < count_given(); i++)
      for (int64_t u = 0; u < blocks_; u++) m_list_.push_back(given(i).panel(u));
    for (int64_t u = 0; u < blocks_; u++) {
      h_list_[u] = state(0).panel(u), extra_list_[u] = over_time(extra_).panel(u);
      for (int64_t m = 0; m < M_; m++) recurrent_list_[u * M_ + m] = gradient_panel(u, m);
    }
  }

  // Where the gradient of the m-th product lies.
  const float* gradient_panel(int64_t u, int64_t m) {
    using namespace mogrifier;
    if (mogrified()) return kept().panel(u * KEPT + (m < FIRST_ROUND ? m % X : m - FIRST_ROUND + X));
    // W_hn h is multiplied by the reset gate, W_mh h by the input's part.
    const bool inside = (spec_.cell == CellKind::gru || multiplied()) && m == M_ - 1;
    return inside ? extra_list_[u] : input_.gates().panel(u * M_ + m);
  }

  // What the m-th matrix is multiplied with.
  ConstPanels operand(int64_t m) {
    using namespace mogrifier;
    const ConstPanels h = state(0).part(0, T_ * B_);
    if (multiplied()) return m < M_ - 1 ? given(0) : h;
    if (!mogrified() || m == FIRST_ROUND) return h;
    return given(m > FIRST_ROUND ? m - FIRST_ROUND - 1 : m < X ? ROUNDS - 2 : ROUNDS - 1);
  }

  Sequence sequence() {
    Sequence s{};
    s.T = T_, s.B = B_, s.blocks = blocks_;
    s.weight = dropconnect_.on() ? dropped_.data() : weight_hh_->value.data();
    s.weight_t = dropconnect_.on() ? dropped_transposed_.data() : weight_hh_->transposed().data;
    if (bias_) s.bias = bias_->value.data();
    s.ids = input_.ids(), s.table = input_.table(), s.factors = input_.factors();
    s.gates = mogrified() ? kept() : input_.gates(), s.x = input_.gates();
    s.extra = over_time(extra_), s.h = state(0), s.c = state(1), s.m = given(0);
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
    values.columns = spec_.hidden * M_;
    copy.data = dropped_transposed_.data();
    Range panels = team.part(blocks_ * M_);
    k_.drop_weights(values, dropped, M_, dropconnect_, false, panels);
    for (int64_t p = panels.first; p < panels.last; p++) k_.transpose(dropped, copy, p, {0, dropped.rows});
  }

  void recurrent_gradients(bool accumulate, const Team& team) {
    if (bias_) bias_gradient(accumulate, team);
    if (!dropconnect_.on()) {
      weight_gradient(accumulate, weight_hh_->gradients(), team);
      return;
    }
    // The dropped weights are no longer needed: their place holds the gradient before its mask.
    Panels whole = weight_hh_->view(dropped_.data());
    weight_gradient(false, whole, team);
    team.barrier();
    whole.columns = spec_.hidden * M_;
    k_.drop_weights(whole, weight_hh_->gradients(), M_, dropconnect_, accumulate, team.part(blocks_ * M_));
  }

  void bias_gradient(bool accumulate, const Team& team) {
    std::vector<const float*> gates;
    for (int64_t u = 0; u < blocks_ && mogrified(); u++)
      for (int64_t g = 0; g < mogrifier::X; g++) gates.push_back(gradient_panel(u, g));
    const std::vector<const float*>& list = mogrified() ? gates : extra_list_;
    k_.column_sums(list.data(), T_ * B_, accumulate, bias_->gradient.data(), team.part(static_cast<int64_t>(list.size())));
  }

  void weight_gradient(bool accumulate, Panels to, const Team& team) {
    if (!count_given()) {
      Tiling t = tiling(team, blocks_ * M_, units(), width_);
      return k_.product_tn(operand(0), recurrent_list_.data(), accumulate, to, t.panels, t.rows);
    }
    Tiling t = tiling(team, blocks_, units(), width_);
    std::vector<const float*> gradient(static_cast<size_t>(blocks_));
    for (int64_t m = 0; m < M_; m++) {  // every M-th panel is of the same matrix
      for (int64_t u = 0; u < blocks_; u++) gradient[static_cast<size_t>(u)] = recurrent_list_[u * M_ + m];
      const Panels own{to.panel(m), to.rows, units(), width_, to.stride * M_};
      k_.product_tn(operand(m), gradient.data(), accumulate, own, t.panels, t.rows);
    }
  }

  const RecurrentSpec spec_;
  const int64_t M_;  // matrices [H, H]
  const Kernels& k_;
  const int64_t width_, blocks_;
  GateInput input_;
  std::unique_ptr<PanelParameter> weight_hh_, bias_;

  // Of the last forward.
  int64_t T_ = 0, B_ = 0;
  Mask dropconnect_;
  Buffer<float> extra_, h_, c_, m_, kept_, dh_, dc_, dm_, scratch_, dropped_, dropped_transposed_;
  std::vector<const float*> h_list_, extra_list_, m_list_, recurrent_list_;
  PanelActivations output_;
};

}  // namespace

std::unique_ptr<RecurrentLayer> make_recurrent(const RecurrentSpec& spec, Precision precision) {
#if defined(RHAPSODE_HAS_AMX)
  if (precision == Precision::bf16 && spec.cell != CellKind::mogrifier) return amx::make_recurrent(spec);
#endif
  (void)precision;
  if (is_elementwise(spec.cell)) return make_elementwise(spec);
  return std::make_unique<FloatRecurrent>(spec);
}

}  // namespace rhapsode

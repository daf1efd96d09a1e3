// The output layer in fp32, with softmax and cross-entropy, in pieces of rows so that logits never take much memory.
#include <algorithm>

#include "amx/make.h"
#include "kernels.h"
#include "layers.h"
#include "panel_parameter.h"
#include "plain.h"
#include "threads.h"

namespace rhapsode {
namespace {

class FloatOutput : public OutputLayer {
 public:
  explicit FloatOutput(const OutputSpec& spec)
      : V_(spec.vocabulary), H_(spec.hidden), k_(current_kernels()), width_(k_.width),
        weight_(static_cast<PanelParameter*>(spec.tied)) {
    if (!weight_) {
      own_weight_ = std::make_unique<PanelParameter>("weight", std::vector<int64_t>{V_, H_}, Order::natural, 1, true, k_);
      weight_ = own_weight_.get();
    }
    bias_ = std::make_unique<PanelParameter>("bias", std::vector<int64_t>{V_}, Order::natural, 1, false, k_);
  }

  std::vector<Parameter*> parameters() override {
    std::vector<Parameter*> all;
    if (own_weight_) all.push_back(own_weight_.get());
    all.push_back(bias_.get());
    return all;
  }

  Loss train(const Activations& input, const Mask& mask, const int32_t* targets, const float* weights, float scale,
             bool accumulate) override {
    ConstPanels x = input.panels();
    prepare(x.rows);
    d_input_buffer_.reserve(x.rows * round_up(H_, width_));
    d_input_.view = {d_input_buffer_.data(), x.rows, H_, width_, x.rows * width_};
    if (mask.on()) dropped_.reserve(piece_ * round_up(H_, width_));
    factors_.reserve(x.rows);
    for (int64_t r = 0; r < x.rows; r++) factors_[r] = weights ? scale * weights[r] : scale;
    const int64_t begin = weightless(weights, x.rows);
    for (int64_t p = 0; p < d_input_.view.count(); p++) std::fill_n(d_input_.view.panel(p), begin * width_, 0.0f);
    parallel([&](const Team& team) {
      for (int64_t first = begin; first < x.rows; first += piece_) {
        int64_t rows = std::min(piece_, x.rows - first);
        train_piece(x.part(first, rows), mask, first, targets + first, accumulate || first > begin, team);
      }
    });
    Loss loss;
    for (int64_t r = begin; r < x.rows; r++) loss.sum += (weights ? double(weights[r]) : 1.0) * nats_[r];
    return loss;
  }

  const Activations& d_input() override { return d_input_; }

  void losses(const Activations& input, const int32_t* targets, float* nats) override {
    ConstPanels x = input.panels();
    prepare(x.rows);
    parallel([&](const Team& team) {
      for (int64_t first = 0; first < x.rows; first += piece_) {
        int64_t rows = std::min(piece_, x.rows - first);
        Range own = team.part(rows);
        Panels logits = logits_of(x.part(first, rows), own);
        k_.softmax(logits, targets + first, nullptr, nats + first, own);
      }
    });
  }

  void logits(const Activations& input, float* plain) override {
    ConstPanels x = input.panels();
    prepare(x.rows);
    parallel([&](const Team& team) {
      for (int64_t first = 0; first < x.rows; first += piece_) {
        int64_t rows = std::min(piece_, x.rows - first);
        Tiling t = tiling(team, panels(), rows, 1);
        Panels out = logits_view(rows).part(t.rows.first, t.count());
        k_.product(x.part(first + t.rows.first, t.count()), weight_->transposed(), bias_->value.data(), false, out, t.panels);
        team.barrier();
        to_rows(logits_view(rows), plain + first * V_, team);
        team.barrier();
      }
    });
  }

 private:
  static constexpr int64_t PIECE_BYTES = 16 << 20, LEAST_ROWS = 64, MOST_ROWS = 1024;

  int64_t panels() const { return round_up(V_, width_) / width_; }
  Panels logits_view(int64_t rows) { return {logits_.data(), rows, V_, width_, rows * width_}; }

  void prepare(int64_t rows) {
    int64_t row_bytes = panels() * width_ * static_cast<int64_t>(sizeof(float));
    piece_ = std::min(rows, std::clamp(PIECE_BYTES / row_bytes, LEAST_ROWS, MOST_ROWS));
    logits_.reserve(piece_ * panels() * width_);
    nats_.reserve(rows);
    x_list_.resize(static_cast<size_t>(weight_->values().count()));
    logits_list_.resize(static_cast<size_t>(panels()));
  }

  // Logits of a thread's own rows, all of the vocabulary.
  Panels logits_of(ConstPanels x, Range own) {
    Panels logits = logits_view(x.rows);
    k_.product(x.part(own.first, own.last - own.first), weight_->transposed(), bias_->value.data(), false,
               logits.part(own.first, own.last - own.first), {0, panels()});
    return logits;
  }

  // Each thread takes some rows as far as the gradient of x; then, with all rows done, some part of the weights.
  void train_piece(ConstPanels x, const Mask& mask, int64_t first, const int32_t* targets, bool accumulate,
                   const Team& team) {
    Range own = team.part(x.rows);
    int64_t count = own.last - own.first;
    if (mask.on()) {
      Panels dropped{dropped_.data(), x.rows, H_, width_, x.rows * width_};
      k_.drop(x, mask, first, dropped, own);
      x = dropped;
    }
    Panels logits = logits_of(x, own);
    k_.softmax(logits, targets, factors_.data() + first, nats_.data() + first, own);
    Panels d_x = d_input_.view.part(first, x.rows);
    ConstPanels weight = weight_->values();
    k_.product(logits.part(own.first, count), weight, nullptr, false, d_x.part(own.first, count), {0, weight.count()});
    if (mask.on()) k_.drop(d_x, mask, first, d_x, own);
    if (team.thread == 0) list(x, x_list_), list(logits, logits_list_);
    team.barrier();
    weight_gradients(x, logits, accumulate, team);
    team.barrier();
  }

  void weight_gradients(ConstPanels x, ConstPanels d_logits, bool accumulate, const Team& team) {
    Panels gradient = weight_->gradients();
    Tiling t = tiling(team, gradient.count(), V_, width_);
    k_.product_tn(d_logits, x_list_.data(), accumulate, gradient, t.panels, t.rows);
    k_.column_sums(logits_list_.data(), x.rows, accumulate, bias_->gradient.data(), team.part(panels()));
  }

  // The panels of x one by one, into a list that is long enough.
  static void list(ConstPanels x, std::vector<const float*>& to) {
    for (int64_t p = 0; p < x.count(); p++) to[static_cast<size_t>(p)] = x.panel(p);
  }

  const int64_t V_, H_;
  const Kernels& k_;
  const int64_t width_;
  std::unique_ptr<PanelParameter> own_weight_, bias_;
  PanelParameter* weight_;
  int64_t piece_ = 0;
  Buffer<float> logits_, nats_, factors_, dropped_, d_input_buffer_;
  std::vector<const float*> x_list_, logits_list_;
  PanelActivations d_input_;
};

}  // namespace

std::unique_ptr<OutputLayer> make_output(const OutputSpec& spec, Precision precision) {
#if defined(RHAPSODE_HAS_AMX)
  if (precision == Precision::bf16 && !spec.tied) return amx::make_output(spec);
#endif
  (void)precision;
  return std::make_unique<FloatOutput>(spec);
}

}  // namespace rhapsode

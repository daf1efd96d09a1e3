#include "elementwise.h"

#include <algorithm>

#include "gate_input.h"
#include "kernels.h"
#include "panel_parameter.h"
#include "plain.h"
#include "threads.h"

namespace rhapsode {
namespace {

// Sums over rows are taken in pieces of so many, which threads share.
constexpr int64_t ROWS = 8;

class FloatElementwise : public RecurrentLayer {
 public:
  explicit FloatElementwise(const RecurrentSpec& spec)
      : H_(spec.hidden), k_(current_kernels()), cell_(k_.elementwise[static_cast<int>(spec.cell) - MATRIX_CELLS]),
        blocks_(round_up(H_, k_.width) / k_.width), input_(spec, cell_.gates, k_) {
    for (const char* name : own_vectors(spec.cell))
      vectors_.push_back(
          std::make_unique<PanelParameter>(name, std::vector<int64_t>{H_}, Order::natural, 1, false, k_));
  }

  std::vector<Parameter*> parameters() override {
    std::vector<Parameter*> all = input_.parameters();
    for (auto& vector : vectors_) all.push_back(vector.get());
    return all;
  }

  int states() const override { return 1; }

  const Activations& forward(const LayerInput& input, int64_t T, int64_t B, const float* const* state_in,
                             float* const* state_out, const Mask&, bool) override {
    T_ = T, B_ = B;
    input_.read(input, T * B);
    state_.reserve((T + 1) * B * units());
    if (cell_.own_output) output_buffer_.reserve(T * B * units());
    const Elementwise s = sequence();
    parallel([&](const Team& team) {
      from_rows(state_in[0], s.state.part(0, B), team);
      input_.forward(team);
      team.barrier();
      const Tiling part = tiling(team, blocks_, B, 1);
      cell_.forward(s, part.panels, part.rows);
      team.barrier();
      to_rows(s.state.part(T * B, B), state_out[0], team);
    });
    output_.view = s.output;
    return output_;
  }

  const Activations* backward(const LayerInput&, const Activations& d_output, const float* const* d_state_out,
                              float* const* d_state_in, bool accumulate) override {
    const Activations* d_input = input_.d_vectors();
    d_state_.reserve(B_ * units());
    d_vectors_.reserve(row_pieces() * cell_.vectors * units());
    std::fill_n(d_vectors_.data(), row_pieces() * cell_.vectors * units(), 0.f);
    Elementwise s = sequence();
    s.d_output = d_output.panels();
    parallel([&](const Team& team) {
      from_rows(d_state_out ? d_state_out[0] : nullptr, s.d_state, team);
      team.barrier();
      Elementwise own = s;
      const Tiling part = tiling(team, blocks_, B_, ROWS);
      for (int64_t first = part.rows.first; first < part.rows.last; first += ROWS) {
        own.d_vectors = d_vectors_.data() + first / ROWS * cell_.vectors * units();
        cell_.backward(own, part.panels, {first, std::min(first + ROWS, part.rows.last)});
      }
      team.barrier();
      if (d_state_in) to_rows(s.d_state, d_state_in[0], team);
      input_.backward(accumulate, team);
      add_vectors(accumulate, team);
    });
    return d_input;
  }

 private:
  int64_t units() const { return blocks_ * k_.width; }
  int64_t row_pieces() const { return round_up(B_, ROWS) / ROWS; }
  // [rows, H] in a buffer.
  Panels view(Buffer<float>& buffer, int64_t rows) { return {buffer.data(), rows, H_, k_.width, rows * k_.width}; }

  Elementwise sequence() {
    vector_list_.clear();
    for (auto& vector : vectors_) vector_list_.push_back(vector->value.data());
    Elementwise s{};
    s.T = T_, s.B = B_, s.H = H_;
    s.vectors = vector_list_.data();
    s.ids = input_.ids(), s.table = input_.table(), s.factors = input_.factors(), s.gates = input_.gates();
    s.state = view(state_, (T_ + 1) * B_);
    s.output = cell_.own_output ? view(output_buffer_, T_ * B_) : s.state.part(B_, T_ * B_);
    s.d_state = view(d_state_, B_);
    return s;
  }

  void add_vectors(bool accumulate, const Team& team) {
    const Range part = team.part(units());
    for (int64_t i = 0; i < cell_.vectors; i++) {
      float* gradient = vectors_[static_cast<size_t>(i)]->gradient.data();
      for (int64_t u = part.first; u < part.last; u++) {
        float sum = accumulate ? gradient[u] : 0;
        for (int64_t piece = 0; piece < row_pieces(); piece++) sum += d_vectors_[(piece * cell_.vectors + i) * units() + u];
        gradient[u] = sum;
      }
    }
  }

  const int64_t H_;
  const Kernels& k_;
  const ElementwiseKernels& cell_;
  const int64_t blocks_;
  GateInput input_;
  std::vector<std::unique_ptr<PanelParameter>> vectors_;

  int64_t T_ = 0, B_ = 0;  // of the last forward
  std::vector<const float*> vector_list_;
  Buffer<float> state_, output_buffer_, d_state_, d_vectors_;
  PanelActivations output_;
};

}  // namespace

std::vector<const char*> own_vectors(CellKind cell) {
  if (cell == CellKind::sru) return {"v_f", "v_r"};
  if (cell == CellKind::rglru) return {"decay"};
  return {};
}

std::unique_ptr<RecurrentLayer> make_elementwise(const RecurrentSpec& spec) {
  return std::make_unique<FloatElementwise>(spec);
}

}  // namespace rhapsode

// The recurrent layer in bf16 on AMX of cells whose recurrence is element-wise: its buffers, and the kernels' order.
#include "../elementwise.h"

#include <algorithm>

#include "elementwise_scan.h"
#include "make.h"
#include "threads.h"

namespace rhapsode::amx {
namespace {

class TileElementwise : public RecurrentLayer {
 public:
  explicit TileElementwise(const RecurrentSpec& spec)
      : H_(spec.hidden), P_(pairs(H_)), k_(elementwise_scans[static_cast<int>(spec.cell) - MATRIX_CELLS]),
        input_(spec, {k_.gates, 2, H_}) {
    for (const char* name : own_vectors(spec.cell))
      vectors_.push_back(std::make_unique<TileVector>(name, GateColumns{1, 2, H_}));
  }

  std::vector<Parameter*> parameters() override {
    std::vector<Parameter*> all = input_.parameters();
    for (auto& vector : vectors_) all.push_back(vector.get());
    return all;
  }

  int states() const override { return 1; }

  const Activations& forward(const LayerInput& input, int64_t T, int64_t B, const float* const* state_in,
                             float* const* state_out, const Mask&, bool training) override {
    const bool renew = prepare(T, B, training);
    input_.read(input, T, B, training, renew);
    gather_vectors();
    scan_.gates = input_.lines();
    scan_.state_in = state_in[0], scan_.state_out = state_out[0];
    parallel([&](const Team& team) {
      input_.forward(team.thread, team.threads);
      team.barrier();
      k_.forward(scan_, team.thread, team.threads);
    });
    output_.tiles = {scan_.output, T, B, H_};
    output_.turned = {scan_.turned, scan_.turned_pitch};
    return output_;
  }

  const Activations* backward(const LayerInput&, const Activations& d_output, const float* const* d_state_out,
                              float* const* d_state_in, bool accumulate) override {
    const Activations* d_input = input_.d_vectors();
    prepare_backward(d_input != nullptr);
    d_reader_.read(d_output, output_.tiles, false);
    scan_.d_output = d_reader_.tiles.data;
    scan_.d_state_out = d_state_out ? d_state_out[0] : nullptr;
    scan_.d_state_in = d_state_in ? d_state_in[0] : nullptr;
    const int64_t Q = k_.gates * P_, pitch = shape(0).blocks() + 1;
    const TokenTiles d{packed() ? packed_tokens_.data() : tokens_.data(), packed() ? pitch : scan_.tokens_pitch, Q, 0};
    if (d_input) input_rows_.set({scan_.d_rows, T_, B_, Q * PAIR}, {}, shape(Q * PAIR), false);
    parallel([&](const Team& team) {
      k_.backward(scan_, team.thread, team.threads);
      team.barrier();
      if (packed()) {
        pack_tokens({tokens_.data(), scan_.tokens_pitch, Q, T_, B_}, packed_tokens_.data(), pitch, team.thread, team.threads);
        if (d_input) input_rows_.copy(team.thread, team.threads);
        team.barrier();
      }
      row_sums(input_.sums(d, accumulate), team.thread, team.threads);
      input_.backward(d, input_rows_.tiles, accumulate, team.thread, team.threads);
      add_vectors(accumulate, team);
    });
    return d_input;
  }

 private:
  int64_t R() const { return pairs(B_); }
  // Of the rows whose gradients are taken: packed, or as the scan leaves them.
  RowTiles shape(int64_t columns) const { return input_.shape(T_, B_, columns); }
  bool packed() const { return shape(0).T != T_; }

  // Buffers of the forward pass. What is padding must be zero, so a new shape, of which it tells, starts from zeros.
  bool prepare(int64_t T, int64_t B, bool training) {
    if (T == T_ && B == B_ && training == training_) return false;
    T_ = T, B_ = B, training_ = training;
    scan_ = ElementwiseScan{};
    scan_.T = T, scan_.B = B, scan_.H = H_;
    scan_.state = renew(state_, (T + 1) * R() * 2 * P_ * TILE);
    scan_.output = k_.own_output ? renew(output_data_, T * R() * 2 * P_ * TILE) : scan_.state + R() * 2 * P_ * TILE;
    scan_.turned_pitch = T * R() + 1;
    scan_.turned = training ? renew(turned_, 2 * P_ * scan_.turned_pitch * TILE) : nullptr;
    renew(tokens_, 0);
    return true;
  }

  void prepare_backward(bool vectors) {
    if (tokens_.size()) return;
    const int64_t Q = k_.gates * P_;
    scan_.tokens_pitch = T_ * R() + 1;
    scan_.d_tokens = renew(tokens_, Q * scan_.tokens_pitch * 2 * TILE);
    renew(packed_tokens_, packed() ? Q * (shape(0).blocks() + 1) * 2 * TILE : 0);
    scan_.d_vectors = renew(d_vectors_, R() * k_.vectors * P_ * PAIR);
    if (vectors) scan_.d_rows = renew(d_rows_, T_ * R() * 2 * Q * TILE);
  }

  template <class T>
  static T* renew(Buffer<T>& buffer, int64_t size) {
    buffer = Buffer<T>(size);
    return buffer.data();
  }

  // The cell's own vectors, one behind the other.
  void gather_vectors() {
    own_.reserve(k_.vectors * P_ * PAIR);
    for (size_t i = 0; i < vectors_.size(); i++)
      std::copy_n(vectors_[i]->value.data(), P_ * PAIR, own_.data() + static_cast<int64_t>(i) * P_ * PAIR);
    scan_.vectors = own_.data();
  }

  void add_vectors(bool accumulate, const Team& team) {
    const Range part = team.part(P_ * PAIR);
    for (int64_t i = 0; i < k_.vectors; i++)
      for (int64_t u = part.first; u < part.last; u++) {
        float& gradient = vectors_[static_cast<size_t>(i)]->gradient[u];
        float sum = accumulate ? gradient : 0;
        for (int64_t rb = 0; rb < R(); rb++) sum += d_vectors_[(rb * k_.vectors + i) * P_ * PAIR + u];
        gradient = sum;
      }
  }

  const int64_t H_, P_;
  const ElementwiseScanKernels& k_;
  TileGateInput input_;
  std::vector<std::unique_ptr<TileVector>> vectors_;

  int64_t T_ = 0, B_ = 0;
  bool training_ = false;
  ElementwiseScan scan_{};
  TileReader d_reader_, input_rows_;
  TileActivations output_;
  Buffer<bf16> state_, output_data_, turned_, tokens_, packed_tokens_, d_rows_;
  Buffer<float> own_, d_vectors_;
};

}  // namespace

std::unique_ptr<RecurrentLayer> make_elementwise(const RecurrentSpec& spec) {
  return std::make_unique<TileElementwise>(spec);
}

}  // namespace rhapsode::amx

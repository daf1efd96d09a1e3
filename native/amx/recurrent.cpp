// The recurrent layer in bf16 on AMX of cells with a recurrent matrix: its buffers, and the order of the kernels' calls.
#include "make.h"

#include "activations.h"
#include "gate_input.h"
#include "parameters.h"
#include "scan.h"
#include "threads.h"

namespace rhapsode::amx {
namespace {

const ScanKernels& kernels_of(CellKind cell) {
  switch (cell) {
    case CellKind::lstm: return scan_lstm;
    case CellKind::mlstm: return scan_mlstm;
    case CellKind::gru: return scan_gru;
    case CellKind::rnn_relu: return scan_rnn_relu;
    default: break;
  }
  return scan_rnn_tanh;
}

class TileRecurrent : public RecurrentLayer {
 public:
  explicit TileRecurrent(const RecurrentSpec& spec)
      : spec_(spec), k_(kernels_of(spec.cell)), columns_{k_.gates, k_.halves, spec.hidden}, P_(pairs(spec.hidden)),
        Q_(columns_.pairs_total()), input_(spec, columns_), weight_hh_("weight_hh", columns_, spec.hidden) {
    if (spec.cell == CellKind::gru) bias_hn_ = std::make_unique<TileVector>("bias_hn", GateColumns{1, 2, spec.hidden});
  }

  std::vector<Parameter*> parameters() override {
    std::vector<Parameter*> all = input_.parameters();
    all.push_back(&weight_hh_);
    if (bias_hn_) all.push_back(bias_hn_.get());
    return all;
  }

  int states() const override { return k_.history ? 2 : 1; }

  const Activations& forward(const LayerInput& input, int64_t T, int64_t B, const float* const* state_in,
                             float* const* state_out, const Mask& dropconnect, bool training) override {
    const bool renew = prepare(T, B, training);
    input_.read(input, T, B, training, renew);
    const GateLines lines = input_.lines();
    scan_.input = lines.lines, scan_.line_rows = lines.rows, scan_.lines = lines.numbers;
    scan_.h_in = state_in[0], scan_.h_out = state_out[0];
    if (states() > 1) scan_.c_in = state_in[1], scan_.c_out = state_out[1];
    share_with_factor();
    const bool repack = weight_hh_.drop(dropconnect);
    restart();
    parallel([&](const Team& team) {
      if (repack) weight_hh_.pack(team);
      input_.forward(team.thread, team.threads);
      team.barrier();
      k_.forward(scan_, team.thread, team.threads);
    });
    output_.tiles = {h_.data() + R() * 2 * P_ * TILE, T, B, spec_.hidden};
    output_.turned = {training ? turned_.data() + R() * TILE : nullptr, scan_.turned_pitch};
    return output_;
  }

  const Activations* backward(const LayerInput&, const Activations& d_output, const float* const* d_state_out,
                              float* const* d_state_in, bool accumulate) override {
    const Activations* d_vectors = input_.d_vectors();
    prepare_backward(d_vectors != nullptr);
    d_reader_.read(d_output, output_.tiles, false);
    scan_.d_output = d_reader_.tiles.data;
    scan_.d_h_out = d_state_out ? d_state_out[0] : nullptr;
    scan_.d_c_out = d_state_out && states() > 1 ? d_state_out[1] : nullptr;
    scan_.d_h_in = d_state_in ? d_state_in[0] : nullptr;
    scan_.d_c_in = d_state_in && states() > 1 ? d_state_in[1] : nullptr;
    share_with_factor();
    set_operands();
    restart();
    parallel([&](const Team& team) {
      k_.backward(scan_, team.thread, team.threads);
      team.barrier();
      if (packed()) {
        pack(team.thread, team.threads);
        team.barrier();
      }
      gradients(accumulate, team.thread, team.threads);
    });
    return d_vectors;
  }

 private:
  int64_t R() const { return pairs(B_); }
  // Whether the gradients are those of dense rows, so that only the recurrence itself works on the padding of steps.
  RowTiles shape(int64_t columns) const { return input_.shape(T_, B_, columns); }
  bool packed() const { return shape(0).T != T_; }
  int64_t token_pairs() const { return Q_ + (k_.token_gates - k_.gates) * P_; }

  // What the gradients are made of: the scan's own arrays, or what `pack` makes of them.
  void set_operands() {
    auto set = [&](TileReader& operand, Buffer<bf16>& rows, Buffer<bf16>& turned, int64_t first) {
      operand.set({rows.data() + first * R() * 2 * P_ * TILE, T_, B_, spec_.hidden},
                  {turned.data() + first * R() * TILE, scan_.turned_pitch}, shape(spec_.hidden), true);
    };
    set(before_, h_, turned_, 0);
    if (k_.factor_lines) set(factor_after_, m_, turned_m_, 1);
    if (scan_.d_rows) input_rows_.set({scan_.d_rows, T_, B_, Q_ * PAIR}, {}, shape(Q_ * PAIR), false);
  }
  void pack(int thread, int threads) {
    pack_tokens({tokens_.data(), scan_.tokens_pitch, token_pairs(), T_, B_}, packed_tokens_.data(), tiles() + 1, thread, threads);
    before_.copy(thread, threads);
    if (k_.factor_lines) factor_after_.copy(thread, threads);
    if (scan_.d_rows) input_rows_.copy(thread, threads);
  }
  int64_t tiles() const { return shape(0).blocks(); }

  // Buffers of the forward pass. What is padding must be zero, so a new shape, of which it tells, starts from zeros.
  bool prepare(int64_t T, int64_t B, bool training) {
    if (T == T_ && B == B_ && training == training_ && threads_ == thread_count()) return false;
    T_ = T, B_ = B, training_ = training, threads_ = thread_count();
    const int64_t blocks = 2 * P_ / k_.halves;
    scan_ = Scan{};
    scan_.T = T, scan_.B = B, scan_.H = spec_.hidden, scan_.shares = threads_;
    scan_.forward_weights = weight_hh_.forward(), scan_.backward_weights = weight_hh_.backward();
    scan_.bias = bias_hn_ ? bias_hn_->value.data() : nullptr;
    scan_.h = renew(h_, (T + 1) * R() * 2 * P_ * TILE);
    scan_.carry = renew(carry_, k_.carries ? 2 * P_ * R() * PAIR * LANES : 0);
    scan_.progress = renew(progress_, threads_);
    scan_.turned_pitch = (T + 1) * R() + 1;
    scan_.turned = renew(turned_, training ? 2 * P_ * scan_.turned_pitch * TILE : 0);
    scan_.saved = renew(saved_, training ? T * blocks * R() * PAIR * k_.saved_lines * 32 : 0);
    scan_.history = renew(history_, training && k_.history ? (T + 1) * 2 * P_ * R() * TILE : 0);
    renew(tokens_, 0);
    if (k_.factor_lines) {
      renew(m_, (T + 1) * R() * 2 * P_ * TILE);
      renew(turned_m_, training ? 2 * P_ * scan_.turned_pitch * TILE : 0);
      renew(factors_, training ? T * P_ * R() * PAIR * k_.factor_lines * 32 : 0);
      scan_.factor = &factor_;
    }
    return true;
  }

  // The first stage of a step, if there are two, works on what the second does, but for what is its own.
  void share_with_factor() {
    if (!k_.factor_lines) return;
    factor_ = scan_;
    factor_.h = m_.data(), factor_.saved = training_ ? factors_.data() : nullptr;
    factor_.turned = training_ ? turned_m_.data() : nullptr;
    factor_.h_out = nullptr, factor_.d_output = nullptr;
  }

  void prepare_backward(bool vectors) {
    if (tokens_.size()) return;
    scan_.tokens_pitch = T_ * R() + 1;
    scan_.d_tokens = renew(tokens_, token_pairs() * scan_.tokens_pitch * 2 * TILE);
    renew(packed_tokens_, packed() ? token_pairs() * (tiles() + 1) * 2 * TILE : 0);
    scan_.d_carry = renew(d_carry_, 2 * P_ * R() * PAIR * LANES);
    for (int i = 0; i < 2; i++) {
      scan_.d_gates[i] = renew(d_gates_[i], R() * 2 * Q_ * TILE);
      scan_.exchange[i] = renew(exchange_[i], threads_ > 1 ? threads_ * P_ * R() * 4 * SQUARE : 0);
    }
    if (vectors) scan_.d_rows = renew(d_rows_, T_ * R() * 2 * Q_ * TILE);
  }

  template <class T>
  static T* renew(Buffer<T>& buffer, int64_t size) {
    buffer = Buffer<T>(size);
    return buffer.data();
  }

  // The threads' progress counts from zero in each call.
  void restart() {
    for (int i = 0; i < threads_; i++) progress_[i].value = 0;
  }

  void gradients(bool accumulate, int thread, int threads) {
    const int64_t two = k_.token_gates > k_.gates ? k_.gates : 0;
    const bf16* tokens = packed() ? packed_tokens_.data() : tokens_.data();
    const int64_t pitch = packed() ? tiles() + 1 : scan_.tokens_pitch;
    const TokenTiles recurrent{tokens, pitch, Q_, 0}, input{tokens, pitch, Q_, two};
    const int64_t of_m = k_.factor_lines ? k_.gates - 1 : 0;  // gates that see m
    const RowSums sums = input_.sums(input, accumulate);
    auto gradient = [&](const TurnedTiles& x, int64_t first, int64_t last) {
      weight_gradient({x, recurrent, tiles(), P_, Q_, weight_hh_.gradient.data(), accumulate, weight_hh_.kept(), columns_, &sums,
                       first, last},
                      thread, threads);
    };
    if (of_m) gradient(factor_after_.turned, 0, of_m);
    gradient(before_.turned, of_m, k_.gates);
    input_.backward(input, input_rows_.tiles, accumulate, thread, threads);
    if (bias_hn_) {  // every third pair of columns: the candidate's recurrent part
      const TokenTiles candidate{tokens + 2 * pitch * 2 * TILE, 3 * pitch, P_, 0};
      row_sums({candidate, shape(0), {1, 2, spec_.hidden}, 1, nullptr, nullptr, bias_hn_->gradient.data(), accumulate}, thread,
               threads);
    }
  }

  const RecurrentSpec spec_;
  const ScanKernels& k_;
  const GateColumns columns_;
  const int64_t P_, Q_;
  TileGateInput input_;
  TileMatrix weight_hh_;
  std::unique_ptr<TileVector> bias_hn_;

  int64_t T_ = 0, B_ = 0;
  bool training_ = false;
  int threads_ = 0;
  Scan scan_{}, factor_{};
  TileReader d_reader_, before_, factor_after_, input_rows_;
  TileActivations output_;
  Buffer<bf16> h_, turned_, saved_, history_, m_, turned_m_, factors_, tokens_, packed_tokens_, d_gates_[2], d_rows_;
  Buffer<float> carry_, d_carry_, exchange_[2];
  Buffer<Progress> progress_;
};

}  // namespace

std::unique_ptr<RecurrentLayer> make_recurrent(const RecurrentSpec& spec) {
  if (is_elementwise(spec.cell)) return make_elementwise(spec);
  return std::make_unique<TileRecurrent>(spec);
}

}  // namespace rhapsode::amx

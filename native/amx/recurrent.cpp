// The recurrent layer in bf16 on AMX: its buffers, and the order of the kernels' calls.
#include "make.h"

#include "activations.h"
#include "parameters.h"
#include "plain.h"
#include "scan.h"
#include "threads.h"

namespace rhapsode::amx {
namespace {

const ScanKernels& kernels_of(CellKind cell) {
  switch (cell) {
    case CellKind::lstm: return scan_lstm;
    case CellKind::gru: return scan_gru;
    case CellKind::rnn_relu: return scan_rnn_relu;
    case CellKind::rnn_tanh: break;
  }
  return scan_rnn_tanh;
}

class TileRecurrent : public RecurrentLayer {
 public:
  explicit TileRecurrent(const RecurrentSpec& spec)
      : spec_(spec), k_(kernels_of(spec.cell)), columns_{k_.gates, k_.halves, spec.hidden}, P_(pairs(spec.hidden)),
        Q_(columns_.pairs_total()), weight_hh_("weight_hh", columns_, spec.hidden) {
    if (spec.table) {
      table_ = std::make_unique<TileTable>("table", spec.input, columns_);
    } else {
      weight_ih_ = std::make_unique<TileMatrix>("weight_ih", columns_, spec.input);
      bias_ = std::make_unique<TileVector>("bias", columns_);
    }
    if (spec.cell == CellKind::gru) bias_hn_ = std::make_unique<TileVector>("bias_hn", GateColumns{1, 2, spec.hidden});
  }

  std::vector<Parameter*> parameters() override {
    std::vector<Parameter*> all;
    if (table_) all = {table_.get()};
    else all = {weight_ih_.get(), bias_.get()};
    all.push_back(&weight_hh_);
    if (bias_hn_) all.push_back(bias_hn_.get());
    return all;
  }

  int states() const override { return k_.history ? 2 : 1; }

  const Activations& forward(const LayerInput& input, int64_t T, int64_t B, const float* const* state_in,
                             float* const* state_out, const Mask& dropconnect, bool training) override {
    prepare(T, B, training);
    enter(input);
    scan_.h_in = state_in[0], scan_.h_out = state_out[0];
    if (states() > 1) scan_.c_in = state_in[1], scan_.c_out = state_out[1];
    dropconnect_ = dropconnect;
    const bool repack = weight_hh_.stale(dropconnect);
    restart();
    parallel([&](const Team& team) {
      if (repack) weight_hh_.pack(dropconnect, team.thread, team.threads);
      if (input.vectors)
        project(reader_.tiles, weight_ih_->forward(), bias_->value.data(), columns_, gate_lines_.data(), team.thread,
                team.threads);
      else if (factors_on_)
        scaled_lines(table_->lines(), table_->rows(), symbols_.data(), factors_.data(), T_ * R() * PAIR, columns_,
                     gate_lines_.data(), team.thread, team.threads);
      team.barrier();
      k_.forward(scan_, team.thread, team.threads);
    });
    weight_hh_.packed(dropconnect);
    output_.tiles = {h_.data() + R() * 2 * P_ * TILE, T, B, spec_.hidden};
    output_.turned = {training ? turned_.data() + R() * TILE : nullptr, scan_.turned_pitch};
    return output_;
  }

  const Activations* backward(const LayerInput& input, const Activations& d_output, const float* const* d_state_out,
                              float* const* d_state_in, bool accumulate) override {
    prepare_backward();
    d_reader_.read(d_output, Mask{}, T_, B_, false);
    scan_.d_output = d_reader_.tiles.data;
    scan_.d_h_out = d_state_out ? d_state_out[0] : nullptr;
    scan_.d_c_out = d_state_out && states() > 1 ? d_state_out[1] : nullptr;
    scan_.d_h_in = d_state_in ? d_state_in[0] : nullptr;
    scan_.d_c_in = d_state_in && states() > 1 ? d_state_in[1] : nullptr;
    restart();
    parallel([&](const Team& team) {
      k_.backward(scan_, team.thread, team.threads);
      team.barrier();
      gradients(accumulate, team.thread, team.threads);
      if (input.vectors)
        multiply_rows({d_rows_.data(), T_, B_, Q_ * PAIR}, weight_ih_->backward(), Mask{}, d_input_.tiles, team.thread,
                     team.threads);
    });
    return input.vectors ? &d_input_ : nullptr;
  }

 private:
  int64_t R() const { return pairs(B_); }
  int64_t rows() const { return T_ * R() * PAIR; }

  // Buffers of the forward pass. What is padding must be zero, so a new shape starts from zeros.
  void prepare(int64_t T, int64_t B, bool training) {
    if (T == T_ && B == B_ && training == training_ && threads_ == thread_count()) return;
    T_ = T, B_ = B, training_ = training, threads_ = thread_count();
    const int64_t blocks = 2 * P_ / k_.halves;
    scan_ = Scan{};
    scan_.T = T, scan_.B = B, scan_.H = spec_.hidden;
    scan_.forward_weights = weight_hh_.forward(), scan_.backward_weights = weight_hh_.backward();
    scan_.bias = bias_hn_ ? bias_hn_->value.data() : nullptr;
    scan_.h = renew(h_, (T + 1) * R() * 2 * P_ * TILE);
    scan_.carry = renew(carry_, k_.carries ? 2 * P_ * R() * PAIR * LANES : 0);
    scan_.progress = renew(progress_, threads_);
    scan_.turned_pitch = (T + 1) * R() + 1;
    scan_.turned = renew(turned_, training ? 2 * P_ * scan_.turned_pitch * TILE : 0);
    scan_.saved = renew(saved_, training ? T * blocks * R() * PAIR * k_.saved_lines * 32 : 0);
    scan_.history = renew(history_, training && k_.history ? (T + 1) * 2 * P_ * R() * TILE : 0);
    renew(gate_lines_, table_ ? 0 : rows() * Q_ * PAIR);
    renew(symbols_, rows());
    renew(own_lines_, rows());
    for (int64_t r = 0; r < rows(); r++) {
      symbols_[r] = table_ ? static_cast<int32_t>(spec_.input) : 0;  // the table's line of zeros
      own_lines_[r] = static_cast<int32_t>(r);
    }
    renew(tokens_, 0);
  }

  void prepare_backward() {
    if (tokens_.size()) return;
    scan_.tokens_pitch = T_ * R() + 1;
    scan_.d_tokens = renew(tokens_, (Q_ + (k_.token_gates - k_.gates) * P_) * scan_.tokens_pitch * 2 * TILE);
    scan_.d_carry = renew(d_carry_, 2 * P_ * R() * PAIR * LANES);
    for (int i = 0; i < 2; i++) {
      scan_.d_gates[i] = renew(d_gates_[i], R() * 2 * Q_ * TILE);
      scan_.exchange[i] = renew(exchange_[i], threads_ > 1 ? threads_ * P_ * R() * 4 * SQUARE : 0);
    }
    if (table_) return;
    scan_.d_rows = renew(d_rows_, T_ * R() * 2 * Q_ * TILE);
    d_input_.tiles = {nullptr, T_, B_, spec_.input};
    d_input_.tiles.data = renew(d_input_data_, d_input_.tiles.size());
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

  // Where each row finds its line of gates: at its symbol in the table, or at its own number among `gate_lines_`.
  void enter(const LayerInput& input) {
    factors_on_ = input.ids && input.id_mask.on();
    if (input.vectors) reader_.read(*input.vectors, Mask{}, T_, B_, training_);
    if (factors_on_) {
      gate_lines_.reserve(rows() * Q_ * PAIR);
      factors_.reserve(rows());
    }
    for (int64_t t = 0; input.ids && t < T_; t++)
      for (int64_t b = 0; b < B_; b++) {
        const int64_t r = t * B_ + b, at = t * R() * PAIR + b;
        symbols_[at] = input.ids[r];
        if (factors_on_) factors_[at] = mask_factor(input.id_mask, input.id_mask.row(r), input.ids[r], spec_.input);
      }
    const bool own_lines = input.vectors || factors_on_;
    scan_.input = own_lines ? gate_lines_.data() : table_->lines();
    scan_.line_rows = own_lines ? rows() : table_->rows();
    scan_.lines = own_lines ? own_lines_.data() : symbols_.data();
  }

  void gradients(bool accumulate, int thread, int threads) {
    const bool two = k_.token_gates > k_.gates;
    const TokenTiles recurrent{tokens_.data(), scan_.tokens_pitch, Q_, false}, input{tokens_.data(), scan_.tokens_pitch, Q_, two};
    const int64_t tiles = T_ * R();
    weight_gradient({{turned_.data(), scan_.turned_pitch}, recurrent, tiles, P_, Q_, weight_hh_.gradient.data(), accumulate,
                     dropconnect_, columns_},
                    thread, threads);
    if (table_) {
      row_sums({input, columns_, table_->rows(), T_, B_, symbols_.data(), factors_on_ ? factors_.data() : nullptr,
                table_->gradient.data(), accumulate},
               thread, threads);
    } else {
      weight_gradient({reader_.turned, input, tiles, weight_ih_->P(), Q_, weight_ih_->gradient.data(), accumulate, Mask{},
                       columns_},
                      thread, threads);
      row_sums({input, columns_, 1, T_, B_, nullptr, nullptr, bias_->gradient.data(), accumulate}, thread, threads);
    }
    if (bias_hn_) {  // every third pair of columns: the candidate's recurrent part
      const TokenTiles candidate{tokens_.data() + 2 * scan_.tokens_pitch * 2 * TILE, 3 * scan_.tokens_pitch, P_, false};
      row_sums({candidate, {1, 2, spec_.hidden}, 1, T_, B_, nullptr, nullptr, bias_hn_->gradient.data(), accumulate}, thread,
               threads);
    }
  }

  const RecurrentSpec spec_;
  const ScanKernels& k_;
  const GateColumns columns_;
  const int64_t P_, Q_;
  TileMatrix weight_hh_;
  std::unique_ptr<TileMatrix> weight_ih_;
  std::unique_ptr<TileTable> table_;
  std::unique_ptr<TileVector> bias_, bias_hn_;

  int64_t T_ = 0, B_ = 0;
  bool training_ = false, factors_on_ = false;
  int threads_ = 0;
  Mask dropconnect_;
  Scan scan_{};
  TileReader reader_, d_reader_;
  TileActivations output_, d_input_;
  Buffer<bf16> h_, turned_, saved_, history_, gate_lines_, tokens_, d_gates_[2], d_rows_, d_input_data_;
  Buffer<float> carry_, d_carry_, exchange_[2], factors_;
  Buffer<int32_t> symbols_, own_lines_;
  Buffer<Progress> progress_;
};

}  // namespace

std::unique_ptr<RecurrentLayer> make_recurrent(const RecurrentSpec& spec) { return std::make_unique<TileRecurrent>(spec); }

}  // namespace rhapsode::amx

#include "gate_input.h"

#include <algorithm>

#include "plain.h"

namespace rhapsode::amx {

TileGateInput::TileGateInput(const RecurrentSpec& spec, const GateColumns& columns) : spec_(spec), columns_(columns) {
  if (spec.table) {
    table_ = std::make_unique<TileTable>("table", spec.input, columns);
  } else {
    weight_ = std::make_unique<TileMatrix>("weight_ih", columns, spec.input);
    bias_ = std::make_unique<TileVector>("bias", columns);
  }
}

std::vector<Parameter*> TileGateInput::parameters() const {
  if (table_) return {table_.get()};
  return {weight_.get(), bias_.get()};
}

void TileGateInput::read(const LayerInput& input, int64_t T, int64_t B, bool training, bool renew) {
  shape_ = shape(T, B, spec_.input);
  const int64_t rows = shape_.blocks() * PAIR, step = pairs(B) * PAIR;
  const bool packed = shape_.T != T;
  const int32_t zeros = static_cast<int32_t>(spec_.input);  // the table's last line
  if (renew) {  // what is padding must be zero
    lines_ = Buffer<bf16>(table_ ? 0 : rows * columns_.pairs_total() * PAIR);
    symbols_ = Buffer<int32_t>(rows), numbers_ = Buffer<int32_t>(T * step);
    std::fill_n(symbols_.data(), rows, zeros);
    d_vectors_data_ = Buffer<bf16>();
  }
  factors_on_ = input.ids && input.id_mask.on();
  if (factors_on_) lines_.reserve(rows * columns_.pairs_total() * PAIR), factors_.reserve(rows);
  for (int64_t t = 0; t < T; t++)
    for (int64_t b = 0; b < step; b++) {
      const int64_t r = t * B + b, of_steps = t * step + b, at = packed ? r : of_steps;
      int32_t& number = numbers_[of_steps];
      if (b >= B) {  // Padding, of which one row may be looked at; packed, it has no line of its own, and any will do.
        number = !own_lines() ? zeros : packed ? 0 : static_cast<int32_t>(at);
        continue;
      }
      if (table_) symbols_[at] = input.ids[r];
      if (factors_on_) factors_[at] = mask_factor(input.id_mask, input.id_mask.row(r), input.ids[r], spec_.input);
      number = own_lines() ? static_cast<int32_t>(at) : symbols_[at];
    }
  if (input.vectors) reader_.read(*input.vectors, shape_, training);
}

void TileGateInput::forward(int thread, int threads) {
  if (weight_)
    project(reader_.tiles, weight_->forward(), bias_->value.data(), columns_, lines_.data(), thread, threads);
  else if (factors_on_)
    scaled_lines(table_->lines(), table_->rows(), symbols_.data(), factors_.data(), shape_.blocks() * PAIR, columns_,
                 lines_.data(), thread, threads);
}

GateLines TileGateInput::lines() const {
  if (own_lines()) return {lines_.data(), shape_.blocks() * PAIR, numbers_.data()};
  return {table_->lines(), table_->rows(), numbers_.data()};
}

const Activations* TileGateInput::d_vectors() {
  if (!weight_) return nullptr;
  d_vectors_.tiles = shape_;
  d_vectors_data_.reserve(d_vectors_.tiles.size());
  d_vectors_.tiles.data = d_vectors_data_.data();
  return &d_vectors_;
}

RowSums TileGateInput::sums(const TokenTiles& d, bool accumulate) {
  if (!table_) return {d, shape_, columns_, 1, nullptr, nullptr, bias_->gradient.data(), accumulate};
  const float* factors = factors_on_ ? factors_.data() : nullptr;
  return {d, shape_, columns_, table_->rows(), symbols_.data(), factors, table_->gradient.data(), accumulate};
}

void TileGateInput::backward(const TokenTiles& d, const RowTiles& d_rows, bool accumulate, int thread, int threads) {
  if (!weight_) return;
  const int64_t Q = columns_.pairs_total();
  weight_gradient({reader_.turned, d, shape_.blocks(), weight_->P(), Q, weight_->gradient.data(), accumulate, Kept{}, columns_,
                   nullptr},
                  thread, threads);
  multiply_rows(d_rows, weight_->backward(), d_vectors_.tiles, thread, threads);
}

}  // namespace rhapsode::amx

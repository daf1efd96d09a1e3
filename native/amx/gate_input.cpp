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
  T_ = T, B_ = B;
  const int64_t step = pairs(B) * PAIR;
  const int32_t zeros = static_cast<int32_t>(spec_.input);  // the table's last line
  if (renew) {
    lines_ = Buffer<bf16>(table_ ? 0 : padded(rows()) * columns_.pairs_total() * PAIR);
    symbols_ = Buffer<int32_t>(padded(rows())), numbers_ = Buffer<int32_t>(T * step);
    std::fill_n(symbols_.data(), symbols_.size(), zeros);
  }
  factors_on_ = input.ids && input.id_mask.on();
  if (factors_on_) lines_.reserve(padded(rows()) * columns_.pairs_total() * PAIR), factors_.reserve(padded(rows()));
  for (int64_t t = 0; t < T; t++) {
    for (int64_t b = 0; b < B; b++) {
      const int64_t r = t * B + b;
      if (table_) symbols_[r] = input.ids[r];
      if (factors_on_) factors_[r] = mask_factor(input.id_mask, input.id_mask.row(r), input.ids[r], spec_.input);
      numbers_[t * step + b] = own_lines() ? static_cast<int32_t>(r) : symbols_[r];
    }
    std::fill_n(numbers_.data() + t * step + B, step - B, own_lines() ? 0 : zeros);  // padding; some of it is looked at
  }
  if (input.vectors) reader_.read(*input.vectors, 1, rows(), training);
}

void TileGateInput::forward(int thread, int threads) {
  if (weight_)
    project(reader_.tiles, weight_->forward(), bias_->value.data(), columns_, lines_.data(), thread, threads);
  else if (factors_on_)
    scaled_lines(table_->lines(), table_->rows(), symbols_.data(), factors_.data(), padded(rows()), columns_, lines_.data(),
                 thread, threads);
}

GateLines TileGateInput::lines() const {
  if (own_lines()) return {lines_.data(), padded(rows()), numbers_.data()};
  return {table_->lines(), table_->rows(), numbers_.data()};
}

const Activations* TileGateInput::d_vectors() {
  if (!weight_) return nullptr;
  d_vectors_.tiles = {nullptr, 1, rows(), spec_.input};
  d_vectors_data_.reserve(d_vectors_.tiles.size());
  d_vectors_.tiles.data = d_vectors_data_.data();
  return &d_vectors_;
}

RowSums TileGateInput::sums(const TokenTiles& d, bool accumulate) {
  if (!table_) return {d, columns_, 1, pairs(rows()), nullptr, nullptr, bias_->gradient.data(), accumulate};
  const float* factors = factors_on_ ? factors_.data() : nullptr;
  return {d, columns_, table_->rows(), pairs(rows()), symbols_.data(), factors, table_->gradient.data(), accumulate};
}

void TileGateInput::backward(const TokenTiles& d, const RowTiles& d_rows, bool accumulate, int thread, int threads) {
  if (!weight_) return;
  const int64_t Q = columns_.pairs_total();
  weight_gradient({reader_.turned, d, pairs(rows()), weight_->P(), Q, weight_->gradient.data(), accumulate, Kept{}, columns_,
                   nullptr},
                  thread, threads);
  multiply_rows(d_rows, weight_->backward(), d_vectors_.tiles, thread, threads);
}

}  // namespace rhapsode::amx

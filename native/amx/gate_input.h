// What a recurrent layer's gates receive from its input, on tiles: lines of a table, or of W_ih x + b; and the gradients.
#pragma once

#include <memory>
#include <vector>

#include "activations.h"
#include "parameters.h"

namespace rhapsode::amx {

// Lines of pre-activations [block][rows][pairs of a block][32], of which row r = t * 32 pairs(B) + b has number numbers[r].
struct GateLines {
  const bf16* lines;
  int64_t rows;
  const int32_t* numbers;
};

class TileGateInput {
 public:
  TileGateInput(const RecurrentSpec& spec, const GateColumns& columns);

  // table, or weight_ih and bias.
  std::vector<Parameter*> parameters() const;

  // The shape of the rows, [.., columns], that all but the recurrence works on: T steps of B, or dense ones where what it costs
  // to pack the gates' gradients is less than what it spares: products for weight_hh, and with vectors three times as many.
  RowTiles shape(int64_t T, int64_t B, int64_t columns) const { return RowTiles{nullptr, T, B, columns}.packed(table_ ? 2 : 5); }
  // Take the input of T * B rows, for a forward pass or its backward pass. `renew`: the shape is new.
  void read(const LayerInput& input, int64_t T, int64_t B, bool training, bool renew);
  // Compute the lines; all threads.
  void forward(int thread, int threads);
  GateLines lines() const;
  // What is to be done with the gates' gradients, as token tiles of that shape, for those of the table or the bias.
  RowSums sums(const TokenTiles& d, bool accumulate);
  // Of vectors: from the gates' gradients, as token tiles and row tiles of that shape, to those of weight_ih and the
  // vectors; all threads.
  void backward(const TokenTiles& d, const RowTiles& d_rows, bool accumulate, int thread, int threads);
  // Gradient of the vectors, or null for ids. Call it before backward.
  const Activations* d_vectors();

 private:
  bool own_lines() const { return weight_ || factors_on_; }

  const RecurrentSpec spec_;
  const GateColumns columns_;
  std::unique_ptr<TileMatrix> weight_;
  std::unique_ptr<TileTable> table_;
  std::unique_ptr<TileVector> bias_;

  RowTiles shape_;  // of the rows that are worked on
  bool factors_on_ = false;
  TileReader reader_;
  TileActivations d_vectors_;
  Buffer<bf16> lines_, d_vectors_data_;
  Buffer<float> factors_;
  Buffer<int32_t> symbols_, numbers_;  // of all rows of the shape; of the steps
};

}  // namespace rhapsode::amx

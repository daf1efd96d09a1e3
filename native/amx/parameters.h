// Parameters in tile order: fp32 masters in the order in which their gradients come out of the tiles, and bf16 copies
// that are packed anew whenever the optimiser has changed a stretch of them.
#pragma once

#include "dense.h"
#include "layers.h"
#include "threads.h"

namespace rhapsode::amx {

// Where output column c of a matrix (gate * units + unit) lies among the pairs of columns.
struct ColumnPlace {
  int64_t pair, half, lane;
};
inline ColumnPlace place_of(const GateColumns& g, int64_t c) {
  const int64_t gate = c / g.units, unit = c % g.units, unit_block = unit / LANES;
  const int64_t column = gate * g.halves + unit_block % g.halves;
  return {unit_block / g.halves * g.pairs_a_block() + column / 2, column % 2, unit % LANES};
}

// A matrix [outputs, inputs]: blocks [Q][P] of 32 outputs x 32 inputs, each as four fp32 tiles [input half][output half].
class TileMatrix : public Parameter {
 public:
  TileMatrix(const char* name, const GateColumns& columns, int64_t inputs)
      : Parameter(name, {columns.gates * columns.units, inputs}, columns.pairs_total() * pairs(inputs) * GRAIN, GRAIN),
        columns_(columns), P_(pairs(inputs)), forward_(value.size()), backward_(value.size()) {}

  int64_t place(int64_t row, int64_t column) const override {
    const ColumnPlace c = place_of(columns_, row);
    const int64_t block = c.pair * P_ + column / PAIR, input_half = column / LANES % 2;
    return block * GRAIN + (input_half * 2 + c.half) * SQUARE + column % LANES * LANES + c.lane;
  }
  void changed(int64_t first, int64_t last) override {
    if (!kept().on()) pack(first, last);
  }
  // Have the copies carry DropConnect, or none: whether `pack` must renew them. While they do, only that renews them.
  bool drop(const Mask& dropconnect) {
    const bool stale = dropconnect.on() || kept().on();
    mask_.set(dropconnect, P_ * PAIR * columns_.gates, columns_.units);
    return stale;
  }
  void pack(const Team& team) {
    mask_.draw(team.thread, team.threads);
    team.barrier();
    const int64_t blocks = value.size() / GRAIN;
    pack(blocks * team.thread / team.threads * GRAIN, blocks * (team.thread + 1) / team.threads * GRAIN);
  }
  const Kept& kept() const { return mask_.kept(); }

  const bf16* forward() const { return forward_.data(); }
  const bf16* backward() const { return backward_.data(); }
  int64_t P() const { return P_; }
  int64_t Q() const { return columns_.pairs_total(); }
  const GateColumns& columns() const { return columns_; }

 private:
  WeightTiles tiles() { return {forward_.data(), backward_.data(), P_, Q()}; }
  void pack(int64_t first, int64_t last) { pack_weights(value.data(), first, last, tiles(), kept(), columns_); }

  const GateColumns columns_;
  const int64_t P_;
  Buffer<bf16> forward_, backward_;
  DrawnMask mask_;
};

// Rows of gates [symbols, outputs], as lines [block][symbols + 1][pairs of a block][2][16]; the last symbol is padding and
// stays zero.
class TileTable : public Parameter {
 public:
  TileTable(const char* name, int64_t symbols, const GateColumns& columns)
      : Parameter(name, {symbols, columns.gates * columns.units}, (symbols + 1) * columns.pairs_total() * PAIR,
                  columns.pairs_a_block() * PAIR),
        columns_(columns), rows_(symbols + 1), lines_(value.size()) {}

  int64_t place(int64_t row, int64_t column) const override {
    const ColumnPlace c = place_of(columns_, column);
    const int64_t together = columns_.pairs_a_block();
    return ((c.pair / together * rows_ + row) * together + c.pair % together) * PAIR + c.half * LANES + c.lane;
  }
  void changed(int64_t first, int64_t last) override { pack_lines(value.data(), first, last, lines_.data()); }

  const bf16* lines() const { return lines_.data(); }
  int64_t rows() const { return rows_; }

 private:
  const GateColumns columns_;
  const int64_t rows_;
  Buffer<bf16> lines_;
};

// A vector over outputs, [Q * 32] in the order of the pairs of columns.
class TileVector : public Parameter {
 public:
  TileVector(const char* name, const GateColumns& columns)
      : Parameter(name, {columns.gates * columns.units}, columns.pairs_total() * PAIR, PAIR), columns_(columns) {}

  int64_t place(int64_t, int64_t column) const override {
    const ColumnPlace c = place_of(columns_, column);
    return c.pair * PAIR + c.half * LANES + c.lane;
  }

 private:
  const GateColumns columns_;
};

}  // namespace rhapsode::amx

// Activations as tiles, and the tiles of any activations.
#pragma once

#include "dense.h"
#include "layers.h"
#include "kernels.h"
#include "threads.h"

namespace rhapsode::amx {

// What an AMX layer gives: row tiles of steps of any length, turned ones where its maker has them, fp32 panels for layers of
// other kinds.
class TileActivations : public Activations {
 public:
  RowTiles tiles;
  TurnedTiles turned;
  // Whether it belongs to a residual stream in fp32, as its maker read panels: sums with it are taken in fp32.
  bool of_panels = false;

  int64_t rows() const override { return tiles.rows(); }
  int64_t columns() const override { return tiles.columns; }
  ConstPanels panels() const override {
    const int64_t width = current_kernels().width;
    panels_.reserve(rows() * round_up(columns(), width));
    const Panels view{panels_.data(), rows(), columns(), width, rows() * width};
    parallel([&](const Team& team) { to_panels(tiles, view, team.thread, team.threads); });
    return view;
  }

 private:
  mutable Buffer<float> panels_;
};

// Activations as row tiles of some shape, and as turned tiles: a copy of its own, unless they lie so already.
class TileReader {
 public:
  void read(const Activations& x, const RowTiles& shape, bool with_turned) {
    if (const auto* own = dynamic_cast<const TileActivations*>(&x)) {
      set(own->tiles, own->turned, shape, with_turned);
      if (!needed_) return;
    } else {
      from_ = {}, panels_ = x.panels();
      reserve(shape, with_turned);
    }
    parallel([&](const Team& team) { copy(team.thread, team.threads); });
  }
  // In steps as they are, or dense where that spares an eighth of the blocks or more.
  void read_packed(const Activations& x, bool with_turned) {
    const auto* own = dynamic_cast<const TileActivations*>(&x);
    read(x, own ? own->tiles.packed(7) : RowTiles{nullptr, 1, x.rows(), x.columns()}, with_turned);
  }
  // Of tiles, whose turned ones may be missing; `copy`, called by all threads, then does what is left to do.
  void set(const RowTiles& x, const TurnedTiles& x_turned, const RowTiles& shape, bool with_turned) {
    from_ = x;
    tiles = shape, tiles.data = x.data, turned = x_turned;
    needed_ = !x.lies_as(shape) || (with_turned && !turned.data);
    if (needed_) reserve(shape, with_turned);
  }
  void copy(int thread, int threads) const {
    if (needed_) arrange(from_.data ? &from_ : nullptr, &panels_, tiles, turned, thread, threads);
  }

  RowTiles tiles;
  TurnedTiles turned;

 private:
  void reserve(const RowTiles& shape, bool with_turned) {
    needed_ = true;
    tiles = shape, turned = {};
    copy_.reserve(tiles.size());
    tiles.data = copy_.data();
    if (!with_turned) return;
    turned_copy_.reserve(tiles.size() + tiles.width() * 2 * TILE);
    turned = {turned_copy_.data(), tiles.blocks() + 1};
  }

  bool needed_ = false;
  RowTiles from_;
  ConstPanels panels_{};
  Buffer<bf16> copy_, turned_copy_;
};

}  // namespace rhapsode::amx

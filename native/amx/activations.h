// Activations as tiles, and the tiles of any activations.
#pragma once

#include "dense.h"
#include "layers.h"
#include "kernels.h"
#include "threads.h"

namespace rhapsode::amx {

// What an AMX layer gives: dense row tiles, turned ones where its maker has them, fp32 panels for layers of other kinds.
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

// Activations as row tiles of T steps of B rows, and as turned tiles: a copy of its own, unless they lie so already.
class TileReader {
 public:
  // rows = T * B.
  void read(const Activations& x, int64_t T, int64_t B, bool with_turned) {
    if (const auto* own = dynamic_cast<const TileActivations*>(&x)) {
      set(own->tiles, own->turned, T, B, with_turned);
      if (!needed_) return;
    } else {
      from_ = {}, panels_ = x.panels();
      reserve(T, B, x.columns(), with_turned);
    }
    parallel([&](const Team& team) { copy(team.thread, team.threads); });
  }
  // Of tiles, whose turned ones may be missing; `copy`, called by all threads, then does what is left to do.
  void set(const RowTiles& x, const TurnedTiles& x_turned, int64_t T, int64_t B, bool with_turned) {
    from_ = x;
    tiles = {x.data, T, B, x.columns}, turned = x_turned;
    const bool lies_so = x.T == T || (x.dense() && tiles.dense());
    needed_ = !lies_so || (with_turned && !turned.data);
    if (needed_) reserve(T, B, x.columns, with_turned);
  }
  void copy(int thread, int threads) const {
    if (needed_) arrange(from_.data ? &from_ : nullptr, &panels_, tiles, turned, thread, threads);
  }

  RowTiles tiles;
  TurnedTiles turned;

 private:
  void reserve(int64_t T, int64_t B, int64_t columns, bool with_turned) {
    needed_ = true;
    tiles = {nullptr, T, B, columns}, turned = {};
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

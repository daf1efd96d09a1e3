// Activations as tiles, and the tiles of any activations.
#pragma once

#include "dense.h"
#include "layers.h"
#include "kernels.h"
#include "threads.h"

namespace rhapsode::amx {

// What an AMX layer gives: row tiles, turned ones where its maker has them, fp32 panels for layers of other kinds.
class TileActivations : public Activations {
 public:
  RowTiles tiles;
  TurnedTiles turned;
  // Whether they lie as one time step because it is not known of how many the rows are. Such are added up in fp32: the
  // result must not depend on whether there was one step by chance.
  bool flat = false;

  int64_t rows() const override { return tiles.T * tiles.B; }
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

// Activations of any kind as tiles: a copy of its own, unless they are tiles already.
class TileReader {
 public:
  // T and B as the reader sees them: rows = T * B.
  void read(const Activations& x, int64_t T, int64_t B, bool with_turned) {
    const auto* own = dynamic_cast<const TileActivations*>(&x);
    if (own && !own->tiles.lies_as(T, B)) own = nullptr;
    if (own && (own->turned.data || !with_turned)) {
      tiles = {own->tiles.data, T, B, own->tiles.columns}, turned = own->turned;
      return;
    }
    tiles = {nullptr, T, B, x.columns()};
    copy_.reserve(tiles.size());
    tiles.data = copy_.data();
    turned = {};
    if (with_turned) {
      turned_copy_.reserve(tiles.size() + tiles.width() * 2 * TILE);
      turned = {turned_copy_.data(), tiles.blocks() + 1};
    }
    const ConstPanels panels = own ? ConstPanels{} : x.panels();
    parallel([&](const Team& team) {
      arrange(own ? &own->tiles : nullptr, &panels, tiles, turned, team.thread, team.threads);
    });
  }

  RowTiles tiles;
  TurnedTiles turned;

 private:
  Buffer<bf16> copy_, turned_copy_;
};

}  // namespace rhapsode::amx

#include "plain.h"

namespace rhapsode {

Tiling tiling(const Team& team, int64_t panels, int64_t rows, int64_t step) {
  int64_t parts = panels < team.threads ? team.threads / panels : 1, others = team.threads / parts;
  if (team.thread >= parts * others) return {{0, 0}, {0, 0}};
  int64_t part = team.thread % parts, other = team.thread / parts, steps = (rows + step - 1) / step;
  Range r{steps * part / parts * step, steps * (part + 1) / parts * step};
  if (r.last > rows) r.last = rows;
  return {{panels * other / others, panels * (other + 1) / others}, r};
}

void from_rows(const float* plain, Panels to, const Team& team) {
  Range panels = team.part(to.count());
  for (int64_t p = panels.first; p < panels.last; p++) {
    int64_t first = p * to.width, n = to.columns - first < to.width ? to.columns - first : to.width;
    for (int64_t r = 0; r < to.rows; r++) {
      float* row = to.panel(p) + r * to.width;
      std::memset(row, 0, static_cast<size_t>(to.width) * sizeof(float));
      if (plain) std::memcpy(row, plain + r * to.columns + first, static_cast<size_t>(n) * sizeof(float));
    }
  }
}

void to_rows(ConstPanels from, float* plain, const Team& team) {
  Range panels = team.part(from.count());
  for (int64_t p = panels.first; p < panels.last; p++) {
    int64_t first = p * from.width, n = from.columns - first < from.width ? from.columns - first : from.width;
    for (int64_t r = 0; r < from.rows; r++)
      std::memcpy(plain + r * from.columns + first, from.panel(p) + r * from.width, static_cast<size_t>(n) * sizeof(float));
  }
}

std::vector<const float*> list(ConstPanels x) {
  std::vector<const float*> panels;
  for (int64_t p = 0; p < x.count(); p++) panels.push_back(x.panel(p));
  return panels;
}

float mask_factor(const Mask& mask, uint32_t row, int64_t column, int64_t columns) {
  uint32_t words = static_cast<uint32_t>(round_up(columns, 64) / 4);
  uint32_t v = (row * words + static_cast<uint32_t>(column / 4)) ^ mask.key;
  v ^= v >> 16;
  v *= 0x7feb352du;
  v ^= v >> 15;
  v *= 0x846ca68bu;
  v ^= v >> 16;
  int32_t byte = static_cast<int32_t>(v >> (column % 4 * 8) & 0xff);
  return byte < mask.threshold ? 0.f : mask.scale;
}

}  // namespace rhapsode

// Between plain row-major arrays and panels, and other small things every fp32 layer needs.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "layers.h"
#include "threads.h"

namespace rhapsode {

// A thread's part of a matrix: some panels, some rows.
struct Tiling {
  Range panels, rows;
  int64_t count() const { return rows.last - rows.first; }
};

// Divide the panels of a matrix, and its rows too where panels are fewer than threads; rows in multiples of `step`.
Tiling tiling(const Team& team, int64_t panels, int64_t rows, int64_t step);

// Copy a plain matrix [rows, columns] (null: zeros) into panels, or back; padding becomes zero. Each thread does a part.
void from_rows(const float* plain, Panels to, const Team& team);
void to_rows(ConstPanels from, float* plain, const Team& team);

// The panels of a matrix one by one, as products take them.
std::vector<const float*> list(ConstPanels x);

// What a mask [.., columns] multiplies its entry (row, column) with: 0 or its scale.
float mask_factor(const Mask& mask, uint32_t row, int64_t column, int64_t columns);

}  // namespace rhapsode

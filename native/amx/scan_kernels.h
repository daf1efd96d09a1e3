// The scan's kernels for one cell; each cell is compiled in a file of its own.
#pragma once

#include "scan_backward.h"
#include "scan_forward.h"

namespace rhapsode::amx {
namespace {

template <class Cell>
constexpr ScanKernels scan_kernels() {
  return {&scan_forward<Cell>, &scan_backward<Cell>, Cell::GATES,  Cell::HALVES,
          FormOf<Cell>::SAVED_LINES, Cell::CARRIES,   Cell::HISTORY, Cell::GATES + Cell::TWO_GRADIENTS, 0};
}

template <class Factor, class Gates>
constexpr ScanKernels scan_kernels() {
  return {&scan_forward<Factor, Gates>, &scan_backward<Factor, Gates>, Gates::LAYER_GATES, Gates::HALVES,
          FormOf<Gates>::SAVED_LINES,   Gates::CARRIES,                Gates::HISTORY,     Gates::LAYER_GATES + Factor::TWO_GRADIENTS,
          FormOf<Factor>::SAVED_LINES};
}

}  // namespace
}  // namespace rhapsode::amx

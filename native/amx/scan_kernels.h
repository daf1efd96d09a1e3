// The scan's kernels for one cell; each cell is compiled in a file of its own.
#pragma once

#include "scan_backward.h"
#include "scan_forward.h"

namespace rhapsode::amx {
namespace {

template <class Cell>
constexpr ScanKernels scan_kernels() {
  return {&scan_forward<Cell>, &scan_backward<Cell>, Cell::GATES,  Cell::HALVES,
          FormOf<Cell>::SAVED_LINES, Cell::CARRIES,   Cell::HISTORY, Cell::GATES + FormOf<Cell>::TWO_GRADIENTS};
}

}  // namespace
}  // namespace rhapsode::amx

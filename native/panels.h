// How fp32 matrices lie in memory.
//
// A matrix [rows, columns] is cut into column panels of `width` columns (two vector registers; kernels.h says how many):
// element (r, c) lies at data[(c / width) * stride + r * width + c % width]. The columns are padded with zeros to a
// whole number of panels; rows are not padded. Both operands of every product are read in this form, so nothing is
// re-ordered between layers: a panel of an activation is a stream of broadcasts for the next product, a panel of a
// weight is a stream of vectors, and a panel of a gradient is both.
#pragma once

#include <cstdint>

namespace rhapsode {

// Header functions that files compiled for one instruction set also use are always inlined (see README.md).
#if defined(_MSC_VER)
#define RHAPSODE_INLINE __forceinline
#else
#define RHAPSODE_INLINE inline __attribute__((always_inline))
#endif

RHAPSODE_INLINE int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

template <class T>
struct PanelsOf {
  T* data = nullptr;
  int64_t rows = 0, columns = 0;
  int64_t width = 0;   // of a panel
  int64_t stride = 0;  // elements from one panel to the next, at least rows * width

  RHAPSODE_INLINE int64_t count() const { return (columns + width - 1) / width; }
  RHAPSODE_INLINE T* panel(int64_t i) const { return data + i * stride; }
  RHAPSODE_INLINE T& at(int64_t r, int64_t c) const { return data[c / width * stride + r * width + c % width]; }
  // The same columns of rows [first, first + n).
  RHAPSODE_INLINE PanelsOf part(int64_t first, int64_t n) const { return {data + first * width, n, columns, width, stride}; }
  RHAPSODE_INLINE operator PanelsOf<const T>() const { return {data, rows, columns, width, stride}; }
};

using Panels = PanelsOf<float>;
using ConstPanels = PanelsOf<const float>;

}  // namespace rhapsode

// A parameter kept as column panels: how the fp32 layers store theirs.
#pragma once

#include "kernels.h"
#include "layers.h"

namespace rhapsode {

// How a plain matrix (rows, columns) lies in the panels. Gate columns [G * H] are re-ordered to (block of units, gate,
// unit), so that all gates of a unit are near each other and H is padded once for each gate.
enum class Order {
  natural,        // as it is
  gate_columns,   // columns are gates: table [V, G * H], bias [G * H]
  gate_rows,      // rows are gates and the matrix is transposed: weight_ih [G * H, D], weight_hh [G * H, H]
};

class PanelParameter : public Parameter {
 public:
  // `gates` is G (1 where the order is natural). With `transposed_copy` the parameter keeps its transpose, renewed in
  // changed().
  PanelParameter(std::string name, std::vector<int64_t> shape, Order order, int64_t gates, bool transposed_copy,
                 const Kernels& k)
      : Parameter(std::move(name), shape,
                  round_up(rows_of(shape, order), transposed_copy ? k.width : 1) *
                      round_up(columns_of(shape, order, gates, k.width), k.width),
                  transposed_copy ? k.width * k.width : k.width),
        order_(order), gates_(gates), units_((order == Order::gate_rows ? shape.front() : shape.back()) / gates),
        width_(k.width), rows_(rows_of(shape, order)), columns_(columns_of(shape, order, gates, k.width)),
        padded_rows_(round_up(rows_, transposed_copy ? k.width : 1)), kernels_(k) {
    if (transposed_copy) copy_.reserve(value.size());
  }

  // Panels over an array in this parameter's stored order.
  Panels view(float* stored) const { return {stored, rows_, columns_, width_, padded_rows_ * width_}; }
  Panels values() { return view(value.data()); }
  Panels gradients() { return view(gradient.data()); }
  // The transposed copy: [stored columns] rows, padded to whole panels.
  Panels transposed() {
    int64_t rows = round_up(columns_, width_);
    return {copy_.data(), rows, padded_rows_, width_, rows * width_};
  }

  int64_t place(int64_t row, int64_t column) const override {
    int64_t r = row, c = column;
    if (order_ == Order::gate_columns) c = gate_column(column);
    if (order_ == Order::gate_rows) r = column, c = gate_column(row);
    return c / width_ * padded_rows_ * width_ + r * width_ + c % width_;
  }

  void changed(int64_t first, int64_t last) override {
    if (!copy_.size()) return;
    int64_t panel_size = padded_rows_ * width_;
    for (int64_t p = first / panel_size; p * panel_size < last; p++) {
      int64_t from = p * panel_size, low = first > from ? first - from : 0;
      int64_t high = last - from < panel_size ? last - from : panel_size;
      kernels_.transpose(view(value.data()), transposed(), p, {low / width_, high / width_});
    }
  }

 private:
  static int64_t columns_of(const std::vector<int64_t>& shape, Order order, int64_t gates, int64_t width) {
    if (order == Order::natural) return shape.back();
    int64_t gate_columns = order == Order::gate_columns ? shape.back() : shape.front();
    return round_up(gate_columns / gates, width) * gates;
  }
  static int64_t rows_of(const std::vector<int64_t>& shape, Order order) {
    return order == Order::gate_rows ? shape.back() : shape.size() > 1 ? shape.front() : 1;
  }

  int64_t gate_column(int64_t c) const {
    int64_t gate = c / units_, unit = c % units_;
    return (unit / width_ * gates_ + gate) * width_ + unit % width_;
  }

  Order order_;
  int64_t gates_, units_, width_, rows_, columns_, padded_rows_;
  const Kernels& kernels_;
  Buffer<float> copy_;
};

}  // namespace rhapsode

// The products of the AMX path by themselves, in double precision, at awkward sizes. The operands are small multiples of
// an eighth, so that every sum is exact and nothing but the results' own rounding may differ.
#include <algorithm>

#include "check.h"

#if defined(RHAPSODE_HAS_AMX)
#include "amx/parameters.h"
#include "plain.h"
#endif

namespace rhapsode {

#if defined(RHAPSODE_HAS_AMX)
namespace {

using namespace amx;

struct Shape {
  int64_t T, B, D, N;
};

float eighths() { return static_cast<float>(static_cast<int>(random_source()() % 17) - 8) / 8; }

Matrix eighths_matrix(int64_t rows, int64_t columns) {
  Matrix m(rows, columns, current_kernels().width, false);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) m.panels.at(r, c) = eighths();
  return m;
}

// A matrix [T * B, columns] in every form that a product reads.
struct Operand {
  Operand(const Matrix& plain, int64_t T, int64_t B, int threads)
      : row_data(RowTiles{nullptr, T, B, plain.panels.columns}.size()), turned_data(2 * row_data.size()),
        token_data(2 * row_data.size()) {
    rows = {row_data.data(), T, B, plain.panels.columns};
    turned = {turned_data.data(), rows.blocks() + 1};
    const ConstPanels panels = plain.panels;
    for (int i = 0; i < threads; i++) arrange(nullptr, &panels, rows, turned, i, threads);
    for (int i = 0; i < threads; i++) arrange_tokens(rows, token_data.data(), turned.pitch, i, threads);
  }
  TokenTiles tokens() const { return {token_data.data(), turned.pitch, rows.width(), 0}; }

  Buffer<bf16> row_data, turned_data, token_data;
  RowTiles rows;
  TurnedTiles turned;
};

// x times weights, whatever their side, against sum(r, c).
template <class Sum>
void check_rows(const RowTiles& x, const bf16* weights, int64_t columns, int threads, const std::string& what, Sum sum) {
  Buffer<bf16> data(RowTiles{nullptr, x.T, x.B, columns}.size());
  const RowTiles to{data.data(), x.T, x.B, columns};
  for (int i = 0; i < threads; i++) multiply_rows(x, weights, to, i, threads);
  Matrix found(x.T * x.B, columns, current_kernels().width, false);
  to_panels(to, found.panels, 0, 1);
  bool right = true;
  for (int64_t r = 0; r < x.T * x.B; r++)
    for (int64_t c = 0; c < columns; c++) {
      const double expected = sum(r, c);
      right = right && std::abs(found.panels.at(r, c) - expected) <= std::abs(expected) / 256;
    }
  check(right, what);
}

void products(const Shape& s, int threads) {
  const std::string what = "amx product " + std::to_string(s.T) + " " + std::to_string(s.B) + " " + std::to_string(s.D) + " " +
                           std::to_string(s.N) + ", " + std::to_string(threads) + " threads: ";
  const int64_t rows = s.T * s.B, symbols = 3;
  const Matrix x = eighths_matrix(rows, s.D), d = eighths_matrix(rows, s.N), w = eighths_matrix(s.N, s.D);
  const GateColumns columns{1, 2, s.N};
  TileMatrix weight("weight", columns, s.D);
  TileTable table("table", symbols, columns);
  std::vector<float> plain;
  for (int64_t n = 0; n < s.N; n++)
    for (int64_t k = 0; k < s.D; k++) plain.push_back(w.panels.at(n, k));
  weight.set_value(plain.data());
  const Operand left(x, s.T, s.B, threads), right(d, s.T, s.B, threads);

  check_rows(left.rows, weight.forward(), s.N, threads, what + "x Wt", [&](int64_t r, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < s.D; k++) sum += double(x.panels.at(r, k)) * w.panels.at(n, k);
    return sum;
  });
  check_rows(right.rows, weight.backward(), s.D, threads, what + "d W", [&](int64_t r, int64_t k) {
    double sum = 0;
    for (int64_t n = 0; n < s.N; n++) sum += double(d.panels.at(r, n)) * w.panels.at(n, k);
    return sum;
  });

  // Twice: overwritten, then added to. The rows' symbols take turns.
  std::vector<int32_t> lines(static_cast<size_t>(left.rows.blocks() * PAIR), static_cast<int32_t>(symbols));
  for (int64_t r = 0; r < rows; r++) lines[size_t(r / s.B * pairs(s.B) * PAIR + r % s.B)] = static_cast<int32_t>(r % symbols);
  for (bool accumulate : {false, true}) {
    const RowSums sums{right.tokens(), right.rows, columns, table.rows(), lines.data(), nullptr, table.gradient.data(), accumulate};
    const WeightGradient gradient{left.turned, right.tokens(), left.rows.blocks(), weight.P(), weight.Q(),
                                  weight.gradient.data(), accumulate, Kept{}, columns, &sums};
    for (int i = 0; i < threads; i++) weight_gradient(gradient, i, threads);
  }
  bool same = true, sums_same = true;
  double stored = 0, expected = 0;
  for (int64_t n = 0; n < s.N; n++) {
    double by_symbol[symbols] = {};
    for (int64_t r = 0; r < rows; r++) by_symbol[r % symbols] += 2 * d.panels.at(r, n);
    for (int64_t v = 0; v < symbols; v++) sums_same = sums_same && table.gradient[table.place(v, n)] == by_symbol[v];
    for (int64_t k = 0; k < s.D; k++) {
      double sum = 0;
      for (int64_t r = 0; r < rows; r++) sum += 2 * double(x.panels.at(r, k)) * d.panels.at(r, n);
      same = same && weight.gradient[weight.place(n, k)] == sum;
      expected += std::abs(sum);
    }
  }
  for (int64_t i = 0; i < weight.gradient.size(); i++) stored += std::abs(double(weight.gradient[i]));
  check(same, what + "xt d");
  check(stored == expected, what + "padding of xt d is not zero");
  check(sums_same, what + "sums of rows by symbol");
}

bool same_bits(const Buffer<bf16>& a, const Buffer<bf16>& b) { return std::equal(a.data(), a.data() + a.size(), b.data()); }

// Steps of B rows and all rows one behind the other: from either to the other. The tokens only become dense.
void packing(int64_t T, int64_t B, int64_t columns, int threads) {
  const std::string what = "amx packing " + std::to_string(T) + " " + std::to_string(B) + " " + std::to_string(columns) + ": ";
  const Matrix x = eighths_matrix(T * B, columns);
  const Operand steps(x, T, B, threads), dense(x, 1, T * B, threads);
  for (const Operand* to : {&dense, &steps}) {
    const RowTiles& from = to == &dense ? steps.rows : dense.rows;
    Operand found(eighths_matrix(T * B, columns), to->rows.T, to->rows.B, 1);
    for (int i = 0; i < threads; i++) arrange(&from, nullptr, found.rows, found.turned, i, threads);
    check(same_bits(found.row_data, to->row_data), what + "row tiles");
    check(same_bits(found.turned_data, to->turned_data), what + "turned tiles");
    if (to == &steps) continue;
    const TokenSteps tokens{steps.token_data.data(), steps.turned.pitch, steps.rows.width(), T, B};
    for (int i = 0; i < threads; i++) pack_tokens(tokens, found.token_data.data(), found.turned.pitch, i, threads);
    check(same_bits(found.token_data, dense.token_data), what + "token tiles");
  }
}

// Drawn bits are those of rhapsode.nn.masks, whoever draws them.
void drawn(int64_t rows, int64_t columns, const Mask& mask, int threads) {
  DrawnMask own;
  own.set(mask, rows, columns);
  for (int i = 0; i < threads; i++) own.draw(i, threads);
  bool same = true;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) {
      const bool kept = own.kept().at(r, c / LANES) >> (c % LANES) & 1;
      same = same && kept == (mask_factor(mask, mask.row(r), c, columns) != 0);
    }
  check(same, "amx mask " + std::to_string(rows) + " " + std::to_string(columns));
}

}  // namespace

void test_amx() {
  if (available_isas().back() != Isa::amx) return;
  use_isa("amx");
  const Shape shapes[] = {{1, 1, 1, 1}, {5, 1, 37, 7}, {3, 33, 100, 40}, {2, 17, 544, 70}, {70, 3, 33, 300}, {1, 40, 600, 2}};
  for (int threads : {1, 3})
    for (const Shape& shape : shapes) products(shape, threads);
  for (int threads : {1, 3})
    for (int64_t B : {1, 5, 8, 32, 33})
      for (int64_t T : {1, 9, 70}) packing(T, B, 37, threads);
  drawn(1, 1, {5, 128, 2, 1, 1, 0}, 1);
  drawn(70, 67, {77, 60, 1.3f, 5, 9, 2}, 3);     // part of a batch, anew each step
  drawn(96, 512, {0x80000000u, 255, 256, 32, 0, 0}, 2);  // one mask a sequence
}
#else
void test_amx() {}
#endif

}  // namespace rhapsode

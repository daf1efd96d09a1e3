// Every kernel of every instruction set against its reference, at awkward sizes.
#include <array>

#include "check.h"
#include "kernels.h"
#include "panel_parameter.h"
#include "plain.h"
#include "reference.h"
#include "threads.h"

namespace rhapsode {
namespace {

void products(const std::string& isa) {
  const Kernels& k = current_kernels();
  for (int64_t rows : {1, 7, 63, 520})
    for (int64_t K : {1, 37, 100, 300})
      for (int64_t N : {1, 37, 100}) {
        std::string size = isa + std::to_string(rows) + " " + std::to_string(K) + " " + std::to_string(N);
        Matrix a(rows, K, k.width), b(K, N, k.width), bias(1, N, k.width), c(rows, N, k.width), wide(rows, N, k.width);
        Range all{0, c.panels.count()};
        for (bool accumulate : {false, true}) {
          Matrix expected = copy_of(c);
          reference::product(a.panels, b.panels, nullptr, accumulate, expected.panels);
          k.product(a.panels, b.panels, nullptr, accumulate, c.panels, all);
          check_equal(c, expected, 1e-4, size + " product");
        }
        Matrix expected = copy_of(c);
        reference::product(a.panels, b.panels, bias.buffer.data(), false, expected.panels);
        k.product(a.panels, b.panels, bias.buffer.data(), false, c.panels, all);
        check_equal(c, expected, 1e-4, size + " product with bias");
        Matrix t(K, N, k.width);
        for (bool accumulate : {false, true}) {
          Matrix expected_t = copy_of(t);
          reference::product_tn(a.panels, wide.panels, accumulate, expected_t.panels);
          k.product_tn(a.panels, wide.list().data(), accumulate, t.panels, all, {0, K});
          check_equal(t, expected_t, 1e-3, size + " transposed product");
        }
      }
}

// Runs a layer's kernels on what the reference holds, and compares all that comes out.
void sequence(const std::string& isa, CellKind cell, int64_t T, int64_t B, int64_t H, int row_parts) {
  const Kernels& k = current_kernels();
  reference::Recurrence r(cell, T, B, H);
  for (auto* v : {&r.x, &r.bias_hn, &r.d_output, &r.dh, &r.dc}) for (double& e : *v) e = random_float();
  for (double& e : r.weight) e = random_float() / std::sqrt(float(H));
  for (int64_t i = 0; i < B * H; i++) r.h[size_t(i)] = random_float(), r.c[size_t(i)] = random_float();

  PanelParameter weight("weight", {r.G * H, H}, Order::gate_rows, r.G, true, k);
  PanelParameter columns("x", {T * B, r.G * H}, Order::gate_columns, r.G, false, k);
  auto floats = [](const std::vector<double>& v) { return std::vector<float>(v.begin(), v.end()); };
  weight.set_value(floats(r.weight).data()), columns.set_value(floats(r.x).data());
  int64_t blocks = round_up(H, k.width) / k.width;
  Matrix h((T + 1) * B, H, k.width), c((T + 1) * B, H, k.width), extra(T * B, H, k.width), d_output(T * B, H, k.width);
  Matrix dh(B, H, k.width), dc(B, H, k.width), bias(1, H, k.width), m(T * B, H, k.width), dm(B, H, k.width);
  for (int64_t u = 0; u < H; u++) {
    bias.panels.at(0, u) = float(r.bias_hn[size_t(u)]);
    for (int64_t b = 0; b < B; b++) {
      size_t i = size_t(b * H + u);
      h.panels.at(b, u) = float(r.h[i]), c.panels.at(b, u) = float(r.c[i]);
      dh.panels.at(b, u) = float(r.dh[i]), dc.panels.at(b, u) = float(r.dc[i]);
    }
    for (int64_t row = 0; row < T * B; row++) d_output.panels.at(row, u) = float(r.d_output[size_t(row * H + u)]);
  }
  Buffer<float> scratch(thread_count() * k.scratch_per_thread);
  const bool inside = cell == CellKind::gru || cell == CellKind::mlstm;  // the last gate's product is multiplied
  std::vector<const float*> h_list = h.list(), m_list = m.list(), gradients;
  for (int64_t u = 0; u < blocks; u++)
    for (int64_t g = 0; g < r.G; g++)
      gradients.push_back(inside && g == r.G - 1 ? extra.panels.panel(u) : columns.values().panel(u * r.G + g));
  Sequence s{};
  s.T = T, s.B = B, s.blocks = blocks;
  s.weight = weight.value.data(), s.weight_t = weight.transposed().data, s.bias = bias.buffer.data();
  s.gates = columns.values(), s.extra = extra.panels, s.h = h.panels, s.c = c.panels, s.m = m.panels;
  s.h_panels = h_list.data(), s.m_panels = m_list.data(), s.gradient_panels = gradients.data();
  s.d_output = d_output.panels, s.dh = dh.panels, s.dc = dc.panels, s.dm = dm.panels, s.with_state = true;
  s.scratch = scratch.data(), s.row_parts = row_parts;

  int kind = static_cast<int>(cell);
  r.forward();
  parallel([&](const Team& team) { k.forward[kind](s, team); });
  std::string what = isa + "cell " + std::to_string(kind) + " H=" + std::to_string(H) + " B=" + std::to_string(B);
  auto compare = [&](const std::vector<double>& expected, auto found, int64_t rows, int64_t n, const char* name) {
    double worst = 0;
    for (int64_t row = 0; row < rows; row++)
      for (int64_t i = 0; i < n; i++) {
        double e = expected[size_t(row * n + i)], f = found(row, i);
        worst = std::isfinite(f) ? std::max(worst, std::abs(f - e) / (1 + std::abs(e))) : INFINITY;
      }
    check(worst < 1e-4, what + " " + name + ": off by " + std::to_string(worst));
  };
  compare(r.h, [&](int64_t row, int64_t u) { return h.panels.at(row, u); }, (T + 1) * B, H, "h");
  r.backward();
  parallel([&](const Team& team) { k.backward[kind](s, team); });
  compare(r.d_x, [&](int64_t row, int64_t n) { return columns.value[columns.place(row, n)]; }, T * B, r.G * H, "gates' gradient");
  compare(r.dh, [&](int64_t b, int64_t u) { return dh.panels.at(b, u); }, B, H, "gradient of h");
  if (cell == CellKind::lstm || cell == CellKind::mlstm)
    compare(r.dc, [&](int64_t b, int64_t u) { return dc.panels.at(b, u); }, B, H, "gradient of c");
}

// A sequence of the mogrifier in plain arrays; its gradient is of the outputs and the last state, each times a number.
struct Mogrified {
  int64_t T, B, H;
  std::vector<double> weight, bias, x, h, c, d_output, dh, dc, output;

  Mogrified(int64_t T, int64_t B, int64_t H) : T(T), B(B), H(H) {
    auto fill = [](std::vector<double>& v, int64_t n, double scale) {
      for (int64_t i = 0; i < n; i++) v.push_back(scale * random_float());
    };
    fill(weight, mogrifier::MATRICES * H * H, 1 / std::sqrt(double(H))), fill(bias, 4 * H, 1), fill(x, T * B * H, 1);
    fill(h, B * H, 1), fill(c, B * H, 1), fill(d_output, T * B * H, 1), fill(dh, B * H, 1), fill(dc, B * H, 1);
  }

  double run() {
    std::vector<double> last_h = h, last_c = c;
    double value = 0;
    output.clear();
    for (int64_t t = 0; t < T; t++)
      for (int64_t b = 0; b < B; b++) {
        std::vector<double> read(x.begin() + (t * B + b) * H, x.begin() + (t * B + b + 1) * H);
        reference::mogrifier_step(H, weight, bias, read, &last_h[size_t(b * H)], &last_c[size_t(b * H)]);
        output.insert(output.end(), last_h.begin() + b * H, last_h.begin() + (b + 1) * H);
      }
    for (size_t i = 0; i < output.size(); i++) value += d_output[i] * output[i];
    for (size_t i = 0; i < last_h.size(); i++) value += dh[i] * last_h[i] + dc[i] * last_c[i];
    return value;
  }
  double derivative(double& of) {
    constexpr double STEP = 1e-5;
    double here = of, above = (of = here + STEP, run()), below = (of = here - STEP, run());
    of = here;
    return (above - below) / (2 * STEP);
  }
};

void mogrifier_sequence(const std::string& isa, int64_t T, int64_t B, int64_t H, int row_parts) {
  const Kernels& k = current_kernels();
  Mogrified r(T, B, H);
  auto floats = [](const std::vector<double>& v) { return std::vector<float>(v.begin(), v.end()); };
  PanelParameter weight("weight", {mogrifier::MATRICES * H, H}, Order::gate_rows, mogrifier::MATRICES, true, k);
  PanelParameter bias("bias", {4 * H}, Order::gate_columns, 4, false, k);
  weight.set_value(floats(r.weight).data()), bias.set_value(floats(r.bias).data());
  auto fill = [&](const std::vector<double>& from, Matrix& to) {
    for (size_t i = 0; i < from.size(); i++) to.panels.at(int64_t(i) / H, int64_t(i) % H) = float(from[i]);
  };
  const int64_t blocks = round_up(H, k.width) / k.width;
  Matrix x(T * B, H, k.width), h((T + 1) * B, H, k.width), c((T + 1) * B, H, k.width), d_output(T * B, H, k.width);
  Matrix dh(B, H, k.width), dc(B, H, k.width), dm(B, H, k.width);
  Matrix m(T * B, mogrifier::ROUNDS * blocks * k.width, k.width), kept(T * B, mogrifier::KEPT * blocks * k.width, k.width);
  fill(r.x, x), fill(r.h, h), fill(r.c, c), fill(r.d_output, d_output), fill(r.dh, dh), fill(r.dc, dc);
  Buffer<float> scratch(thread_count() * k.scratch_per_thread);
  std::vector<const float*> h_list = h.list(), m_list = m.list(), gradients;
  for (int64_t u = 0; u < blocks; u++)
    for (int64_t i = 0; i < mogrifier::MATRICES; i++)
      gradients.push_back(kept.panels.panel(u * mogrifier::KEPT + (i < mogrifier::FIRST_ROUND ? i % 4 : i - 4)));
  Sequence s{};
  s.T = T, s.B = B, s.blocks = blocks;
  s.weight = weight.value.data(), s.weight_t = weight.transposed().data, s.bias = bias.value.data();
  s.gates = kept.panels, s.x = x.panels, s.h = h.panels, s.c = c.panels, s.m = m.panels, s.dm = dm.panels;
  s.h_panels = h_list.data(), s.m_panels = m_list.data(), s.gradient_panels = gradients.data();
  s.d_output = d_output.panels, s.dh = dh.panels, s.dc = dc.panels, s.with_state = true;
  s.scratch = scratch.data(), s.row_parts = row_parts;

  const int kind = static_cast<int>(CellKind::mogrifier);
  const std::string what = isa + "mogrifier H=" + std::to_string(H) + " B=" + std::to_string(B) + " ";
  parallel([&](const Team& team) { k.forward[kind](s, team); });
  r.run();
  const std::vector<double> output = r.output;
  for (int64_t i = 0; i < T * B * H; i++)
    check(near(h.panels.at(B + i / H, i % H), output[size_t(i)], 1e-4), what + "h");
  parallel([&](const Team& team) { k.backward[kind](s, team); });
  auto compare = [&](std::vector<double>& of, const Matrix& found, const char* name) {
    for (size_t i = 0; i < of.size(); i += 1 + of.size() / 40)
      check(near(found.panels.at(int64_t(i) / H, int64_t(i) % H), r.derivative(of[i]), 3e-4), what + name);
  };
  compare(r.x, x, "gradient of x"), compare(r.h, dh, "gradient of h"), compare(r.c, dc, "gradient of c");
}

void sequences(const std::string& isa) {
  for (int threads : {1, 3}) {
    use_threads(threads);
    for (CellKind cell : {CellKind::rnn_tanh, CellKind::rnn_relu, CellKind::gru, CellKind::lstm, CellKind::mlstm})
      for (int64_t H : {1, 37, 100})
        for (int64_t B : {1, 9}) {
          sequence(isa, cell, 5, B, H, 1);
          if (B >= threads) sequence(isa, cell, 2, B, H, threads);
        }
    for (int64_t H : {1, 37, 70})
      for (int64_t B : {1, 4}) {
        mogrifier_sequence(isa, 3, B, H, 1);
        if (B >= threads) mogrifier_sequence(isa, 3, B, H, threads);
      }
  }
}

// One unit of one sequence over time, and what its gradient is of: the outputs and the last state, each times a number.
struct Chain {
  CellKind cell;
  std::vector<std::array<double, 4>> a;
  std::array<double, 2> v;
  double start, d_last;
  std::vector<double> d_output, output;
  double last = 0;

  double run() {
    double state = start, value = 0;
    output.clear();
    for (size_t t = 0; t < a.size(); t++) {
      output.push_back(reference::elementwise_step(cell, a[t].data(), v.data(), state));
      value += d_output[t] * output[t];
    }
    last = state;
    return value + d_last * state;
  }
  // By a number of this chain: the slope between two points nearby.
  double slope(double& x) {
    const double before = x, step = 1e-5;
    x = before + step;
    const double up = run();
    x = before - step;
    const double down = run();
    x = before;
    return (up - down) / (2 * step);
  }
};

// A layer's kernels against chains of single units; the gates come from a table, row t * B + b of it, or are given.
void elementwise(const std::string& isa, CellKind cell, int64_t T, int64_t B, int64_t H, bool table) {
  const Kernels& k = current_kernels();
  const ElementwiseKernels& e = k.elementwise[static_cast<int>(cell) - MATRIX_CELLS];
  const int64_t G = e.gates, blocks = round_up(H, k.width) / k.width;
  PanelParameter given("given", {T * B, G * H}, Order::gate_columns, G, false, k);
  PanelParameter gates("gates", {T * B, G * H}, Order::gate_columns, G, false, k);
  std::vector<float> plain(size_t(T * B * G * H));
  for (float& x : plain) x = 2 * random_float();
  given.set_value(plain.data());
  if (!table) gates.set_value(plain.data());
  Matrix state((T + 1) * B, H, k.width), output(T * B, H, k.width), d_output(T * B, H, k.width), d_state(B, H, k.width);
  Matrix own(2, H, k.width);
  Buffer<float> vectors[2] = {Buffer<float>(blocks * k.width), Buffer<float>(blocks * k.width)}, d_own(2 * blocks * k.width);
  for (int i = 0; i < 2; i++) for (int64_t u = 0; u < H; u++) vectors[i][u] = own.panels.at(i, u);
  const float* list[2] = {vectors[0].data(), vectors[1].data()};
  std::vector<int32_t> ids(size_t(T * B));
  std::vector<float> factors(ids.size(), 0.75f);
  for (size_t r = 0; r < ids.size(); r++) ids[r] = int32_t(r);
  const Matrix first = copy_of(d_state), start = copy_of(state);

  Elementwise s{};
  s.T = T, s.B = B, s.H = H, s.vectors = list;
  if (table) s.ids = ids.data(), s.table = given.values(), s.factors = factors.data();
  s.gates = gates.values(), s.state = state.panels;
  s.output = e.own_output ? output.panels : state.panels.part(B, T * B);
  s.d_output = d_output.panels, s.d_state = d_state.panels, s.d_vectors = d_own.data();
  e.forward(s, {0, blocks}, {0, B});
  Matrix found(T * B, H, k.width);
  for (int64_t r = 0; r < T * B; r++) for (int64_t u = 0; u < H; u++) found.panels.at(r, u) = s.output.at(r, u);
  e.backward(s, {0, blocks}, {0, B});

  double worst = 0;
  auto compare = [&](double x, double expected) {
    worst = std::isfinite(x) ? std::max(worst, std::abs(x - expected) / (1 + std::abs(expected))) : INFINITY;
  };
  for (int64_t u = 0; u < H; u++) {
    double d_v[2] = {0, 0};
    for (int64_t b = 0; b < B; b++) {
      Chain chain{cell, {}, {own.panels.at(0, u), own.panels.at(1, u)}, start.panels.at(b, u), first.panels.at(b, u), {}, {}};
      for (int64_t t = 0; t < T; t++) {
        chain.a.push_back({});
        for (int64_t g = 0; g < G; g++)
          chain.a.back()[size_t(g)] = double(plain[size_t((t * B + b) * G * H + g * H + u)]) * (table ? 0.75 : 1);
        chain.d_output.push_back(d_output.panels.at(t * B + b, u));
      }
      for (int i = 0; i < e.vectors; i++) d_v[i] += chain.slope(chain.v[size_t(i)]);
      compare(d_state.panels.at(b, u), chain.slope(chain.start));
      for (int64_t t = 0; t < T; t++)
        for (int64_t g = 0; g < G; g++)
          compare(gates.value[gates.place(t * B + b, g * H + u)], chain.slope(chain.a[size_t(t)][size_t(g)]));
      chain.run();
      for (int64_t t = 0; t < T; t++) compare(found.panels.at(t * B + b, u), chain.output[size_t(t)]);
      compare(state.panels.at(T * B + b, u), chain.last);
    }
    for (int i = 0; i < e.vectors; i++) compare(d_own[i * blocks * k.width + u], d_v[i]);
  }
  check(worst < 2e-4, isa + "element-wise cell " + std::to_string(static_cast<int>(cell)) + " H=" + std::to_string(H) +
                          ": off by " + std::to_string(worst));
  for (int64_t u = H; u < blocks * k.width; u++)
    for (int64_t r = 0; r < T * B; r++) check(s.output.panel(u / k.width)[r * k.width + u % k.width] == 0, isa + "padding is zero");
}

void elementwise_cells(const std::string& isa) {
  for (CellKind cell : {CellKind::mingru, CellKind::minlstm, CellKind::sru, CellKind::rglru})
    for (int64_t H : {1, 37})
      for (bool table : {false, true}) elementwise(isa, cell, 5, 3, H, table);
}

void masks(const std::string& isa) {
  const Kernels& k = current_kernels();
  for (int64_t columns : {1, 37, 64, 100}) {
    Matrix x(12, columns, k.width), out(12, columns, k.width, false), expected(12, columns, k.width, false);
    Mask mask{0x12345678u, 77, 1.5f, 3, 5, 1};
    reference::drop(x.panels, mask, 6, expected.panels);
    k.drop(x.panels, mask, 6, out.panels, {0, 12});
    check_equal(out, expected, 0, isa + "dropout");
  }
}

void norms(const std::string& isa) {
  const Kernels& k = current_kernels();
  for (int64_t columns : {1, 37, 100}) {
    Matrix x(9, columns, k.width), weight(1, columns, k.width), bias(1, columns, k.width);
    Matrix out(9, columns, k.width, false), expected(9, columns, k.width, false);
    Buffer<float> statistics(18);
    for (const float* b : {static_cast<const float*>(nullptr), static_cast<const float*>(bias.buffer.data())}) {
      reference::norm(x.panels, weight.buffer.data(), b, 1e-5f, expected.panels);
      k.norm(x.panels, weight.buffer.data(), b, 1e-5f, out.panels, statistics.data(), {0, 9});
      check_equal(out, expected, 1e-4, isa + "norm of " + std::to_string(columns));
    }
  }
}

void convolutions(const std::string& isa) {
  const Kernels& k = current_kernels();
  for (int64_t taps : {2, 3, 4, 5, 9, 64})
    for (int64_t T : {1, 3, 12})
      for (int64_t D : {1, 37, 100}) {
        constexpr int64_t B = 3;
        const std::string what = isa + "convolution of " + std::to_string(taps) + " over " + std::to_string(T) + " ";
        Matrix x(T * B, D, k.width), past((taps - 1) * B, D, k.width), weight(taps, D, k.width), bias(1, D, k.width);
        Matrix out(T * B, D, k.width, false), expected(T * B, D, k.width, false), d_out(T * B, D, k.width);
        const ShortConvolution c{T, B, taps, past.panels, x.panels, weight.panels, bias.buffer.data()};
        const Range all{0, out.panels.count()};
        reference::convolve(c, past.panels, x.panels, expected.panels);
        k.convolve(c, out.panels, all, {0, T});
        check_equal(out, expected, 1e-5, what);
        Matrix d_after((taps - 1) * B, D, k.width), d_x(T * B, D, k.width, false), d_past((taps - 1) * B, D, k.width, false);
        Matrix d_weight(taps, D, k.width), due_weight = copy_of(d_weight);
        Matrix due_x(T * B, D, k.width, false), due_past((taps - 1) * B, D, k.width, false);
        for (int64_t i = 0; i < taps - 1; i++)
          for (int64_t b = 0; b < B; b++)
            for (int64_t n = 0; n < D; n++)
              reference::read_at(c, T + i, b, n, due_past.panels, due_x.panels) = d_after.panels.at(i * B + b, n);
        reference::convolve_backward(c, past.panels, x.panels, d_out.panels, due_past.panels, due_x.panels, due_weight.panels);
        k.convolve_backward(c, d_out.panels, d_after.panels, d_past.panels, d_x.panels, all, {0, T + taps - 1});
        check_equal(d_x, due_x, 1e-5, what + "gradient of what was read");
        check_equal(d_past, due_past, 1e-5, what + "gradient of the state");
        k.convolve_parameters(c, d_out.panels, true, d_weight.panels, all);
        check_equal(d_weight, due_weight, 1e-5, what + "gradient of the weights");
      }
}

void gates(const std::string& isa) {
  const Kernels& k = current_kernels();
  for (int64_t M : {1, 37, 100}) {
    Matrix inner(5, M, k.width, false), expected(5, M, k.width, false), d(5, M, k.width);
    Matrix a(5, 2 * inner.panels.count() * k.width, k.width), due = copy_of(a);
    for (int64_t r = 0; r < 5; r++)
      for (int64_t u = 0; u < inner.panels.count() * k.width; u++) {
        float &gate = due.panels.at(r, u / k.width * 2 * k.width + u % k.width);
        float &up = due.panels.at(r, (u / k.width * 2 + 1) * k.width + u % k.width);
        if (u >= M) gate = up = 0;
        else gate *= 3;
        a.panels.at(r, u / k.width * 2 * k.width + u % k.width) = gate;
        a.panels.at(r, (u / k.width * 2 + 1) * k.width + u % k.width) = up;
        if (u >= M) continue;
        const reference::Gelu gelu(gate);
        expected.panels.at(r, u) = static_cast<float>(gelu.value * up);
        gate = static_cast<float>(d.panels.at(r, u) * up * gelu.derivative);
        up = static_cast<float>(d.panels.at(r, u) * gelu.value);
      }
    k.gate(a.panels, inner.panels, {0, 5});
    check_equal(inner, expected, 1e-5, isa + "gated units");
    k.gate_backward(a.panels, d.panels, {0, 5});
    check_equal(a, due, 1e-5, isa + "gradient of gated units");
  }
}

void softmaxes(const std::string& isa) {
  const Kernels& k = current_kernels();
  for (int64_t V : {2, 16, 37, 1000}) {
    Matrix logits(6, V, k.width);
    for (int64_t r = 0; r < 6; r++) logits.panels.at(r, 0) += float(r * 30 - 60);
    for (int64_t c = 0; c < V; c++) logits.panels.at(5, c) -= 500;  // nothing that a row shares may matter
    Matrix expected = copy_of(logits);
    int32_t targets[6];
    float factors[6], nats[6], expected_nats[6];
    for (int r = 0; r < 6; r++) targets[r] = int32_t(r * (V - 1) / 5), factors[r] = random_float();
    reference::softmax(expected.panels, targets, factors, expected_nats);
    k.softmax(logits.panels, targets, nullptr, nats, {0, 6});
    for (int r = 0; r < 6; r++) check(near(nats[r], expected_nats[r], 1e-5), isa + "nats");
    k.softmax(logits.panels, targets, factors, nats, {0, 6});
    for (int r = 0; r < 6; r++) check(near(nats[r], expected_nats[r], 1e-5), isa + "nats in training");
    check_equal(logits, expected, 1e-5, isa + "softmax gradient");
  }
}

void optimisers(const std::string& isa) {
  const Kernels& k = current_kernels();
  constexpr int64_t N = 96;
  for (int method = 0; method < METHODS; method++)
    for (bool clipped : {false, true}) {
      Buffer<float> one(5 * N), two(5 * N);
      for (int64_t i = 0; i < 5 * N; i++) one[i] = two[i] = i < 2 * N ? random_float() : std::abs(random_float());
      auto over = [&](Buffer<float>& b) {
        Update u{};
        u.size = N, u.value = b.data(), u.gradient = b.data() + N, u.slot0 = b.data() + 2 * N;
        u.slot1 = b.data() + 3 * N, u.average = b.data() + 4 * N;
        u.clip_value = clipped ? 0.5f : 0.f, u.gradient_scale = 0.7f, u.lr = 0.01f, u.decay = 0.1f, u.momentum = 0.9f;
        u.beta1 = 0.8f, u.beta2 = 0.95f, u.eps = 1e-6f, u.nesterov = clipped, u.correction1 = 0.3f, u.correction2 = 0.2f;
        u.averaging = 0.9f;
        return u;
      };
      Update u = over(two);
      for (int64_t i = 0; i < N; i++) reference::update(static_cast<MethodIndex>(method), u, i);
      k.update[method](over(one));
      double worst = 0;
      for (int64_t i = 0; i < 5 * N; i++) worst = std::max(worst, double(std::abs(one[i] - two[i])) / (1 + std::abs(two[i])));
      check(worst < 1e-5, isa + "optimiser " + std::to_string(method) + ": off by " + std::to_string(worst));
    }
}

}  // namespace

void test_kernels() {
  int threads = thread_count();
  on_every_isa([](const std::string& isa) {
    products(isa), sequences(isa), elementwise_cells(isa), masks(isa), norms(isa), convolutions(isa), gates(isa);
    softmaxes(isa), optimisers(isa);
  });
  use_threads(threads);
}

}  // namespace rhapsode

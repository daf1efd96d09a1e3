// The bf16 layers against the references, in double precision, at awkward sizes: products, the recurrence forward and
// backward, output with softmax, packed copies. The operands are rounded to 8 bits, which whole arrays feel by 1 %.
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "layers.h"
#include "optimizer.h"
#include "reference.h"
#include "threads.h"

namespace rhapsode {
namespace {

using Doubles = std::vector<double>;

Doubles random_doubles(int64_t n, double scale) {
  Doubles out(static_cast<size_t>(n));
  for (double& x : out) x = scale * random_float();
  return out;
}

std::vector<float> floats(const Doubles& v) { return {v.begin(), v.end()}; }

// c [M, N] += aᵀ b of a [K, M], b [K, N].
void add_product_tn(const Doubles& a, const Doubles& b, int64_t K, int64_t M, int64_t N, Doubles& c) {
  for (int64_t k = 0; k < K; k++)
    for (int64_t m = 0; m < M; m++)
      for (int64_t n = 0; n < N; n++) c[size_t(m * N + n)] += a[size_t(k * M + m)] * b[size_t(k * N + n)];
}

Doubles transposed(const Doubles& a, int64_t rows, int64_t columns) {
  Doubles out(a.size());
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) out[size_t(c * rows + r)] = a[size_t(r * columns + c)];
  return out;
}

// a [M, K] times b [K, N].
Doubles product(const Doubles& a, const Doubles& b, int64_t M, int64_t K, int64_t N) {
  Doubles c(static_cast<size_t>(M * N));
  add_product_tn(transposed(a, M, K), b, K, M, N, c);
  return c;
}

double squares(const Doubles& v) {
  double sum = 0;
  for (double x : v) sum += x * x;
  return sum;
}

// The norm of the difference, as a part of the norm of what is expected, or of the terms that it is a sum of (which may nearly
// cancel out by chance), is below the tolerance.
template <class Found>
void check_norm(const Found& found, const Doubles& expected, double tolerance, const std::string& what, const Doubles& terms = {}) {
  double difference = 0;
  for (size_t i = 0; i < expected.size(); i++) difference += std::pow(double(found[i]) - expected[i], 2);
  const double norm = std::max(squares(expected), squares(terms));
  check(difference <= tolerance * tolerance * norm, what + ": off by " + std::to_string(std::sqrt(difference / norm)));
}

std::vector<float> plain_of(const Activations& x) {
  ConstPanels panels = x.panels();
  std::vector<float> out;
  for (int64_t r = 0; r < x.rows(); r++)
    for (int64_t c = 0; c < x.columns(); c++) out.push_back(panels.at(r, c));
  return out;
}

std::vector<float> plain_of(const Parameter& p, const Buffer<float>& stored) {
  std::vector<float> out(static_cast<size_t>(p.plain_size()));
  p.to_plain(stored.data(), out.data());
  return out;
}

// Plain numbers [rows, columns] as fp32 activations.
struct Vectors {
  Vectors(const Doubles& plain, int64_t rows, int64_t columns) : matrix(rows, columns, current_kernels().width, false) {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < columns; c++) matrix.panels.at(r, c) = float(plain[size_t(r * columns + c)]);
    activations.view = matrix.panels;
  }
  Matrix matrix;
  PanelActivations activations;
};

// Random values, kept by name.
std::map<std::string, Doubles> fill(const std::vector<Parameter*>& parameters, double scale) {
  std::map<std::string, Doubles> values;
  for (Parameter* p : parameters) {
    values[p->name] = random_doubles(p->plain_size(), scale);
    p->set_value(floats(values[p->name]).data());
  }
  return values;
}

struct Case {
  CellKind cell;
  bool table;
  int64_t T, B, H, D;  // D: symbols, or the width of the vectors
  double tolerance;
};

// One layer forward and backward, and every gradient.
void recurrence(const std::string& isa, const Case& k) {
  const std::string size = std::to_string(k.T) + " " + std::to_string(k.B) + " " + std::to_string(k.H);
  const std::string what = isa + "bf16 cell " + std::to_string(int(k.cell)) + " " + size + (k.table ? " table " : " vectors ");
  auto layer = make_recurrent({k.cell, k.table, k.D, k.H}, Precision::bf16);
  auto w = fill(layer->parameters(), 0.7 / std::sqrt(double(k.H)));
  reference::Recurrence r(k.cell, k.T, k.B, k.H);
  const int64_t rows = k.T * k.B, N = r.G * k.H, state = k.B * k.H;

  // What the layer reads, as vectors: symbols are rows of the identity matrix.
  Doubles v = random_doubles(rows * k.D, 1);
  std::vector<int32_t> ids;
  if (k.table) {
    std::fill(v.begin(), v.end(), 0);
    for (int64_t row = 0; row < rows; row++) ids.push_back(int32_t(row * row % k.D)), v[size_t(row * k.D + ids.back())] = 1;
  }
  Vectors vectors(v, rows, k.D);
  LayerInput input;
  if (k.table) input.ids = ids.data();
  else input.vectors = &vectors.activations;
  const Doubles weight_ih = k.table ? transposed(w["table"], k.D, N) : w["weight_ih"];
  r.x = product(v, transposed(weight_ih, N, k.D), rows, k.D, N);
  for (size_t i = 0; !k.table && i < r.x.size(); i++) r.x[i] += w["bias"][i % size_t(N)];
  r.weight = w["weight_hh"];
  if (k.cell == CellKind::gru) r.bias_hn = w["bias_hn"];
  for (int64_t i = 0; i < state; i++) r.h[size_t(i)] = random_float(), r.c[size_t(i)] = random_float();
  r.d_output = random_doubles(rows * k.H, 1), r.dh = random_doubles(state, 1), r.dc = random_doubles(state, 1);

  std::vector<float> h = floats(r.h), c = floats(r.c), h_out(h.size()), c_out(c.size());
  std::vector<float> dh = floats(r.dh), dc = floats(r.dc), dh_in(dh.size()), dc_in(dc.size());
  const float *in[] = {h.data(), c.data()}, *d_out[] = {dh.data(), dc.data()};
  float *out[] = {h_out.data(), c_out.data()}, *d_in[] = {dh_in.data(), dc_in.data()};
  Vectors d_output(r.d_output, rows, k.H);
  r.forward();
  const Doubles before(r.h.begin(), r.h.end() - state), after(r.h.begin() + state, r.h.end());
  check_norm(plain_of(layer->forward(input, k.T, k.B, in, out, Mask{}, true)), after, k.tolerance, what + "h");
  check_norm(h_out, Doubles(r.h.end() - state, r.h.end()), k.tolerance, what + "last h");
  if (layer->states() > 1) check_norm(c_out, Doubles(r.c.end() - state, r.c.end()), k.tolerance, what + "last c");

  r.backward();
  const Activations* d_input = layer->backward(input, d_output.activations, d_out, d_in, false);
  check_norm(dh_in, r.dh, k.tolerance, what + "gradient of h");
  if (layer->states() > 1) check_norm(dc_in, r.dc, k.tolerance, what + "gradient of c");
  if (d_input) check_norm(plain_of(*d_input), product(r.d_x, weight_ih, rows, N, k.D), k.tolerance, what + "gradient of x");
  std::map<std::string, Doubles> expected;
  for (Parameter* p : layer->parameters()) expected[p->name].resize(size_t(p->plain_size()));
  add_product_tn(r.d_m, before, rows, N, k.H, expected["weight_hh"]);
  if (k.cell == CellKind::mlstm) {
    Doubles of_m(expected["weight_hh"].size());
    add_product_tn(r.d_m, r.multiplied, rows, N, k.H, of_m);
    std::copy_n(of_m.begin(), 4 * k.H * k.H, expected["weight_hh"].begin());
  }
  if (k.table) {
    add_product_tn(v, r.d_x, rows, k.D, N, expected["table"]);
  } else {
    add_product_tn(r.d_x, v, rows, N, k.D, expected["weight_ih"]);
    for (size_t i = 0; i < r.d_x.size(); i++) expected["bias"][i % size_t(N)] += r.d_x[i];
  }
  for (size_t i = 0; k.cell == CellKind::gru && i < r.d_m.size(); i++)
    if (int64_t(i) % N >= 2 * k.H) expected["bias_hn"][i % size_t(N) - size_t(2 * k.H)] += r.d_m[i];
  for (Parameter* p : layer->parameters())
    check_norm(plain_of(*p, p->gradient), expected[p->name], k.tolerance, what + "gradient of " + p->name);
}

void recurrences(const std::string& isa) {
  for (CellKind cell : {CellKind::rnn_tanh, CellKind::rnn_relu, CellKind::gru, CellKind::lstm, CellKind::mlstm}) {
    const double tolerance = cell == CellKind::rnn_relu ? 0.2 : 0.02;  // a relu may change sides
    for (bool table : {true, false}) {
      recurrence(isa, {cell, table, 5, 1, 37, 7, tolerance});
      recurrence(isa, {cell, table, 3, 33, 100, 40, tolerance});
      recurrence(isa, {cell, table, 1, 17, 544, 3, tolerance});
      recurrence(isa, {cell, table, 41, 5, 37, 7, tolerance});
      recurrence(isa, {cell, table, 9, 8, 70, 40, tolerance});
    }
  }
}

// Loss and gradients of the output layer, with dropout and weights.
void output(const std::string& isa, int64_t rows, int64_t V, int64_t H) {
  const std::string what = isa + "bf16 output " + std::to_string(rows) + " " + std::to_string(V) + " ";
  auto layer = make_output({V, H, nullptr}, Precision::bf16);
  auto w = fill(layer->parameters(), 1 / std::sqrt(double(H)));
  const Mask mask{77, 60, 1.3f, rows, rows, 0};
  constexpr float scale = 0.25f;
  Doubles x = random_doubles(rows * H, 1), dropped = x;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < H; c++) dropped[size_t(r * H + c)] *= mask_factor(mask, mask.row(r), c, H);
  Matrix logits(rows, V, current_kernels().width, false);
  const Doubles products = product(dropped, transposed(w["weight"], V, H), rows, H, V);
  std::vector<float> weights, factors, nats(static_cast<size_t>(rows));
  std::vector<int32_t> targets;
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < V; c++) logits.panels.at(r, c) = float(products[size_t(r * V + c)] + w["bias"][size_t(c)]);
    weights.push_back(float(r % 3)), factors.push_back(scale * weights.back()), targets.push_back(int32_t(r * 31 % V));
  }
  reference::softmax(logits.panels, targets.data(), factors.data(), nats.data());
  double sum = 0;
  Doubles d_logits, d_weight(w["weight"].size()), d_bias(w["bias"].size());
  for (int64_t r = 0; r < rows; r++) {
    sum += double(weights[size_t(r)]) * nats[size_t(r)];
    for (int64_t c = 0; c < V; c++) d_logits.push_back(logits.panels.at(r, c)), d_bias[size_t(c)] += d_logits.back();
  }
  add_product_tn(d_logits, dropped, rows, V, H, d_weight);
  Doubles d_x = product(d_logits, w["weight"], rows, V, H);
  for (size_t i = 0; i < d_x.size(); i++) d_x[i] *= mask_factor(mask, mask.row(int64_t(i) / H), int64_t(i) % H, H);

  Vectors vectors(x, rows, H);
  const Loss loss = layer->train(vectors.activations, mask, targets.data(), weights.data(), scale, false);
  check(near(loss.sum, sum, 2e-3), what + "loss: " + std::to_string(loss.sum) + ", expected " + std::to_string(sum));
  check_norm(plain_of(layer->d_input()), d_x, 0.02, what + "gradient of x");
  const auto parameters = layer->parameters();
  check_norm(plain_of(*parameters[0], parameters[0]->gradient), d_weight, 0.02, what + "gradient of weight");
  check_norm(plain_of(*parameters[1], parameters[1]->gradient), d_bias, 0.02, what + "gradient of bias", d_logits);
}

// After an optimiser's step the packed copies are those of a layer that was given the new values.
void packing(const std::string& isa) {
  constexpr int64_t T = 2, B = 3, H = 70, V = 9;
  const RecurrentSpec spec{CellKind::lstm, true, V, H};
  auto layer = make_recurrent(spec, Precision::bf16), anew = make_recurrent(spec, Precision::bf16);
  fill(layer->parameters(), 0.1);
  std::vector<Trained> trained;
  for (Parameter* p : layer->parameters()) {
    for (int64_t i = 0; i < p->value.size(); i++) p->gradient[i] = p->value[i];
    trained.push_back({p, true, 1.f, {}, {}});
  }
  Optimizer optimizer(OptimizerSpec{}, std::move(trained));
  optimizer.step(0.05);
  for (size_t i = 0; i < layer->parameters().size(); i++) {
    Parameter* p = layer->parameters()[i];
    anew->parameters()[i]->set_value(plain_of(*p, p->value).data());
  }
  const std::vector<int32_t> ids = {0, 3, 8, 1, 1, 5};
  LayerInput input;
  input.ids = ids.data();
  const std::vector<float> zeros(B * H);
  std::vector<float> h(B * H), c(B * H);
  const float* in[] = {zeros.data(), zeros.data()};
  float* out[] = {h.data(), c.data()};
  check(plain_of(layer->forward(input, T, B, in, out, Mask{}, false)) ==
            plain_of(anew->forward(input, T, B, in, out, Mask{}, false)),
        isa + "bf16: packed copies follow the optimiser");
}

}  // namespace

void test_bf16() {
  const int before = thread_count();
  on_every_isa([](const std::string& isa) {
    if (!supports(Precision::bf16)) return;
    for (int threads : {1, 3}) {
      if (RACES_ALONE && threads == 1) continue;
      use_threads(threads);
      recurrences(isa);
      for (int64_t rows : {1, 8, 45, 96})
        for (int64_t V : {2, 37, 1000}) output(isa, rows, V, 70);
      packing(isa);
    }
  });
  use_threads(before);
}

}  // namespace rhapsode

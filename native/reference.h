// The kernels of kernels.h once more, as slow and obvious as they can be written: what the tests compare with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "plain.h"

namespace rhapsode {
namespace reference {

inline void product(ConstPanels a, ConstPanels b, const float* bias, bool accumulate, Panels c) {
  for (int64_t r = 0; r < c.rows; r++)
    for (int64_t n = 0; n < c.columns; n++) {
      double sum = bias ? bias[n] : accumulate ? c.at(r, n) : 0;
      for (int64_t k = 0; k < b.rows; k++) sum += double(a.at(r, k)) * b.at(k, n);
      c.at(r, n) = static_cast<float>(sum);
    }
}

inline void product_tn(ConstPanels a, ConstPanels b, bool accumulate, Panels c) {
  for (int64_t m = 0; m < c.rows; m++)
    for (int64_t n = 0; n < c.columns; n++) {
      double sum = accumulate ? c.at(m, n) : 0;
      for (int64_t r = 0; r < a.rows; r++) sum += double(a.at(r, m)) * b.at(r, n);
      c.at(m, n) = static_cast<float>(sum);
    }
}

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// A step of one unit of a cell whose recurrence is element-wise: pre-activations a, own vectors v; gives the output.
inline double elementwise_step(CellKind cell, const double* a, const double* v, double& state) {
  auto positive = [](double x) { return x >= 0 ? x + 0.5 : sigmoid(x); };
  if (cell == CellKind::mingru) {
    double z = sigmoid(a[0]);
    return state = (1 - z) * state + z * positive(a[1]);
  }
  if (cell == CellKind::minlstm) {
    double f = sigmoid(a[0]), i = sigmoid(a[1]);
    return state = (f * state + i * positive(a[2])) / (f + i);
  }
  if (cell == CellKind::sru) {
    double f = sigmoid(a[1] + v[0] * state), r = sigmoid(a[2] + v[1] * state);
    state = f * state + (1 - f) * a[0];
    return r * state + (1 - r) * a[3];
  }
  double alpha = std::pow(sigmoid(v[0]), 8 * sigmoid(a[0]));
  state = alpha * state + std::sqrt(1 - alpha * alpha) * sigmoid(a[1]) * a[2];
  return 0.5 * a[3] * (1 + std::tanh(0.7978845608028654 * (a[3] + 0.044715 * a[3] * a[3] * a[3]))) * state;
}

// One layer with plain row-major arrays and gate columns g * H + u: x [T, B, G * H] (from the input), weight
// [G * H, H], h and c [T + 1, B, H] with the first state given, d_output [T, B, H]; dh and dc [B, H] in and out;
// d_x as x; d_m: the gradient of W_hh h (differs from d_x for gru and mlstm; of the latter all gates but the last see
// `multiplied` in place of h).
struct Recurrence {
  CellKind cell;
  int64_t T, B, H, G;
  std::vector<double> x, weight, bias_hn, h, c, gates, m, multiplied, d_output, dh, dc, d_x, d_m;

  Recurrence(CellKind cell, int64_t T, int64_t B, int64_t H)
      : cell(cell), T(T), B(B), H(H), G(cell == CellKind::mlstm ? 5 : cell == CellKind::lstm ? 4 : cell == CellKind::gru ? 3 : 1) {
    size_t rows = static_cast<size_t>(T * B), state = static_cast<size_t>(B * H);
    x.resize(rows * static_cast<size_t>(G * H)), weight.resize(static_cast<size_t>(G * H * H));
    bias_hn.resize(static_cast<size_t>(H)), h.resize(static_cast<size_t>((T + 1) * B * H)), c = h;
    gates = m = d_x = d_m = x;
    multiplied.resize(rows * static_cast<size_t>(H));
    d_output.resize(rows * static_cast<size_t>(H)), dh.resize(state), dc.resize(state);
  }

  void forward() {
    for (int64_t t = 0; t < T; t++)
      for (int64_t b = 0; b < B; b++) {
        for (int64_t u = 0; u < H && cell == CellKind::mlstm; u++) {
          const int64_t n = 4 * H + u;
          at(m, t, b, u) = product(h, t, b, n), at(gates, t, b, n) = at(x, t, b, n);
          unit(multiplied, t, b, u) = at(gates, t, b, n) * at(m, t, b, u);
        }
        for (int64_t u = 0; u < H; u++) forward_unit(t, b, u);
      }
  }

  void backward() {
    for (int64_t t = T - 1; t >= 0; t--)
      for (int64_t b = 0; b < B; b++) {
        std::vector<double> before(static_cast<size_t>(H));
        for (int64_t u = 0; u < H; u++) before[static_cast<size_t>(u)] = backward_unit(t, b, u);
        for (int64_t u = 0; u < H && cell == CellKind::mlstm; u++) {
          const double d = gradient(t, b, u, 0, 4 * H);
          const int64_t n = 4 * H + u;
          at(d_x, t, b, n) = d * at(m, t, b, u), at(d_m, t, b, n) = d * at(gates, t, b, n);
        }
        const int64_t first = cell == CellKind::mlstm ? 4 * H : 0;
        for (int64_t k = 0; k < H; k++)
          dh[static_cast<size_t>(b * H + k)] = before[static_cast<size_t>(k)] + gradient(t, b, k, first, G * H);
      }
  }

 private:
  double& at(std::vector<double>& v, int64_t t, int64_t b, int64_t n) {
    return v[static_cast<size_t>((t * B + b) * G * H + n)];
  }
  double& unit(std::vector<double>& v, int64_t t, int64_t b, int64_t u) {
    return v[static_cast<size_t>((t * B + b) * H + u)];
  }

  // Of row n of the weights with a row of v.
  double product(std::vector<double>& v, int64_t t, int64_t b, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < H; k++) sum += weight[static_cast<size_t>(n * H + k)] * unit(v, t, b, k);
    return sum;
  }
  // What flows through rows [first, last) of the weights back to their k-th input.
  double gradient(int64_t t, int64_t b, int64_t k, int64_t first, int64_t last) {
    double sum = 0;
    for (int64_t n = first; n < last; n++) sum += at(d_m, t, b, n) * weight[static_cast<size_t>(n * H + k)];
    return sum;
  }

  void forward_unit(int64_t t, int64_t b, int64_t u) {
    const bool four = cell == CellKind::lstm || cell == CellKind::mlstm;
    const int64_t gates_here = four ? 4 : G;
    double a[4], p[4];
    for (int64_t g = 0; g < gates_here; g++) {
      int64_t n = g * H + u;
      p[g] = product(cell == CellKind::mlstm ? multiplied : h, t, b, n);
      a[g] = at(x, t, b, n) + p[g];
    }
    double before = unit(h, t, b, u);
    if (cell == CellKind::rnn_tanh) a[0] = std::tanh(a[0]);
    if (cell == CellKind::rnn_relu) a[0] = std::max(0.0, a[0]);
    if (G == 1) unit(h, t + 1, b, u) = a[0];
    if (cell == CellKind::gru) {
      double inside = p[2] + bias_hn[static_cast<size_t>(u)];
      a[0] = sigmoid(a[0]), a[1] = sigmoid(a[1]), a[2] = std::tanh(at(x, t, b, 2 * H + u) + a[0] * inside);
      at(m, t, b, u) = inside;
      unit(h, t + 1, b, u) = (1 - a[1]) * a[2] + a[1] * before;
    }
    if (four) {
      a[0] = sigmoid(a[0]), a[1] = sigmoid(a[1]), a[2] = std::tanh(a[2]), a[3] = sigmoid(a[3]);
      unit(c, t + 1, b, u) = a[1] * unit(c, t, b, u) + a[0] * a[2];
      unit(h, t + 1, b, u) = a[3] * std::tanh(unit(c, t + 1, b, u));
    }
    for (int64_t g = 0; g < gates_here; g++) at(gates, t, b, g * H + u) = a[g];
  }

  // The part of the gradient of the previous h that does not go through weights.
  double backward_unit(int64_t t, int64_t b, int64_t u) {
    const bool four = cell == CellKind::lstm || cell == CellKind::mlstm;
    const int64_t gates_here = four ? 4 : G;
    double a[4], d[4], direct = 0;
    for (int64_t g = 0; g < gates_here; g++) a[g] = at(gates, t, b, g * H + u);
    double d_h = dh[static_cast<size_t>(b * H + u)] + unit(d_output, t, b, u);
    if (cell == CellKind::rnn_tanh) d[0] = d_h * (1 - a[0] * a[0]);
    if (cell == CellKind::rnn_relu) d[0] = a[0] > 0 ? d_h : 0;
    if (cell == CellKind::gru) {
      d[2] = d_h * (1 - a[1]) * (1 - a[2] * a[2]);
      d[1] = d_h * (unit(h, t, b, u) - a[2]) * a[1] * (1 - a[1]);
      d[0] = d[2] * at(m, t, b, u) * a[0] * (1 - a[0]);
      direct = d_h * a[1];
    }
    if (four) {
      double s = std::tanh(unit(c, t + 1, b, u)), &d_c = dc[static_cast<size_t>(b * H + u)];
      d_c += d_h * a[3] * (1 - s * s);
      d[0] = d_c * a[2] * a[0] * (1 - a[0]);
      d[1] = d_c * unit(c, t, b, u) * a[1] * (1 - a[1]);
      d[2] = d_c * a[0] * (1 - a[2] * a[2]);
      d[3] = d_h * s * a[3] * (1 - a[3]);
      d_c *= a[1];
    }
    for (int64_t g = 0; g < gates_here; g++) {
      at(d_x, t, b, g * H + u) = d[g];
      at(d_m, t, b, g * H + u) = cell == CellKind::gru && g == 2 ? d[2] * a[0] : d[g];
    }
    return direct;
  }
};

// A step of one sequence of the mogrifier: weight [13 * H, H] as in rhapsode.nn.cells.mogrifier, bias [4 * H]; x [H] is what
// comes in and h and c are the state, all of which it changes.
inline void mogrifier_step(int64_t H, const std::vector<double>& weight, const std::vector<double>& bias,
                           std::vector<double>& x, double* h, double* c) {
  auto product = [&](int64_t row, const double* v) {
    double sum = 0;
    for (int64_t k = 0; k < H; k++) sum += weight[static_cast<size_t>(row * H + k)] * v[k];
    return sum;
  };
  for (int64_t round = 0; round < mogrifier::ROUNDS; round++) {
    const double* read = round % 2 ? x.data() : h;
    double* gated = round % 2 ? h : x.data();
    for (int64_t u = 0; u < H; u++) gated[u] *= 2 * sigmoid(product((mogrifier::FIRST_ROUND + round) * H + u, read));
  }
  std::vector<double> z = bias;
  for (int64_t n = 0; n < 4 * H; n++) z[static_cast<size_t>(n)] += product(n, h) + product(4 * H + n, x.data());
  for (int64_t u = 0; u < H; u++) {
    const double* a = &z[static_cast<size_t>(u)];
    c[u] = sigmoid(a[H]) * c[u] + sigmoid(a[0]) * std::tanh(a[2 * H]);
    h[u] = sigmoid(a[3 * H]) * std::tanh(c[u]);
  }
}

inline void drop(ConstPanels x, const Mask& mask, int64_t first, Panels out) {
  for (int64_t r = 0; r < x.rows; r++)
    for (int64_t c = 0; c < x.columns; c++) out.at(r, c) = x.at(r, c) * mask_factor(mask, mask.row(first + r), c, x.columns);
}

inline void norm(ConstPanels x, const float* weight, const float* bias, float epsilon, Panels out) {
  for (int64_t r = 0; r < x.rows; r++) {
    double mean = 0, square = 0, n = double(x.columns);
    for (int64_t c = 0; bias && c < x.columns; c++) mean += x.at(r, c) / n;
    for (int64_t c = 0; c < x.columns; c++) square += (x.at(r, c) - mean) * (x.at(r, c) - mean) / n;
    for (int64_t c = 0; c < x.columns; c++)
      out.at(r, c) = static_cast<float>((x.at(r, c) - mean) / std::sqrt(square + epsilon) * weight[c] + (bias ? bias[c] : 0));
  }
}

// Of vector i of past and x together, in order.
inline float& read_at(const ShortConvolution& c, int64_t i, int64_t b, int64_t column, Panels past, Panels x) {
  const int64_t before = c.taps - 1;
  return i < before ? past.at(i * c.B + b, column) : x.at((i - before) * c.B + b, column);
}

inline void convolve(const ShortConvolution& c, Panels past, Panels x, Panels out) {
  for (int64_t t = 0; t < c.T; t++)
    for (int64_t b = 0; b < c.B; b++)
      for (int64_t column = 0; column < out.columns; column++) {
        double sum = c.bias[column];
        for (int64_t k = 0; k < c.taps; k++) sum += double(c.weight.at(k, column)) * read_at(c, t + k, b, column, past, x);
        out.at(t * c.B + b, column) = static_cast<float>(sum);
      }
}

// d_past and d_x begin with the gradients from elsewhere, and are added to, like d_weight.
inline void convolve_backward(const ShortConvolution& c, Panels past, Panels x, ConstPanels d_out, Panels d_past, Panels d_x,
                              Panels d_weight) {
  for (int64_t t = 0; t < c.T; t++)
    for (int64_t b = 0; b < c.B; b++)
      for (int64_t column = 0; column < x.columns; column++)
        for (int64_t k = 0; k < c.taps; k++) {
          const float d = d_out.at(t * c.B + b, column);
          read_at(c, t + k, b, column, d_past, d_x) += c.weight.at(k, column) * d;
          d_weight.at(k, column) += d * read_at(c, t + k, b, column, past, x);
        }
}

struct Gelu {
  explicit Gelu(double x) {
    const double k = std::sqrt(2 / std::acos(-1.0)), u = std::tanh(k * (x + 0.044715 * x * x * x));
    value = x / 2 * (1 + u);
    derivative = (1 + u) / 2 + x / 2 * (1 - u * u) * k * (1 + 3 * 0.044715 * x * x);
  }
  double value, derivative;
};

inline void softmax(Panels logits, const int32_t* targets, const float* factors, float* nats) {
  for (int64_t r = 0; r < logits.rows; r++) {
    double high = -INFINITY, total = 0;
    for (int64_t c = 0; c < logits.columns; c++) high = std::max(high, double(logits.at(r, c)));
    for (int64_t c = 0; c < logits.columns; c++) total += std::exp(logits.at(r, c) - high);
    nats[r] = static_cast<float>(std::log(total) + high - logits.at(r, targets[r]));
    for (int64_t c = 0; factors && c < logits.columns; c++)
      logits.at(r, c) = static_cast<float>(factors[r] * (std::exp(logits.at(r, c) - high) / total - (c == targets[r])));
  }
}

// One element; the formulas of torch.optim.
inline void update(MethodIndex method, const Update& u, int64_t i) {
  double p = u.value[i], g = u.gradient[i], decay = u.decay, lr = u.lr, eps = u.eps, rest = 1 - double(u.beta2);
  double a = u.slot0 ? u.slot0[i] : 0, b = u.slot1 ? u.slot1[i] : 0;
  if (u.clip_value > 0) g = std::min(std::max(g, -double(u.clip_value)), double(u.clip_value));
  g *= u.gradient_scale;
  if (method == ADAMW) p *= 1 - lr * decay;
  else g += decay * p;
  switch (method) {
    case SGD: p -= lr * g; break;
    case SGD_MOMENTUM:
      a = u.momentum * a + g;
      p -= lr * (u.nesterov ? g + u.momentum * a : a);
      break;
    case ADAGRAD:
      a += g * g;
      p -= lr * g / (std::sqrt(a) + eps);
      break;
    case ADADELTA: {
      a = u.beta2 * a + rest * g * g;
      double delta = std::sqrt(b + eps) / std::sqrt(a + eps) * g;
      b = u.beta2 * b + rest * delta * delta;
      p -= lr * delta;
      break;
    }
    case RMSPROP:
      a = u.beta2 * a + rest * g * g;
      p -= lr * g / (std::sqrt(a) + eps);
      break;
    case RMSPROP_MOMENTUM:
      a = u.beta2 * a + rest * g * g;
      b = u.momentum * b + g / (std::sqrt(a) + eps);
      p -= lr * b;
      break;
    default:
      a = u.beta1 * a + (1 - double(u.beta1)) * g;
      b = u.beta2 * b + rest * g * g;
      p -= lr / u.correction1 * a / (std::sqrt(b) / std::sqrt(double(u.correction2)) + eps);
  }
  u.value[i] = static_cast<float>(p);
  if (u.slot0) u.slot0[i] = static_cast<float>(a);
  if (u.slot1) u.slot1[i] = static_cast<float>(b);
  if (u.average) u.average[i] = static_cast<float>(u.averaging * u.average[i] + (1 - double(u.averaging)) * p);
}

}  // namespace reference
}  // namespace rhapsode

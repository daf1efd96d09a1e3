// The cells, sixteen units at a time: rhapsode.nn.cells has the equations, and forward stands beside backward here.
//
//   GATES    pre-activations of a unit
//   LAYER_GATES, FIRST_GATE  of the layer's gates, those of this cell: the mlstm takes its step in two stages, each of which
//            is a cell here and has its own Scan
//   HALVES   blocks of 16 units that the pointwise part works on together (formats.h)
//   SAVED    vectors that forward keeps for backward
//   CARRIES  whether fp32 state goes from step to step beside the rounded h (rnn: the state is in h alone)
//   TWO_GRADIENTS  whether the gradient of the last gate's input part is not that of its W h
//   HISTORY  whether c_t is kept beside h_t; backward's `now` and `before` are c_t and c_t-1 then, else h_t and h_t-1
//
// forward: `s` is W_hh h_t-1, `a` the input's part, `carry` fp32 state that goes from step to step (lstm c, gru h).
// backward: `dh` is the gradient of h_t without what `d_carry` brings; `d` receives that of W_hh h_t-1, and the result is
// that of the last gate's input part.
#pragma once

#include "simd.h"

namespace rhapsode::amx {
namespace {

RHAPSODE_INLINE Vec slope_of_tanh(Vec y) { return _mm512_fnmadd_ps(y, y, all(1)); }  // 1 - y²
RHAPSODE_INLINE Vec slope_of_sigmoid(Vec y) { return _mm512_fnmadd_ps(y, y, y); }     // y - y²

struct Lstm {
  static constexpr int GATES = 4, LAYER_GATES = 4, FIRST_GATE = 0, HALVES = 1, SAVED = 4;
  static constexpr bool CARRIES = true, HISTORY = true, TWO_GRADIENTS = false;

  RHAPSODE_INLINE static Vec forward(const Vec* s, const Vec* a, Vec, Vec& c, Vec* saved) {
    Vec i = sigmoid(_mm512_add_ps(s[0], a[0]));
    Vec f = sigmoid(_mm512_add_ps(s[1], a[1]));
    Vec g = tanh(_mm512_add_ps(s[2], a[2]));
    Vec o = sigmoid(_mm512_add_ps(s[3], a[3]));
    c = _mm512_fmadd_ps(f, c, _mm512_mul_ps(i, g));
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o;
    return _mm512_mul_ps(o, tanh(c));
  }

  RHAPSODE_INLINE static Vec backward(const Vec* saved, Vec now, Vec before, Vec dh, Vec& dc, Vec* d) {
    Vec i = saved[0], f = saved[1], g = saved[2], o = saved[3], y = tanh(now);
    Vec dho = _mm512_mul_ps(dh, o), dhy = _mm512_mul_ps(dh, y);
    dc = _mm512_add_ps(dc, _mm512_fnmadd_ps(_mm512_mul_ps(dho, y), y, dho));
    d[0] = _mm512_mul_ps(_mm512_mul_ps(dc, g), slope_of_sigmoid(i));
    d[1] = _mm512_mul_ps(_mm512_mul_ps(dc, before), slope_of_sigmoid(f));
    d[2] = _mm512_mul_ps(_mm512_mul_ps(dc, i), slope_of_tanh(g));
    d[3] = _mm512_mul_ps(dhy, slope_of_sigmoid(o));
    dc = _mm512_mul_ps(dc, f);
    return d[3];
  }
};

// The second stage of the mlstm: an LSTM that sees m in place of h.
struct MlstmGates : Lstm {
  static constexpr int LAYER_GATES = 5, HALVES = 2;
};

// The first: m, whose Scan calls it h.
struct MlstmFactor {
  static constexpr int GATES = 1, LAYER_GATES = 5, FIRST_GATE = 4, HALVES = 2, SAVED = 2;
  static constexpr bool CARRIES = false, HISTORY = false, TWO_GRADIENTS = true;

  RHAPSODE_INLINE static Vec forward(const Vec* s, const Vec* a, Vec, Vec&, Vec* saved) {
    saved[0] = s[0], saved[1] = a[0];
    return _mm512_mul_ps(s[0], a[0]);
  }
  RHAPSODE_INLINE static Vec backward(const Vec* saved, Vec, Vec, Vec dm, Vec&, Vec* d) {
    d[0] = _mm512_mul_ps(dm, saved[1]);
    return _mm512_mul_ps(dm, saved[0]);
  }
};

struct Gru {
  static constexpr int GATES = 3, LAYER_GATES = 3, FIRST_GATE = 0, HALVES = 2, SAVED = 4;
  static constexpr bool CARRIES = true, HISTORY = false, TWO_GRADIENTS = true;

  RHAPSODE_INLINE static Vec forward(const Vec* s, const Vec* a, Vec bias, Vec& h, Vec* saved) {
    Vec r = sigmoid(_mm512_add_ps(s[0], a[0]));
    Vec z = sigmoid(_mm512_add_ps(s[1], a[1]));
    Vec m = _mm512_add_ps(s[2], bias);
    Vec n = tanh(_mm512_fmadd_ps(r, m, a[2]));
    saved[0] = r, saved[1] = z, saved[2] = n, saved[3] = m;
    return h = _mm512_fmadd_ps(z, _mm512_sub_ps(h, n), n);
  }

  RHAPSODE_INLINE static Vec backward(const Vec* saved, Vec, Vec before, Vec dh, Vec& d_carry, Vec* d) {
    Vec r = saved[0], z = saved[1], n = saved[2], m = saved[3];
    dh = _mm512_add_ps(dh, d_carry);
    Vec dn = _mm512_mul_ps(_mm512_fnmadd_ps(dh, z, dh), slope_of_tanh(n));
    d[0] = _mm512_mul_ps(_mm512_mul_ps(dn, m), slope_of_sigmoid(r));
    d[1] = _mm512_mul_ps(_mm512_mul_ps(dh, _mm512_sub_ps(before, n)), slope_of_sigmoid(z));
    d[2] = _mm512_mul_ps(dn, r);
    d_carry = _mm512_mul_ps(dh, z);
    return dn;
  }
};

struct RnnTanh {
  static constexpr int GATES = 1, LAYER_GATES = 1, FIRST_GATE = 0, HALVES = 2, SAVED = 0;
  static constexpr bool CARRIES = false, HISTORY = false, TWO_GRADIENTS = false;

  RHAPSODE_INLINE static Vec forward(const Vec* s, const Vec* a, Vec, Vec& h, Vec*) {
    return h = tanh(_mm512_add_ps(s[0], a[0]));
  }
  RHAPSODE_INLINE static Vec backward(const Vec*, Vec now, Vec, Vec dh, Vec&, Vec* d) {
    return d[0] = _mm512_mul_ps(dh, slope_of_tanh(now));
  }
};

struct RnnRelu {
  static constexpr int GATES = 1, LAYER_GATES = 1, FIRST_GATE = 0, HALVES = 2, SAVED = 0;
  static constexpr bool CARRIES = false, HISTORY = false, TWO_GRADIENTS = false;

  RHAPSODE_INLINE static Vec forward(const Vec* s, const Vec* a, Vec, Vec& h, Vec*) {
    // max returns its second operand where one is not a number: what is wrong stays visible.
    return h = _mm512_max_ps(zeros(), _mm512_add_ps(s[0], a[0]));
  }
  RHAPSODE_INLINE static Vec backward(const Vec*, Vec now, Vec, Vec dh, Vec&, Vec* d) {
    return d[0] = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(now, zeros(), _CMP_GT_OQ), dh);
  }
};

}  // namespace
}  // namespace rhapsode::amx

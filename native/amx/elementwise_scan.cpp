#include "elementwise_scan.h"

#include <math.h>

#include "scan_parts.h"

#define RHAPSODE_VEC_AVX512
namespace rhapsode::amx {
namespace {

namespace cell {
#include "vec.h"
#include "quick.inc"
#include "elementwise.inc"

// As exact as what is rounded to bf16 deserves. (The curves of simd.h would not do: a gate of the RG-LRU that they shut to
// 4e-4 lets 1 % of the input through.)
struct Quick {
  static RHAPSODE_INLINE F sigmoid_of(F x) { return quick_reciprocal(all(1.f) + quick_exp2(x * all(-1.442695041f))); }
};
}  // namespace cell
using cell::F;

// Where a thread works: 32 units of 32 rows, all of time.
struct Place {
  Place(const ElementwiseScan& s, int64_t item) : P(pairs(s.H)), R(pairs(s.B)), pair(item / R), rb(item % R) {
    rows = static_cast<int>(s.B - rb * PAIR < PAIR ? s.B - rb * PAIR : PAIR);
  }
  // Row r of row tiles [.., columns].
  int64_t row_at(int64_t t, int r, int64_t column, int64_t columns) const {
    return (((t * R + rb) * 2 + (r >> 4)) * columns + column) * TILE + (r & 15) * 32;
  }
  int64_t unit(int half) const { return pair * PAIR + half * LANES; }

  int64_t P, R, pair, rb;
  int rows;
};

template <class C>
struct Pass {
  Pass(const ElementwiseScan& s, const Place& at) : s(s), at(at) {
    unrolled<2>(RHAPSODE_LOOP(half) {
      for (int i = 0; i < C::VECTORS; i++) given[half][i] = {load(s.vectors + i * at.P * PAIR + at.unit(half))}, d_own[half][i] = {zeros()};
      C::constants(given[half], own[half]);
      valid[half] = _mm512_maskz_mov_ps(first_lanes(s.H - at.unit(half)), amx::all(1));
    });
  }

  // The pre-activations of row r of a step, both halves.
  RHAPSODE_INLINE void pre_activations(int64_t t, int r, F (*a)[C::GATES]) const {
    const int64_t number = s.gates.numbers[(t * at.R + at.rb) * PAIR + r];
    const bf16* line = s.gates.lines + (at.pair * s.gates.rows + number) * C::GATES * 32;
    unrolled<C::GATES>(RHAPSODE_LOOP(g) {
      Words w = words(line + g * 32);
      a[0][g] = {low(w)}, a[1][g] = {high(w)};
    });
  }

  RHAPSODE_INLINE void plain_rows(const float* from, float (*to)[PAIR * LANES]) const {
    for (int half = 0; half < 2; half++)
      for (int r = 0; r < PAIR; r++)
        store(to[half] + r * LANES, from && r < at.rows
                                        ? load_plain(from + (at.rb * PAIR + r) * s.H + at.unit(half), s.H - at.unit(half))
                                        : zeros());
  }
  RHAPSODE_INLINE void to_plain_rows(const float (*from)[PAIR * LANES], float* to) const {
    for (int half = 0; half < 2; half++)
      for (int r = 0; r < at.rows; r++)
        store_plain(load(from[half] + r * LANES), to + (at.rb * PAIR + r) * s.H + at.unit(half), s.H - at.unit(half));
  }

  void forward() {
    alignas(64) float state[2][PAIR * LANES];
    alignas(64) bf16 turning[2][TILE] = {};
    plain_rows(s.state_in, state);
    for (int r = 0; r < at.rows; r++)
      store(s.state + at.row_at(0, r, at.pair, at.P), joined(load(state[0] + r * LANES), load(state[1] + r * LANES)));
    for (int64_t t = 0; t < s.T; t++) {
      for (int i = 0; 2 * i < at.rows; i++) {
        Vec h[2][2] = {{zeros(), zeros()}, {zeros(), zeros()}};
        for (int j = 0; j < 2 && 2 * i + j < at.rows; j++) step(t, 2 * i + j, state, h[j]);
        for (int half = 0; half < 2; half++) store(turning[half] + i * 32, joined(h[0][half], h[1][half]));
      }
      for (int half = 0; s.turned && half < 2; half++)
        store_transposed(turning[half], s.turned + ((2 * at.pair + half) * s.turned_pitch + t * at.R + at.rb) * TILE);
    }
    to_plain_rows(state, s.state_out);
  }

  RHAPSODE_INLINE void step(int64_t t, int r, float (*state)[PAIR * LANES], Vec* h) {
    F a[2][C::GATES];
    pre_activations(t, r, a);
    Vec c[2];
    unrolled<2>(RHAPSODE_LOOP(half) {
      F now{load(state[half] + r * LANES)};
      h[half] = C::template forward<cell::Quick>(a[half], own[half], now).v;
      c[half] = _mm512_mul_ps(now.v, valid[half]);
      h[half] = C::OWN_OUTPUT ? _mm512_mul_ps(h[half], valid[half]) : c[half];
      store(state[half] + r * LANES, c[half]);
    });
    store(s.state + at.row_at(t + 1, r, at.pair, at.P), joined(c[0], c[1]));
    if (C::OWN_OUTPUT) store(s.output + at.row_at(t, r, at.pair, at.P), joined(h[0], h[1]));
  }

  void backward() {
    alignas(64) float d_state[2][PAIR * LANES];
    plain_rows(s.d_state_out, d_state);
    for (int64_t t = s.T - 1; t >= 0; t--)
      for (int i = 0; 2 * i < at.rows; i++) {
        F da[2][2][C::GATES];  // [row][half]
        for (int g = 0; g < C::GATES; g++) da[1][0][g] = da[1][1][g] = {zeros()};
        for (int j = 0; j < 2 && 2 * i + j < at.rows; j++) step_back(t, 2 * i + j, d_state, da[j]);
        unrolled<C::GATES>(RHAPSODE_LOOP(g) {
          const int64_t q = at.pair * C::GATES + g;
          bf16* tile = s.d_tokens + (q * s.tokens_pitch + t * at.R + at.rb) * 2 * TILE + i * 32;
          for (int half = 0; half < 2; half++) store(tile + half * TILE, joined(da[0][half][g].v, da[1][half][g].v));
          for (int j = 0; s.d_rows && j < 2; j++)
            store(s.d_rows + at.row_at(t, 2 * i + j, q, at.P * C::GATES), joined(da[j][0][g].v, da[j][1][g].v));
        });
      }
    if (s.d_state_in) to_plain_rows(d_state, s.d_state_in);
  }

  RHAPSODE_INLINE void step_back(int64_t t, int r, float (*d_state)[PAIR * LANES], F (*da)[C::GATES]) {
    F a[2][C::GATES];
    pre_activations(t, r, a);
    const Words before = words(s.state + at.row_at(t, r, at.pair, at.P));
    const Words d = words(s.d_output + at.row_at(t, r, at.pair, at.P));
    unrolled<2>(RHAPSODE_LOOP(half) {
      F dc{load(d_state[half] + r * LANES)};
      C::template backward<cell::Quick>(a[half], own[half], F{half ? high(before) : low(before)}, F{half ? high(d) : low(d)}, dc,
                                        da[half], d_own[half]);
      store(d_state[half] + r * LANES, dc.v);
    });
  }

  void leave_vectors() {
    for (int half = 0; half < 2; half++) {
      C::d_constants(given[half], d_own[half]);
      for (int i = 0; i < C::VECTORS; i++)
        store(s.d_vectors + (at.rb * C::VECTORS + i) * at.P * PAIR + at.unit(half), d_own[half][i].v);
    }
  }

  const ElementwiseScan& s;
  const Place at;
  F given[2][C::VECTORS + 1], own[2][C::VECTORS + 1], d_own[2][C::VECTORS + 1];
  Vec valid[2];
};

template <class C>
void forward(const ElementwiseScan& s, int thread, int threads) {
  const Part part = part_of(pairs(s.H) * pairs(s.B), thread, threads);
  for (int64_t item = part.first; item < part.last; item++) Pass<C>(s, Place(s, item)).forward();
}

template <class C>
void backward(const ElementwiseScan& s, int thread, int threads) {
  const Part part = part_of(pairs(s.H) * pairs(s.B), thread, threads);
  for (int64_t item = part.first; item < part.last; item++) {
    Pass<C> pass(s, Place(s, item));
    pass.backward();
    pass.leave_vectors();
  }
}

template <class C>
constexpr ElementwiseScanKernels kernels() {
  return {C::GATES, C::VECTORS, C::OWN_OUTPUT, forward<C>, backward<C>};
}

}  // namespace

const ElementwiseScanKernels elementwise_scans[ELEMENTWISE_CELLS] = {
    kernels<cell::MinGru>(), kernels<cell::MinLstm>(), kernels<cell::Sru>(), kernels<cell::RgLru>()};

}  // namespace rhapsode::amx

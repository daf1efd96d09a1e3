// Element-wise work on tiles: sums, the gated MLP's units, token tiles of row tiles.
#include "dense.h"
#include "scan_parts.h"
#include "simd.h"

namespace rhapsode::amx {
namespace {

// gelu(x) = x s with s = sigmoid(w), w = 2 sqrt(2/pi) (x + 0.044715 x^3): the tanh form.
struct Gelu {
  static constexpr float ONCE = 2 * 0.7978845608f, CUBED = ONCE * 0.044715f;

  RHAPSODE_INLINE explicit Gelu(Vec x) : x(x), square(_mm512_mul_ps(x, x)) {
    Vec w = _mm512_mul_ps(x, _mm512_fmadd_ps(all(CUBED), square, all(ONCE)));
    s = _mm512_rcp14_ps(_mm512_add_ps(all(1), power_of_two(_mm512_mul_ps(w, all(-LOG2_E)))));
  }
  RHAPSODE_INLINE Vec value() const { return _mm512_mul_ps(x, s); }
  RHAPSODE_INLINE Vec derivative() const {
    Vec dw = _mm512_fmadd_ps(all(3 * CUBED), square, all(ONCE));
    return _mm512_fmadd_ps(_mm512_mul_ps(value(), _mm512_sub_ps(all(1), s)), dw, s);
  }
  Vec x, square, s;
};

}  // namespace

void add(const RowTiles& a, const RowTiles& b, const RowTiles& to, int thread, int threads) {
  const Part part = part_of(to.size() / 32, thread, threads);
  for (int64_t i = part.first * 32; i < part.last * 32; i += 32) {
    const Words x = words(a.data + i), y = words(b.data + i);
    store(to.data + i, joined(_mm512_add_ps(low(x), low(y)), _mm512_add_ps(high(x), high(y))));
  }
}

void arrange_tokens(const RowTiles& from, bf16* tokens, int64_t pitch, int thread, int threads) {
  const Part part = part_of(from.blocks(), thread, threads);
  for (int64_t rb = part.first; rb < part.last; rb++)
    for (int64_t k = 0; k < from.width(); k++) {
      bf16* to = tokens + (k * pitch + rb) * 2 * TILE;
      for (int i = 0; i < 16; i++)
        store_tokens(words(from.at(rb * PAIR + 2 * i, k)), words(from.at(rb * PAIR + 2 * i + 1, k)), to + i * 32, to + TILE + i * 32);
    }
}

void gate(const RowTiles& a, const RowTiles& inner, const TurnedTiles& turned, int thread, int threads) {
  const Part part = part_of(a.blocks(), thread, threads);
  alignas(64) bf16 tokens[2][TILE];
  for (int64_t rb = part.first; rb < part.last; rb++)
    for (int64_t u = 0; u < inner.width(); u++) {
      for (int r = 0; r < PAIR; r++) {
        const Words g = words(a.at(rb * PAIR + r, 2 * u)), up = words(a.at(rb * PAIR + r, 2 * u + 1));
        store(inner.at(rb * PAIR + r, u), joined(_mm512_mul_ps(Gelu(low(g)).value(), low(up)),
                                              _mm512_mul_ps(Gelu(high(g)).value(), high(up))));
      }
      if (!turned.data) continue;
      for (int i = 0; i < 16; i++)
        store_tokens(words(inner.at(rb * PAIR + 2 * i, u)), words(inner.at(rb * PAIR + 2 * i + 1, u)), tokens[0] + i * 32,
                     tokens[1] + i * 32);
      for (int half = 0; half < 2; half++)
        store_transposed(tokens[half], turned.data + ((2 * u + half) * turned.pitch + rb) * TILE);
    }
}

void gate_backward(const RowTiles& a, const RowTiles& d_inner, bf16* tokens, int64_t pitch, int thread, int threads) {
  const Part part = part_of(a.blocks(), thread, threads);
  for (int64_t rb = part.first; rb < part.last; rb++)
    for (int64_t u = 0; u < d_inner.width(); u++)
      for (int r = 0; r < PAIR; r++) {
        bf16 *at_gate = a.at(rb * PAIR + r, 2 * u), *at_up = a.at(rb * PAIR + r, 2 * u + 1);
        const Words g = words(at_gate), up = words(at_up), d = words(d_inner.at(rb * PAIR + r, u));
        const Gelu first(low(g)), second(high(g));
        store(at_gate, joined(_mm512_mul_ps(_mm512_mul_ps(low(d), low(up)), first.derivative()),
                              _mm512_mul_ps(_mm512_mul_ps(high(d), high(up)), second.derivative())));
        store(at_up, joined(_mm512_mul_ps(low(d), first.value()), _mm512_mul_ps(high(d), second.value())));
      }
  arrange_tokens(a, tokens, pitch, thread, threads);
}

}  // namespace rhapsode::amx

// The output layer: logits, softmax, cross-entropy and the gradients of logits and inputs, a few rows at a time.
#include "dense.h"
#include "product.h"
#include "scan_parts.h"

namespace rhapsode::amx {
namespace {

// Blocks of 32 rows that share each run of weights: several, where the weights are too many for the second-level cache.
int64_t group_size(int64_t Q, int64_t P) { return fits_second_level(2 * Q * P * 2 * TILE) ? 1 : 8; }

class Rows {
 public:
  Rows(const OutputPass& o, int thread)
      : o_(o), width_(o.Q * PAIR), logits_(o.scratch + thread * output_scratch(o.Q, o.P)),
        sums_(logits_ + group_size(o.Q, o.P) * PAIR * width_), d_(o.tile_scratch + thread * output_tiles(o.Q, o.P)),
        dropped_(d_ + group_size(o.Q, o.P) * o.Q * 2 * TILE) {}

  void run(int64_t first, int64_t count) {
    for (int64_t i = 0; o_.kept.on() && i < count; i++) drop(first + i, dropped_ + i * o_.P * 2 * TILE);
    multiply_logits(o_.kept.on() ? dropped_ : o_.x.data + first * o_.P * 2 * TILE, count);
    for (int64_t i = 0; i < count; i++) softmax(first + i, logits_ + i * PAIR * width_, d_ + i * o_.Q * 2 * TILE);
    if (o_.tokens) back(first, count);
  }

 private:
  // A block of x after dropout. What is padding is zero and stays so.
  void drop(int64_t rb, bf16* to) const {
    const bf16* from = o_.x.data + rb * 2 * o_.P * TILE;
    const int64_t row = o_.x.first_row(rb), rows = o_.x.rows_in(rb);
    for (int64_t p = 0; p < o_.P; p++)
      for (int r = 0; r < PAIR; r++) {
        const int64_t at = ((r >> 4) * o_.P + p) * TILE + (r & 15) * 32;
        if (r >= rows) {
          store(to + at, words(from + at));
          continue;
        }
        const Words w = words(from + at);
        store(to + at, joined(dropped(o_.kept, row + r, 2 * p, low(w)), dropped(o_.kept, row + r, 2 * p + 1, high(w))));
      }
  }

  // Rows of logits of width_, without bias, of `count` blocks x.
  void multiply_logits(const bf16* x, int64_t count) {
    const int64_t P = o_.P;
    for (int64_t q = 0; q < o_.Q; q++)
      for (int64_t i = 0; i < count; i++) {
        const bf16* upper = x + i * 2 * P * TILE;
        float* to = logits_ + i * PAIR * width_ + q * PAIR;
        clear_block();
        multiply<Keep::left>(upper, upper + P * TILE, o_.forward_weights + q * P * 2 * TILE, P);
        _tile_stored(0, to, width_ * 4);
        _tile_stored(1, to + LANES, width_ * 4);
        _tile_stored(2, to + 16 * width_, width_ * 4);
        _tile_stored(3, to + 16 * width_ + LANES, width_ * 4);
        memory_fence();
      }
  }

  // One block of 32 rows: their nats; in training their logits' gradients as row tiles `d` and as token tiles.
  void softmax(int64_t rb, float* logits, bf16* d) {
    const int64_t first = o_.x.first_row(rb), rows = o_.x.rows_in(rb);
    for (int64_t r = 0; r < rows; r++) row(first + r, logits + r * width_);
    if (!o_.tokens) return;
    clear(logits + rows * width_, (PAIR - rows) * width_ * 4);
    for (int64_t q = 0; q < o_.Q; q++)
      for (int half = 0; half < 2; half++)
        for (int i = 0; i < 16; i++) {
          const float* at = logits + 2 * i * width_ + q * PAIR;
          Vec a = load(at + half * LANES), b = load(at + width_ + half * LANES);
          store(o_.tokens + ((q * o_.tokens_pitch + rb - o_.first_block) * 2 + half) * TILE + i * 32, joined(a, b));
          const int r = half * 16 + i;  // the row tiles on the way
          const float* whole = logits + r * width_ + q * PAIR;
          store(d + (half * o_.Q + q) * TILE + i * 32, joined(load(whole), load(whole + LANES)));
        }
  }

  // Logits in, gradients out.
  void row(int64_t r, float* l) {
    Vec most = all(-1e30f);
    for (int64_t c = 0; c < width_; c += LANES) {
      Vec x = _mm512_mask_add_ps(all(-1e30f), first_lanes(o_.V - c), load(l + c), load(o_.bias + c));
      store(l + c, x);
      most = _mm512_max_ps(x, most);
    }
    if (o_.logits)
      for (int64_t c = 0; c < o_.V; c += LANES) store_plain(load(l + c), o_.logits + r * o_.V + c, o_.V - c);
    if (!o_.targets) return;
    const float top = _mm512_reduce_max_ps(most), at_target = l[o_.targets[r]];
    Vec sum = zeros();
    for (int64_t c = 0; c < width_; c += LANES) {
      Vec e = power_of_two(_mm512_mul_ps(_mm512_sub_ps(load(l + c), all(top)), all(LOG2_E)));
      store(l + c, e);
      sum = _mm512_add_ps(sum, e);
    }
    const float total = _mm512_reduce_add_ps(sum);
    o_.nats[r] = __builtin_logf(total) + top - at_target;
    if (!o_.tokens) return;
    const float weight = o_.weights ? o_.scale * o_.weights[r] : o_.scale;
    for (int64_t c = 0; c < width_; c += LANES) store(l + c, _mm512_mul_ps(load(l + c), all(weight / total)));
    l[o_.targets[r]] -= weight;
  }

  // d x = d W of `count` blocks of rows, in runs of the sum over symbols.
  void back(int64_t first, int64_t count) {
    const int64_t Q = o_.Q, P = o_.P;
    for (int64_t k = 0; k < Q; k += PANEL_TILES) {
      const int64_t steps = Q - k < PANEL_TILES ? Q - k : PANEL_TILES;
      for (int64_t p = 0; p < P; p++)
        for (int64_t i = 0; i < count; i++) {
          const bf16* upper = d_ + (i * 2 * Q + k) * TILE;
          float* sums = sums_ + (i * P + p) * 4 * SQUARE;
          if (k) load_block(contiguous(sums));
          else clear_block();
          multiply<Keep::left>(upper, upper + Q * TILE, o_.backward_weights + (p * Q + k) * 2 * TILE, steps);
          store_block(contiguous(sums));
        }
    }
    for (int64_t i = 0; i < count; i++)
      for (int64_t p = 0; p < P; p++)
        for (int r = 0; r < PAIR; r++) {
          const float* sums = sums_ + (i * P + p) * 4 * SQUARE;
          const int64_t rb = first + i;
          Vec v[2] = {load(sums + in_block(r, 0)), load(sums + in_block(r, 1))};
          if (o_.kept.on() && r < o_.x.rows_in(rb))
            for (int half = 0; half < 2; half++) v[half] = dropped(o_.kept, o_.x.first_row(rb) + r, 2 * p + half, v[half]);
          store(o_.d_x.data + ((rb * 2 + (r >> 4)) * P + p) * TILE + (r & 15) * 32, joined(v[0], v[1]));
        }
  }

  const OutputPass& o_;
  const int64_t width_;
  float *logits_, *sums_;
  bf16 *d_, *dropped_;
};

}  // namespace

int64_t output_scratch(int64_t Q, int64_t P) { return group_size(Q, P) * PAIR * PAIR * (Q + P); }
int64_t output_tiles(int64_t Q, int64_t P) { return group_size(Q, P) * (Q + P) * 2 * TILE; }

void output_pass(const OutputPass& pass, int thread, int threads) {
  TileRegisters registers;
  const Part part = part_of(pass.last_block - pass.first_block, thread, threads);
  const int64_t group = group_size(pass.Q, pass.P);
  Rows rows(pass, thread);
  for (int64_t i = part.first; i < part.last; i += group)
    rows.run(pass.first_block + i, part.last - i < group ? part.last - i : group);
}

// A word of a column holds two rows: element r of 32 is row r. Bits of rows beyond a step's last fall on padding.
void drop_turned(const OutputPass& pass, const TurnedTiles& from, const TurnedTiles& to, int thread, int threads) {
  const Part part = part_of(2 * pass.P, thread, threads);
  const Vec scale = all(pass.kept.scale);
  for (int64_t c = part.first; c < part.last; c++)
    for (int64_t i = 0; i < pass.last_block - pass.first_block; i++) {
      const int64_t row = pass.x.first_row(pass.first_block + i);
      const Words bits = _mm512_loadu_si512(pass.kept.bits + c * pass.kept.pitch + row);
      for (int l = 0; l < LANES; l++) {
        const Words w = words(from.data + (c * from.pitch + i) * TILE + l * 32);
        const __mmask32 kept = _mm512_test_epi16_mask(bits, _mm512_set1_epi16(static_cast<short>(1 << l)));
        store(to.data + (c * to.pitch + i) * TILE + l * 32,
              _mm512_maskz_mov_epi16(kept, joined(_mm512_mul_ps(low(w), scale), _mm512_mul_ps(high(w), scale))));
      }
    }
}

}  // namespace rhapsode::amx

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
      : o_(o), R_(o.x.blocks_a_step()), width_(o.Q * PAIR), logits_(o.scratch + thread * output_scratch(o.Q, o.P)),
        sums_(logits_ + group_size(o.Q, o.P) * PAIR * width_), d_(o.tile_scratch + thread * output_tiles(o.Q)) {}

  void run(int64_t first, int64_t count) {
    multiply_logits(first, count);
    for (int64_t i = 0; i < count; i++) softmax(first + i, logits_ + i * PAIR * width_, d_ + i * o_.Q * 2 * TILE);
    if (o_.tokens) back(first, count);
  }

 private:
  // Rows of logits of width_, without bias.
  void multiply_logits(int64_t first, int64_t count) {
    const int64_t P = o_.P;
    for (int64_t q = 0; q < o_.Q; q++)
      for (int64_t i = 0; i < count; i++) {
        const bf16* upper = o_.x.data + (first + i) * 2 * P * TILE;
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
    const int64_t t = rb / R_, first = rb % R_ * PAIR;
    const int rows = static_cast<int>(o_.x.B - first < PAIR ? o_.x.B - first : PAIR);
    for (int r = 0; r < rows; r++) row(t * o_.x.B + first + r, logits + r * width_);
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
          const int64_t rb = first + i, b = rb % R_ * PAIR + r;
          Vec v[2] = {load(sums + in_block(r, 0)), load(sums + in_block(r, 1))};
          if (o_.kept.on() && b < o_.x.B)
            for (int half = 0; half < 2; half++) v[half] = dropped(o_.kept, rb / R_ * o_.x.B + b, 2 * p + half, v[half]);
          store(o_.d_x.data + ((rb * 2 + (r >> 4)) * P + p) * TILE + (r & 15) * 32, joined(v[0], v[1]));
        }
  }

  const OutputPass& o_;
  const int64_t R_, width_;
  float *logits_, *sums_;
  bf16* d_;
};

}  // namespace

int64_t output_scratch(int64_t Q, int64_t P) { return group_size(Q, P) * PAIR * PAIR * (Q + P); }
int64_t output_tiles(int64_t Q) { return 8 * Q * 2 * TILE; }

void output_pass(const OutputPass& pass, int thread, int threads) {
  TileRegisters registers;
  const Part part = part_of(pass.last_block - pass.first_block, thread, threads);
  const int64_t group = group_size(pass.Q, pass.P);
  Rows rows(pass, thread);
  for (int64_t i = part.first; i < part.last; i += group)
    rows.run(pass.first_block + i, part.last - i < group ? part.last - i : group);
}

}  // namespace rhapsode::amx

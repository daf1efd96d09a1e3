#include "dense.h"

#include "product.h"
#include "scan_parts.h"
#include "weave.h"

namespace rhapsode::amx {
namespace {

// How many pairs of columns' weights, of `steps` tiles each, stay in half of the second-level cache.
int64_t resident_pairs(int64_t steps) {
  int64_t n = (1 << 20) / (steps * 2 * TILE * int64_t{sizeof(bf16)});
  return n < 1 ? 1 : n;
}

// Columns [column, column + 16) of row (t, b), if panels reach that far.
RHAPSODE_INLINE Vec from_panels(const ConstPanels& p, int64_t row, int64_t column) {
  if (column >= p.count() * p.width) return zeros();
  return _mm512_loadu_ps(p.data + column / p.width * p.stride + row * p.width + column % p.width);
}

// Of each row of a block of `to` its place among the rows of `from`; -1 for padding.
void find_rows(const RowTiles& from, const RowTiles& to, int64_t block, int64_t* places) {
  const int64_t first = to.first_row(block), rows = to.rows_in(block);
  for (int64_t r = 0; r < PAIR; r++) places[r] = r < rows ? from.place(first + r) : -1;
}

// What to do with a finished block of a projection: two rows a piece.
struct LineJob {
  const float* sums = nullptr;
  Vec bias0, bias1;
  bf16* lines;
  int64_t pitch;
  RHAPSODE_INLINE int pieces() const { return sums ? 16 : 0; }
  RHAPSODE_INLINE void piece(int i) {
    for (int r = 2 * i; r < 2 * i + 2; r++)
      store(lines + r * pitch, joined(_mm512_add_ps(load(sums + in_block(r, 0)), bias0),
                                      _mm512_add_ps(load(sums + in_block(r, 1)), bias1)));
  }
};

// Fetches into the second-level cache what later products will need while this one runs.
struct Prefetch {
  const char *near, *end;
  RHAPSODE_INLINE void slice() {
    for (int i = 0; i < 2 && near < end; i++, near += 64) _mm_prefetch(near, _MM_HINT_T1);
  }
};

}  // namespace

void arrange(const RowTiles* from, const ConstPanels* panels, const RowTiles& to, const TurnedTiles& turned, int thread,
             int threads) {
  const int64_t P = to.width();
  const RowTiles rows = from ? *from : RowTiles{nullptr, 1, to.rows(), 0};
  const Part part = part_of(to.blocks() * P, thread, threads);
  int64_t block = -1, places[PAIR];
  alignas(64) bf16 words_of[2][TILE];
  for (int64_t item = part.first; item < part.last; item++) {
    const int64_t rb = item / P, k = item % P;
    if (rb != block) find_rows(rows, to, block = rb, places);
    auto row = [&](int64_t r) __attribute__((always_inline)) {
      if (places[r] < 0) return _mm512_setzero_si512();
      if (from) return words(from->at(places[r], k));
      return joined(from_panels(*panels, places[r], k * PAIR), from_panels(*panels, places[r], k * PAIR + LANES));
    };
    for (int i = 0; i < 16; i++) {
      const Words even = row(2 * i), odd = row(2 * i + 1);
      store(to.at(rb * PAIR + 2 * i, k), even), store(to.at(rb * PAIR + 2 * i + 1, k), odd);
      if (turned.data) store_tokens(even, odd, words_of[0] + i * 32, words_of[1] + i * 32);
    }
    for (int half = 0; turned.data && half < 2; half++)
      store_transposed(words_of[half], turned.data + ((2 * k + half) * turned.pitch + rb) * TILE);
  }
}

void pack_tokens(const TokenSteps& from, bf16* to, int64_t to_pitch, int thread, int threads) {
  const RowTiles steps{nullptr, from.T, from.B, 0}, dense{nullptr, 1, steps.rows(), 0};
  const Part part = part_of(dense.blocks() * from.pairs, thread, threads);
  int64_t block = -1, places[PAIR];
  for (int64_t item = part.first; item < part.last; item++) {
    const int64_t rb = item / from.pairs, q = item % from.pairs;
    if (rb != block) find_rows(steps, dense, block = rb, places);
    const bf16* tiles = from.tiles + q * from.pitch * 2 * TILE;
    for (int half = 0; half < 2; half++)
      for (int i = 0; i < 16; i++) {
        auto line = [&](int64_t place) { return words(tiles + (place / PAIR * 2 + half) * TILE + place % PAIR / 2 * 32); };
        const int64_t even = places[2 * i], odd = places[2 * i + 1];
        Words word;
        if (even >= 0 && even % 2 == 0 && odd == even + 1) {  // the source's word is that of the same two rows
          word = line(even);
        } else {
          auto row = [&](int64_t place) { return place < 0 ? zeros() : place % 2 ? high(line(place)) : low(line(place)); };
          word = joined(row(even), row(odd));
        }
        store(to + ((q * to_pitch + rb) * 2 + half) * TILE + i * 32, word);
      }
  }
}

void to_panels(const RowTiles& from, const Panels& to, int thread, int threads) {
  const int64_t P = from.width(), padded_columns = to.count() * to.width;
  const Part part = part_of(from.rows(), thread, threads);
  for (int64_t r = part.first; r < part.last; r++) {
    const int64_t place = from.place(r);
    for (int64_t k = 0; k < P; k++) {
      const Words w = words(from.at(place, k));
      for (int half = 0; half < 2; half++) {
        const int64_t c = k * PAIR + half * LANES;
        if (c < padded_columns)
          _mm512_storeu_ps(to.data + c / to.width * to.stride + r * to.width + c % to.width, half ? high(w) : low(w));
      }
    }
  }
}

void project(const RowTiles& x, const bf16* forward_weights, const float* bias, const GateColumns& columns, bf16* lines,
             int thread, int threads) {
  TileRegisters registers;
  const int64_t P = x.width(), together = columns.pairs_a_block(), rows = x.blocks() * PAIR;
  const Part part = part_of(columns.pairs_total(), thread, threads);
  const int64_t resident = resident_pairs(P);
  alignas(64) float sums[2][4 * SQUARE];
  Weave<LineJob> pending;
  int parity = 0;
  for (int64_t first = part.first; first < part.last; first += resident)
    for (int64_t rb = 0; rb < x.blocks(); rb++)
      for (int64_t q = first; q < part.last && q < first + resident; q++) {
        const bf16* upper = x.data + rb * 2 * P * TILE;
        clear_block();
        pending.spread(P);
        multiply<Keep::left>(upper, upper + P * TILE, forward_weights + q * P * 2 * TILE, P, 1, pending);
        store_block(contiguous(sums[parity]));
        pending.finish();
        LineJob job;
        job.sums = sums[parity];
        job.bias0 = load(bias + q * PAIR), job.bias1 = load(bias + q * PAIR + LANES);
        job.lines = lines + ((q / together * rows + rb * PAIR) * together + q % together) * 32;
        job.pitch = together * 32;
        pending = Weave<LineJob>(job);
        parity ^= 1;
      }
  pending.finish();
}

void multiply_rows(const RowTiles& x, const bf16* weights, const RowTiles& to, int thread, int threads) {
  TileRegisters registers;
  constexpr int64_t most = 16;
  const int64_t Q = x.width(), P = to.width();
  const Part part = part_of(P, thread, threads);
  alignas(64) float sums[most][4 * SQUARE];
  for (int64_t first = part.first; first < part.last; first += most) {
    const int64_t count = part.last - first < most ? part.last - first : most;
    for (int64_t rb = 0; rb < x.blocks(); rb++) {
      for (int64_t k = 0; k < Q; k += PANEL_TILES) {
        const int64_t steps = Q - k < PANEL_TILES ? Q - k : PANEL_TILES;
        const bf16* upper = x.data + (rb * 2 * Q + k) * TILE;
        for (int64_t j = 0; j < count; j++) {
          if (k) load_block(contiguous(sums[j]));
          else clear_block();
          multiply<Keep::left>(upper, upper + Q * TILE, weights + ((first + j) * Q + k) * 2 * TILE, steps);
          store_block(contiguous(sums[j]));
        }
      }
      for (int64_t j = 0; j < count; j++)
        for (int r = 0; r < PAIR; r++) {
          Vec v[2] = {load(sums[j] + in_block(r, 0)), load(sums[j] + in_block(r, 1))};
          store(to.data + ((rb * 2 + (r >> 4)) * P + first + j) * TILE + (r & 15) * 32, joined(v[0], v[1]));
        }
    }
  }
}

namespace {

// DropConnect of block (q, k) of W_hh, four fp32 tiles.
RHAPSODE_INLINE void drop_block(const Kept& kept, const GateColumns& columns, int64_t q, int64_t k, const float* from,
                                float* to) {
  const int64_t together = columns.pairs_a_block();
  for (int s = 0; s < 2; s++) {
    const int64_t column = q % together * 2 + s, gate = column / columns.halves;
    const int64_t unit_block = q / together * columns.halves + column % columns.halves;
    for (int kk = 0; kk < 2; kk++)
      for (int l = 0; l < LANES; l++) {
        const int64_t row = (k * PAIR + kk * LANES + l) * columns.gates + gate, at = (kk * 2 + s) * SQUARE + l * LANES;
        store(to + at, dropped(kept, row, unit_block, load(from + at)));
      }
  }
}

// The sums of pair q of columns over tiles [begin, end) of 32 rows.
void add_rows(const RowSums& s, int64_t q, int64_t begin, int64_t end) {
  const int64_t together = s.columns.pairs_a_block();
  float* gradient = s.gradient + (q / together * s.symbols * together + q % together) * PAIR;
  const bf16* from = s.d.tiles + s.d.source(q) * s.d.pitch * 2 * TILE;
  auto line = [&](int64_t symbol) { return gradient + symbol * together * PAIR; };
  if (!s.accumulate && begin == 0)
    for (int64_t v = 0; v < s.symbols; v++) store(line(v), zeros()), store(line(v) + LANES, zeros());
  auto add_to_line = [&](int64_t row, Vec d0, Vec d1) __attribute__((always_inline)) {
    float* at = line(s.lines[row]);
    const Vec factor = all(s.factors ? s.factors[row] : 1.0f);
    store(at, _mm512_fmadd_ps(d0, factor, load(at)));
    store(at + LANES, _mm512_fmadd_ps(d1, factor, load(at + LANES)));
  };
  Vec sum[2] = {zeros(), zeros()};
  for (int64_t rb = begin; rb < end; rb++) {
    const int64_t rows = s.shape.rows_in(rb);
    const bf16* tiles = from + rb * 2 * TILE;
    for (int i = 0; 2 * i < rows; i++) {
      const Words w0 = words(tiles + i * 32), w1 = words(tiles + TILE + i * 32);
      if (s.lines) {
        add_to_line(rb * PAIR + 2 * i, low(w0), low(w1));
        add_to_line(rb * PAIR + 2 * i + 1, high(w0), high(w1));
      } else {
        sum[0] = _mm512_add_ps(sum[0], _mm512_add_ps(low(w0), high(w0)));
        sum[1] = _mm512_add_ps(sum[1], _mm512_add_ps(low(w1), high(w1)));
      }
    }
  }
  if (!s.lines)
    for (int half = 0; half < 2; half++) store(gradient + half * LANES, _mm512_add_ps(load(gradient + half * LANES), sum[half]));
}

// One pair q of columns and pairs of inputs [inputs.first, inputs.last) of a weight gradient, over tiles [begin, end). A run
// of d stays in the first-level cache while all of x passes by.
void add_column(const WeightGradient& w, int64_t q, Part inputs, int64_t begin, int64_t end, Prefetch& fetch) {
  float* gradient = w.gradient + q * w.P * GRAIN;
  // What is there went through the mask already, and will again: take its factor out first.
  if (w.accumulate && w.dropconnect.on() && begin == 0)
    for (int64_t i = inputs.first * GRAIN; i < inputs.last * GRAIN; i += LANES)
      store(gradient + i, _mm512_mul_ps(load(gradient + i), all(1 / w.dropconnect.scale)));
  for (int64_t k = begin; k < end; k += PANEL_TILES) {
    const int64_t steps = end - k < PANEL_TILES ? end - k : PANEL_TILES;
    const bf16* right = w.d.tiles + (w.d.source(q) * w.d.pitch + k) * 2 * TILE;
    for (int64_t p = inputs.first; p < inputs.last; p++) {
      const bf16* left = w.x.data + (2 * p * w.x.pitch + k) * TILE;
      if (k == 0 && !w.accumulate) clear_block();
      else load_block(contiguous(gradient + p * GRAIN));
      multiply<Keep::right>(left, left + w.x.pitch * TILE, right, steps, 1, fetch);
      store_block(contiguous(gradient + p * GRAIN));
    }
  }
  if (w.dropconnect.on() && end == w.tiles)
    for (int64_t p = inputs.first; p < inputs.last; p++)
      drop_block(w.dropconnect, w.columns, q, p, gradient + p * GRAIN, gradient + p * GRAIN);
}

}  // namespace

void row_sums(const RowSums& s, int thread, int threads) {
  const Part part = part_of(s.columns.pairs_total(), thread, threads);
  for (int64_t q = part.first; q < part.last; q++) add_rows(s, q, 0, s.shape.blocks());
}

// The longer side of the matrix is shared out among the threads. What comes from beyond the second-level cache decides the
// time, so a panel of x of 1 MB stays there while all columns of d pass by, each fetched while the one before is at work.
void weight_gradient(const WeightGradient& w, int thread, int threads) {
  constexpr int64_t rows = 64, width = (1 << 20) / (rows * 2 * TILE * int64_t{sizeof(bf16)});  // of the panel, in tiles and pairs
  TileRegisters registers;
  const int64_t run = w.last_gate - w.first_gate, count = w.Q / w.columns.gates * run;
  auto pair_of = [&](int64_t i) { return i / run * w.columns.gates + w.first_gate + i % run; };
  const bool by_columns = w.Q >= w.P;
  const Part sums = part_of(count, thread, threads), columns = by_columns ? sums : Part{0, count};
  const Part all_inputs = by_columns ? Part{0, w.P} : part_of(w.P, thread, threads);
  for (int64_t begin = 0; begin < w.tiles; begin += rows) {
    const int64_t end = w.tiles - begin < rows ? w.tiles : begin + rows;
    for (int64_t first = all_inputs.first; first < all_inputs.last; first += width) {
      const Part inputs{first, all_inputs.last - first < width ? all_inputs.last : first + width};
      for (int64_t i = columns.first; i < columns.last; i++) {
        const int64_t q = pair_of(i), next = i + 1 < columns.last ? pair_of(i + 1) : q;
        if (w.sums && first == all_inputs.first && i >= sums.first && i < sums.last) add_rows(*w.sums, q, begin, end);
        const bf16* near = w.d.tiles + (w.d.source(next) * w.d.pitch + begin) * 2 * TILE;
        Prefetch fetch{reinterpret_cast<const char*>(near), reinterpret_cast<const char*>(near + (end - begin) * 2 * TILE)};
        add_column(w, q, inputs, begin, end, fetch);
      }
    }
  }
}

void pack_weights(const float* values, int64_t first, int64_t last, const WeightTiles& to, const Kept& dropconnect,
                  const GateColumns& columns) {
  alignas(64) float masked[GRAIN];
  for (int64_t at = first; at < last; at += GRAIN) {
    const int64_t q = at / GRAIN / to.P, k = at / GRAIN % to.P;
    const float* block = values + at;
    if (dropconnect.on()) {
      drop_block(dropconnect, columns, q, k, block, masked);
      block = masked;
    }
    auto row = [&](int kk, int s, int l) { return rounded(load(block + (kk * 2 + s) * SQUARE + l * LANES)); };
    for (int s = 0; s < 2; s++)
      for (int l = 0; l < LANES; l++)
        store(to.forward + ((q * to.P + k) * 2 + s) * TILE + l * 32, joined(row(0, s, l), row(1, s, l)));
    for (int kk = 0; kk < 2; kk++) {
      Words r[16];
      for (int l = 0; l < LANES; l++) r[l] = joined(row(kk, 0, l), row(kk, 1, l));
      transpose(r);
      for (int l = 0; l < LANES; l++) store(to.backward + ((k * to.Q + q) * 2 + kk) * TILE + l * 32, r[l]);
    }
  }
}

void pack_lines(const float* values, int64_t first, int64_t last, bf16* lines) {
  for (int64_t at = first; at < last; at += PAIR)
    store(lines + at, joined(load(values + at), load(values + at + LANES)));
}

void scaled_lines(const bf16* table, int64_t symbols, const int32_t* lines, const float* factors, int64_t rows,
                  const GateColumns& columns, bf16* to, int thread, int threads) {
  const int64_t together = columns.pairs_a_block(), blocks = columns.pairs_total() / together;
  const Part part = part_of(rows, thread, threads);
  for (int64_t block = 0; block < blocks; block++)
    for (int64_t r = part.first; r < part.last; r++)
      for (int64_t p = 0; p < together; p++) {
        Words w = words(table + ((block * symbols + lines[r]) * together + p) * 32);
        Vec factor = all(factors[r]);
        store(to + ((block * rows + r) * together + p) * 32,
              joined(_mm512_mul_ps(low(w), factor), _mm512_mul_ps(high(w), factor)));
      }
}

}  // namespace rhapsode::amx

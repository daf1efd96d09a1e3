// The engine's kernels for AMX beside AVX-512 with VNNI and BF16. See native/README.md for what may not stand here.
//
// int8: single rows by VNNI, batches by tiles: integer sums are exact, so both give the same. bf16: a single row is too
// little for tiles to pay and their sums round in another order, so that all rows go the way of single ones.
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "engine/kernels.h"

#define RHAPSODE_VEC_AVX512
namespace rhapsode::engine {
namespace {
#include "vec.h"
#include "engine/avx512.inc"
#include "engine/vnni.inc"
#include "engine/kernels.inc"

// ---- inputs in bf16 --------------------------------------------------------------------------------------------------

void prepare_bf16(const float* x, int64_t ld, int64_t rows, int64_t inputs, int64_t steps, Operand out) {
  for (int64_t r = 0; r < rows; r++, x += ld) {
    uint8_t* to = out.data + r * out.stride;
    for (int64_t k = 0; k < steps * 2; k += 16) {
      int64_t left = inputs - k;
      __mmask16 mask = left >= 16 ? 0xffff : left <= 0 ? 0 : static_cast<__mmask16>((1u << left) - 1);
      __m512 v = _mm512_maskz_loadu_ps(mask, x + k);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 2 * k), (__m256i)_mm512_cvtneps_pbh(v));
    }
  }
}

// ---- tiles -----------------------------------------------------------------------------------------------------------

constexpr int64_t TILE_ROWS = 16;
constexpr int64_t LEAST_ROWS = 5;  // in int8: below, single rows are faster

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// (GCC 12's _tile_loadconfig tells the compiler of 8 of the 64 bytes.)
void begin() {
  const TileConfig config;
  __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

void end() { _tile_release(); }

// Tile c += tile a (inputs) times tile b (weights). (The intrinsics take literal numbers only.)
#define RHAPSODE_MULTIPLY(c, a, b)              \
  do {                                          \
    if (Type::BF16) _tile_dpbf16ps(c, a, b);    \
    else _tile_dpbusd(c, a, b);                 \
  } while (0)

struct Int8Tiles {
  static constexpr bool BF16 = false;
  // Outputs from `output` on of one row, from what a tile holds of it.
  static RHAPSODE_INLINE F result(const PackedMatrix& m, int64_t output, const void* sums, Operand x, int64_t row) {
    const __m512i s = _mm512_sub_epi32(_mm512_load_si512(sums), _mm512_loadu_si512(m.sums.data() + output));
    return F{_mm512_cvtepi32_ps(s)} * (load(m.scale.data() + output) * all(x.scale[row]));
  }
};

struct Bf16Tiles {
  static constexpr bool BF16 = true;
  static RHAPSODE_INLINE F result(const PackedMatrix&, int64_t, const void* sums, Operand, int64_t) {
    return load(static_cast<const float*>(sums));
  }
};

// 16 or 32 rows by 1 or 2 lines of a group: tiles 0-3 add up, 4-5 hold inputs, 6-7 weights. Weights are loaded past the L1
// cache, which so keeps the inputs.
template <class Type, int ROW_TILES, int LINES>
RHAPSODE_INLINE void tiles(const PackedMatrix& m, int64_t group, int64_t line, Operand x, int64_t row, int32_t* sums) {
  const int64_t stride = m.lines_in(group) * STEP_BYTES;
  const Range used = m.used_by(group, 1);
  const uint8_t* w = m.group(group) + used.first * stride + line * STEP_BYTES;
  const uint8_t* in = x.data + row * x.stride + used.first * 4;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t k = used.first; k < used.last; k += 16, w += 16 * stride, in += 64) {
    _tile_loadd(4, in, x.stride);
    _tile_stream_loadd(6, w, stride);
    RHAPSODE_MULTIPLY(0, 4, 6);
    if (LINES > 1) _tile_stream_loadd(7, w + STEP_BYTES, stride);
    if (LINES > 1) RHAPSODE_MULTIPLY(1, 4, 7);
    if (ROW_TILES > 1) _tile_loadd(5, in + TILE_ROWS * x.stride, x.stride);
    if (ROW_TILES > 1) RHAPSODE_MULTIPLY(2, 5, 6);
    if (ROW_TILES > 1 && LINES > 1) RHAPSODE_MULTIPLY(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  if (LINES > 1) _tile_stored(1, sums + 256, 64);
  if (ROW_TILES > 1) _tile_stored(2, sums + 512, 64);
  if (ROW_TILES > 1 && LINES > 1) _tile_stored(3, sums + 768, 64);
}

// What tiles hold of up to 32 rows and 2 lines goes to y.
template <class Type>
RHAPSODE_INLINE void give_out(const PackedMatrix& m, int64_t group, int64_t line, int lines, const int32_t* sums, Operand x,
                              int64_t row, int64_t rows, const float* const* base, float* y, int64_t ld) {
  const int64_t first = (group * GROUP + line) * LINE;
  for (int l = 0; l < lines; l++) {
    for (int64_t r = 0; r < rows; r++) {
      F value = Type::result(m, first + l * LINE, sums + (r / TILE_ROWS * 2 + l) * 256 + r % TILE_ROWS * 16, x, row + r);
      const float* b = base[row + r];
      store(y + (row + r) * ld + (line + l) * LINE, b ? value + load(b + first + l * LINE) : value);
    }
  }
}

// Up to 32 rows of up to 2 lines.
template <class Type>
RHAPSODE_INLINE void tile_block(const PackedMatrix& m, int64_t group, int64_t line, int lines, Operand x, int64_t row,
                                int64_t rows, const float* const* base, float* y, int64_t ld) {
  alignas(64) int32_t sums[4 * 256];
  if (rows > TILE_ROWS)
    lines > 1 ? tiles<Type, 2, 2>(m, group, line, x, row, sums) : tiles<Type, 2, 1>(m, group, line, x, row, sums);
  else
    lines > 1 ? tiles<Type, 1, 2>(m, group, line, x, row, sums) : tiles<Type, 1, 1>(m, group, line, x, row, sums);
  give_out<Type>(m, group, line, lines, sums, x, row, rows, base, y, ld);
}

template <class Type>
void product_by_tiles(const PackedMatrix& m, Range groups, Operand x, int64_t rows, const float* const* base, float* y,
                      int64_t ld) {
  for (int64_t g = groups.first; g < groups.last; g++, y += GROUP * LINE) {
    for (int64_t line = 0; line < m.lines_in(g); line += 2) {
      int lines = m.lines_in(g) - line > 1 ? 2 : 1;
      for (int64_t r = 0; r < rows; r += 2 * TILE_ROWS) {
        int64_t n = rows - r < 2 * TILE_ROWS ? rows - r : 2 * TILE_ROWS;
        tile_block<Type>(m, g, line, lines, x, r, n, base, y, ld);
      }
    }
  }
}

void product_int8(const PackedMatrix& m, Range groups, Operand x, int64_t rows, const float* const* base, float* y,
                  int64_t ld) {
  if (rows < LEAST_ROWS) product<Int8>(m, groups, x, rows, base, y, ld);
  else product_by_tiles<Int8Tiles>(m, groups, x, rows, base, y, ld);
}

// ---- split: both parts of the inputs times the larger part of the weights, the larger times the smaller --------------------

constexpr int64_t SPLIT_INPUTS = 32, TILE_BYTES = 1024;
constexpr int64_t BLOCKS_AT_ONCE = 8;  // of 32 inputs: those of 32 rows stay in the L1 cache

// Inputs as whole tiles of 16 rows: the larger parts of 32 inputs, then the smaller ones.
void prepare_split(const float* x, int64_t ld, int64_t rows, int64_t inputs, int64_t steps, Operand out) {
  for (int64_t r = 0; r < rows; r++, x += ld) {
    uint8_t* to = out.data + r / TILE_ROWS * TILE_ROWS * out.stride + r % TILE_ROWS * STEP_BYTES;
    for (int64_t k = 0; k < steps; k += 16) {
      const int64_t left = inputs - k;
      const __mmask16 mask = left >= 16 ? 0xffff : left <= 0 ? 0 : static_cast<__mmask16>((1u << left) - 1);
      const __m512 v = _mm512_maskz_loadu_ps(mask, x + k);
      const __m256i larger = (__m256i)_mm512_cvtneps_pbh(v);
      const __m512 rest = _mm512_sub_ps(v, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(larger), 16)));
      uint8_t* at = to + k / SPLIT_INPUTS * 2 * TILE_BYTES + k % SPLIT_INPUTS * 2;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), larger);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(at + TILE_BYTES), (__m256i)_mm512_cvtneps_pbh(rest));
    }
  }
}

// sums += 16 or 32 rows by 1 or 2 lines over some blocks of 32 inputs. Rows of tiles of inputs are `row_tile` bytes apart.
template <int ROW_TILES, int LINES>
RHAPSODE_INLINE void split_tiles(const uint8_t* w, int64_t stride, const uint8_t* in, int64_t row_tile, int64_t blocks,
                                 int32_t* sums) {
  _tile_loadd(0, sums, 64);
  if (LINES > 1) _tile_loadd(1, sums + 256, 64);
  if (ROW_TILES > 1) _tile_loadd(2, sums + 512, 64);
  if (ROW_TILES > 1 && LINES > 1) _tile_loadd(3, sums + 768, 64);
  for (; blocks > 0; blocks--, w += 32 * stride, in += 2 * TILE_BYTES) {
    _tile_loadd(4, in + TILE_BYTES, 64);
    _tile_stream_loadd(6, w, stride);
    _tile_dpbf16ps(0, 4, 6);
    if (LINES > 1) _tile_stream_loadd(7, w + STEP_BYTES, stride);
    if (LINES > 1) _tile_dpbf16ps(1, 4, 7);
    if (ROW_TILES > 1) _tile_loadd(5, in + row_tile + TILE_BYTES, 64);
    if (ROW_TILES > 1) _tile_dpbf16ps(2, 5, 6);
    if (ROW_TILES > 1 && LINES > 1) _tile_dpbf16ps(3, 5, 7);
    _tile_loadd(4, in, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (LINES > 1) _tile_dpbf16ps(1, 4, 7);
    if (ROW_TILES > 1) _tile_loadd(5, in + row_tile, 64);
    if (ROW_TILES > 1) _tile_dpbf16ps(2, 5, 6);
    if (ROW_TILES > 1 && LINES > 1) _tile_dpbf16ps(3, 5, 7);
    _tile_stream_loadd(6, w + 16 * stride, stride);
    _tile_dpbf16ps(0, 4, 6);
    if (LINES > 1) _tile_stream_loadd(7, w + 16 * stride + STEP_BYTES, stride);
    if (LINES > 1) _tile_dpbf16ps(1, 4, 7);
    if (ROW_TILES > 1) _tile_dpbf16ps(2, 5, 6);
    if (ROW_TILES > 1 && LINES > 1) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  if (LINES > 1) _tile_stored(1, sums + 256, 64);
  if (ROW_TILES > 1) _tile_stored(2, sums + 512, 64);
  if (ROW_TILES > 1 && LINES > 1) _tile_stored(3, sums + 768, 64);
}

// Up to 32 rows of all lines of a group.
RHAPSODE_INLINE void split_block(const PackedMatrix& m, int64_t group, Operand x, int64_t row, int64_t rows,
                                 const float* const* base, float* y, int64_t ld) {
  alignas(64) int32_t sums[GROUP / 2][4 * 256] = {};
  const int64_t lines = m.lines_in(group), stride = lines * STEP_BYTES, row_tile = TILE_ROWS * x.stride;
  const Range used = m.used_by(group, 1), blocks{used.first / 32, used.last / 32};
  for (int64_t b = blocks.first; b < blocks.last; b += BLOCKS_AT_ONCE) {
    const int64_t n = blocks.last - b < BLOCKS_AT_ONCE ? blocks.last - b : BLOCKS_AT_ONCE;
    const uint8_t* in = x.data + row * x.stride + b * 2 * TILE_BYTES;
    for (int64_t line = 0; line < lines; line += 2) {
      const uint8_t* w = m.group(group) + b * 32 * stride + line * STEP_BYTES;
      const bool two = line + 1 < lines;
      if (rows > TILE_ROWS)
        two ? split_tiles<2, 2>(w, stride, in, row_tile, n, sums[line / 2])
            : split_tiles<2, 1>(w, stride, in, row_tile, n, sums[line / 2]);
      else
        two ? split_tiles<1, 2>(w, stride, in, row_tile, n, sums[line / 2])
            : split_tiles<1, 1>(w, stride, in, row_tile, n, sums[line / 2]);
    }
  }
  for (int64_t line = 0; line < lines; line += 2)
    give_out<Bf16Tiles>(m, group, line, line + 1 < lines ? 2 : 1, sums[line / 2], x, row, rows, base, y, ld);
}

void product_split(const PackedMatrix& m, Range groups, Operand x, int64_t rows, const float* const* base, float* y,
                   int64_t ld) {
  for (int64_t g = groups.first; g < groups.last; g++, y += GROUP * LINE)
    for (int64_t r = 0; r < rows; r += 2 * TILE_ROWS)
      split_block(m, g, x, r, rows - r < 2 * TILE_ROWS ? rows - r : 2 * TILE_ROWS, base, y, ld);
}

Kernels make_amx_table() {
  Kernels table = make_table();
  table.begin = begin, table.end = end;
  table.products[static_cast<int>(WeightType::bf16)] = {4, prepare_bf16, product_by_tiles<Bf16Tiles>};
  table.products[static_cast<int>(WeightType::int8)].product = product_int8;
  table.products[static_cast<int>(WeightType::split)] = {4, prepare_split, product_split};
  return table;
}
}  // namespace

const Kernels& amx_kernels() {
  static const Kernels table = make_amx_table();
  return table;
}

}  // namespace rhapsode::engine

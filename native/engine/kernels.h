// The engine's arithmetic: plain functions over rows, one set per instruction set, which one thread runs on its part.
//
// Batch law: what a function computes for a row depends on that row alone, to the last bit, however many rows there are.
// Every output is one chain of additions in the order of the inputs, in fp32 and bf16; integer sums are exact.
//
// Letters: K inputs, H units of a layer. Rows of floats are padded to whole lines of 16; what pads them is finite and counts
// for nothing. Gates of a layer lie in the order (line of units, gate, unit in the line).
#pragma once

#include <cstdint>

#include "engine/packed.h"
#include "threads.h"

namespace rhapsode::engine {

// Inputs of a product in the form that its kernel reads, made by `prepare`.
struct Operand {
  uint8_t* data = nullptr;
  int64_t stride = 0;      // bytes from row to row
  float* scale = nullptr;  // int8: [rows], what the integers are multiplied with
};

struct Products {
  int64_t operand_bytes;  // of a step of one row

  // x [rows] rows of `width` floats, `ld` apart, of which `inputs` count; the operand has room for rows rounded up to 16.
  void (*prepare)(const float* x, int64_t ld, int64_t rows, int64_t inputs, int64_t steps, Operand out);

  // y[r] = base[r] + W x[r] for the outputs of these groups, with which rows of y begin, `ld` floats apart; base[r] has all
  // outputs, or is null.
  void (*product)(const PackedMatrix& w, Range groups, Operand x, int64_t rows, const float* const* base, float* y,
                  int64_t ld);
};

// Rows r of one time step; units are whole lines. m: the gates of these lines, rows `ld_m` apart; for gru what they receive
// from h, for mlstm from what `multiply` makes of h, and a: what they receive from the input, rows of the gates of all
// lines; element-wise cells have a alone. h_before, h, c: rows `ld` apart. own: vectors of the cell's own, likewise.
struct CellRows {
  int64_t rows;
  Range lines;
  const float* m;
  int64_t ld_m;
  const float* const* a;
  const float* h_before;
  float *h, *c;
  int64_t ld;
  const float* own;
};

// From MINGRU on: cells whose recurrence is element-wise.
enum CellIndex { RNN_TANH, RNN_RELU, GRU, LSTM, MLSTM, MOGRIFIER, MINGRU, MINLSTM, SRU, RGLRU, CELLS };

struct Kernels {
  // Around a thread's calls of the others: its matrix unit is made ready, and let go of.
  void (*begin)();
  void (*end)();
  Products products[WEIGHT_TYPES];  // split: null where there are no tiles
  void (*cell[CELLS])(const CellRows&);
  // mlstm: h = the last gate of a, times m, which has it alone.
  void (*multiply)(const CellRows&);
  // mogrifier: h = 2 sigmoid(m) * h, m having it alone.
  void (*mogrify)(const CellRows&);
  // With activation functions of lower accuracy where that is faster, for weights that are rounded.
  void (*quick_cell[CELLS])(const CellRows&);

  // y = norm of x over `width` values times weight, plus bias where there is one (LayerNorm, which centres x).
  void (*norm)(const float* x, int64_t width, const float* weight, const float* bias, float* y);
  // y = a + b, n a multiple of 16.
  void (*add)(const float* a, const float* b, float* y, int64_t n);
  // y = bias + sum over k < taps of weight_k * rows[k], weights n apart; n a multiple of 16.
  void (*convolve)(const float* const* rows, int64_t taps, const float* weight, const float* bias, float* y, int64_t n);
  // y = gelu(gate) * up for these lines of units, whose gates lie in the order (line of units, gate or up, unit).
  void (*gate)(const float* a, float* y, Range lines);
  // -log softmax(x)[target] over n logits.
  double (*nats)(const float* x, int64_t n, int64_t target);
  // x = logits of what is allowed, -inf for the rest; false if a logit is not finite. n a multiple of 16, as below.
  bool (*possible)(const float* logits, const uint8_t* allowed, double* x, int64_t n);
  // x = (x - highest x) / temperature.
  void (*cool)(double* x, double temperature, int64_t n);
  // y = exp(x), x <= 0; -inf gives 0. Relative error below 1e-15. sums: of each line of y.
  void (*exponentials)(const double* x, double* y, double* sums, int64_t n);
  // Reads bytes (a multiple of 1024) as products read weights, and does next to nothing with them: for benchmarks.
  uint32_t (*checksum)(const uint8_t* data, int64_t bytes);
};

const Kernels& plain_kernels();
#if defined(RHAPSODE_HAS_X86)
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& vnni_kernels();
#endif
#if defined(RHAPSODE_HAS_AMX)
const Kernels& amx_kernels();
#endif
#if defined(RHAPSODE_HAS_NEON)
const Kernels& neon_kernels();
#endif

// Those of the instruction set in use.
const Kernels& current_kernels();
// Whether they have products of split weights.
bool has_split();

}  // namespace rhapsode::engine

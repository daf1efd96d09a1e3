// The arithmetic of the fp32 layers: plain functions that each thread runs on its part, one set per instruction set.
//
// All matrices are column panels (panels.h) of `width` columns. A Range says which panels or rows the calling thread
// works on; functions that take a Team divide the work themselves and may wait for each other. reference.h has the
// obvious version of each.
#pragma once

#include <cstdint>

#include "layers.h"
#include "panels.h"
#include "threads.h"

namespace rhapsode {

// Of the mogrifier's recurrent matrix: W_h and W_x, of four gates each, then one matrix a round. What is kept of a unit: its
// four gates and the factors of the rounds.
namespace mogrifier {
constexpr int ROUNDS = 5, X = 4, FIRST_ROUND = 8, MATRICES = FIRST_ROUND + ROUNDS, KEPT = 4 + ROUNDS;
}

// A recurrent layer's pass over a sequence. Units are numbered in blocks of `width`; gate g of block u is panel u * G + g,
// its m-th weights are panel u * M + m; M = G but for the mogrifier.
struct Sequence {
  int64_t T, B;
  int64_t blocks;          // of units; H rounded up to blocks * width
  const float* weight;     // W_hh transposed: [blocks * M] panels of [blocks * width] rows
  const float* weight_t;   // W_hh: [blocks] panels of [blocks * M * width] rows in the order of gate columns
  const float* bias;       // gru: b_hn, [blocks * width]; mogrifier: of the gates, [blocks * 4 * width]

  // What the gates receive from the input: rows of a table, each times its factor if there are any, or the gates
  // themselves hold it when forward begins.
  const int32_t* ids;
  ConstPanels table;
  const float* factors;

  Panels gates;  // [T * B]: forward leaves activations, backward turns them into gradients of the pre-activations
  Panels x;      // mogrifier: [T * B], what is read if there are no ids; backward leaves its gradient
  Panels extra;  // gru: W_hn h + b_hn, then its gradient; mlstm: W_mh h, then its gradient
  Panels h, c;   // [(T + 1) * B]: the first B rows are the incoming state; c: lstm, mlstm and mogrifier only
  // mlstm: m [T * B], and its gradient of one step [B]. mogrifier: what comes out of each round, [T * B] after [T * B], and
  // the gradient of x of one step.
  Panels m, dm;
  const float* const* h_panels;         // panels of h, as the operand of products
  const float* const* m_panels;         // likewise
  const float* const* gradient_panels;  // the panels whose product with weight_t is the gradient of h

  ConstPanels d_output;  // [T * B]
  Panels dh, dc;         // [B]: in: gradient of the final state; out: of the incoming one, if with_state
  bool with_state;

  float* scratch;          // scratch_size(threads) floats
  int row_parts;           // threads, if they are as many, divide the batch in so many parts, and the units among the rest
};

constexpr int64_t MOST_TAPS = 64;

// A short convolution over a sequence (rhapsode.nn.blocks): K = `taps` weights a column.
struct ShortConvolution {
  int64_t T, B, taps;
  ConstPanels past;    // [(K - 1) * B]: the vectors before the first, the oldest first
  ConstPanels x;       // [T * B]
  ConstPanels weight;  // [K]
  const float* bias;   // [D padded]
};

// A pass over a sequence of a cell whose recurrence is element-wise (elementwise.inc), for some blocks of units and rows of
// the batch: no thread waits for another.
struct Elementwise {
  int64_t T, B, H;
  const float* const* vectors;  // the cell's own, [blocks * width] each

  // What the gates receive from the input: rows of a table, each times its factor if there are any, or `gates`.
  const int32_t* ids;
  ConstPanels table;
  const float* factors;

  Panels gates;   // [T * B]: pre-activations, if there are no ids; backward leaves their gradients
  Panels state;   // [(T + 1) * B]: the first B rows are the incoming state
  Panels output;  // [T * B]; where the state is the output, those rows of it

  ConstPanels d_output;       // [T * B]
  Panels d_state;             // [B]: in: gradient of the final state; out: of the incoming one
  float* d_vectors;           // [vectors][blocks * width], added to
};

struct ElementwiseKernels {
  int gates, vectors;
  bool own_output;  // whether the output is another vector than the state
  void (*forward)(const Elementwise&, Range blocks, Range rows);
  void (*backward)(const Elementwise&, Range blocks, Range rows);
};

struct Update {
  int64_t size;
  float *value, *gradient, *slot0, *slot1, *average;  // average may be null
  float clip_value;      // 0: none
  float gradient_scale;  // from clipping by norm
  float lr, decay;       // decay: weight decay, 0 for parameters that feel none
  float momentum, beta1, beta2, eps;
  bool nesterov;
  float correction1, correction2;  // 1 - beta^updates
  float averaging;
};

struct SquareSums {
  double raw, clipped;
};

enum MethodIndex { SGD, SGD_MOMENTUM, ADAGRAD, ADADELTA, RMSPROP, RMSPROP_MOMENTUM, ADAM, ADAMW, METHODS };

struct Kernels {
  int64_t width;

  // c (+)= a b (+ bias): a [rows, K], b [K, N] with K = b.rows, bias [N padded] or null; panels of c.
  void (*product)(ConstPanels a, ConstPanels b, const float* bias, bool accumulate, Panels c, Range panels);
  // c (+)= aᵀ b: a [rows, M], b [rows, N] given panel by panel; panels of c, and rows of c (first a multiple of width).
  void (*product_tn)(ConstPanels a, const float* const* b, bool accumulate, Panels c, Range panels, Range rows);

  // By CellKind: cells with a recurrent matrix, then the others.
  void (*forward[MATRIX_CELLS])(const Sequence&, const Team&);
  void (*backward[MATRIX_CELLS])(const Sequence&, const Team&);
  ElementwiseKernels elementwise[ELEMENTWISE_CELLS];
  int64_t scratch_per_thread;  // floats

  // to = fromᵀ, stretch by stretch: rows [rows.first, rows.last) of panel `panel` of from; multiples of width.
  void (*transpose)(ConstPanels from, Panels to, int64_t panel, Range rows);
  // to (+)= from masked, for a matrix of gates: row k of panel u * G + g is row k * G + g of the mask, columns of block u;
  // from.columns is G * H.
  void (*drop_weights)(ConstPanels from, Panels to, int64_t gates, const Mask& mask, bool accumulate, Range panels);

  // out = x masked, rows; row r of x is row first + r of what the mask falls on.
  void (*drop)(ConstPanels x, const Mask& mask, int64_t first, Panels out, Range rows);
  // out = a + b, rows.
  void (*add)(ConstPanels a, ConstPanels b, Panels out, Range rows);
  // out row r = row ids[r] of table; rows of out.
  void (*gather)(ConstPanels table, const int32_t* ids, Panels out, Range rows);
  // Row ids[r] of table += factors[r] * row r of d (factors null: 1), for panels.
  void (*scatter)(ConstPanels d, const int32_t* ids, const float* factors, Panels table, Range panels);
  // sums [N padded] (+)= the column sums of each panel (given one by one, `rows` rows each).
  void (*column_sums)(const float* const* x, int64_t rows, bool accumulate, float* sums, Range panels);

  // Normalise rows; statistics [rows * 2]: mean (0 for rms), 1 / deviation. weight, bias (null for rms): [N padded].
  void (*norm)(ConstPanels x, const float* weight, const float* bias, float epsilon, Panels out, float* statistics,
               Range rows);
  void (*norm_backward)(ConstPanels x, ConstPanels d_out, const float* weight, bool centred, const float* statistics,
                        Panels d_x, Range rows);
  // Gradients of weight and bias, for panels.
  void (*norm_parameters)(ConstPanels x, ConstPanels d_out, const float* statistics, bool accumulate, float* d_weight,
                          float* d_bias, Range panels);

  // out = the convolution, some steps of some panels.
  void (*convolve)(const ShortConvolution&, Panels out, Range panels, Range steps);
  // d_x and d_past from the gradients of what came out and of the last K - 1 vectors; d_after and d_past without data:
  // zeros, not wanted. Steps [0, T + K - 1) are those of past and x together.
  void (*convolve_backward)(const ShortConvolution&, ConstPanels d_out, ConstPanels d_after, Panels d_past, Panels d_x,
                            Range panels, Range steps);
  // The weights' gradient, for panels.
  void (*convolve_parameters)(const ShortConvolution&, ConstPanels d_out, bool accumulate, Panels d_weight, Range panels);

  // inner = gelu(gate) * up, rows: panel u of inner from panels 2u (gate) and 2u + 1 (up) of a.
  void (*gate)(ConstPanels a, Panels inner, Range rows);
  // a becomes its gradient, rows.
  void (*gate_backward)(Panels a, ConstPanels d_inner, Range rows);

  // nats[r] = -log softmax(logits)[r, targets[r]]; with factors, logits become factors[r] * (softmax - one-hot), rows.
  void (*softmax)(Panels logits, const int32_t* targets, const float* factors, float* nats, Range rows);

  SquareSums (*square_sums)(const float* x, int64_t size, float clip_value);
  void (*update[METHODS])(const Update&);

  // Nothing but `rounds` of fused multiply-adds, all of whose operands are in registers; the floating-point operations.
  int64_t (*multiply_adds)(int64_t rounds);
};

const Kernels& plain_kernels();
#if defined(RHAPSODE_HAS_X86)
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
#endif
#if defined(RHAPSODE_HAS_NEON)
const Kernels& neon_kernels();
#endif

// Those of the instruction set in use.
const Kernels& current_kernels();

}  // namespace rhapsode

// One layer's pass over a whole sequence, forward and backward, of a cell whose recurrence is element-wise: what the
// kernels in elementwise_scan.cpp are given. Letters and formats: scan.h. The gates of 32 units make a block of G pairs.
#pragma once

#include <cstdint>

#include "gate_input.h"

namespace rhapsode::amx {

struct ElementwiseScan {
  int64_t T, B, H;
  GateLines gates;
  const float* vectors;  // the cell's own, [vectors][32P]

  bf16* state;   // row tiles [(T + 1) * 2R][P], of which the first 32R rows are the state before
  bf16* output;  // row tiles [T * 2R][P]; where the state is the output, those rows of it
  bf16* turned;  // turned tiles [2P][turned_pitch] of the output; null without training
  int64_t turned_pitch;
  const float* state_in;  // plain [B, H]
  float* state_out;

  // Backward.
  const bf16* d_output;       // row tiles [T * 2R][P]
  const float* d_state_out;   // plain [B, H], or null for zeros
  float* d_state_in;          // plain [B, H], or null if nobody asks
  bf16* d_tokens;             // token tiles [Q][tokens_pitch][2]
  int64_t tokens_pitch;
  bf16* d_rows;               // row tiles [T * 2R][Q], or null (tables)
  float* d_vectors;           // [R][vectors][32P]: sums of each block of 32 rows, overwritten
};

// Part of `thread` of `threads`, which do not wait for each other.
struct ElementwiseScanKernels {
  int gates, vectors;
  bool own_output;
  void (*forward)(const ElementwiseScan&, int thread, int threads);
  void (*backward)(const ElementwiseScan&, int thread, int threads);
};

extern const ElementwiseScanKernels elementwise_scans[ELEMENTWISE_CELLS];

}  // namespace rhapsode::amx

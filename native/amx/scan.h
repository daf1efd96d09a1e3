// One layer's recurrence over a whole sequence on AMX, forward and backward: what the kernels in scan_*.cpp are given.
//
// Sizes: T steps, B sequences, H hidden; P = pairs(H), Q = gates * P pairs of gate columns, R = pairs(B) blocks of 32
// rows. Formats: formats.h. All arrays are zero where they are padding, and stay so.
#pragma once

#include <cstdint>

#include "formats.h"

namespace rhapsode::amx {

// How far one thread has come; the others watch it.
struct alignas(64) Progress {
  int32_t value = 0;
};

// Wait until `progress` has reached `value`: spins, and gives way to others when that takes long.
void wait_until(const Progress& progress, int32_t value);

struct Scan {
  int64_t T, B, H;

  // What enters the gates beside the recurrence: lines of pre-activations [block][line_rows][pairs of a block][32], of
  // which row r = t * 32R + b uses number lines[r]. For a table that is the row of the symbol, for vectors r itself.
  const bf16* input;
  int64_t line_rows;
  const int32_t* lines;
  const float* bias;  // b_hn of the gru, [32P], else null

  const bf16* forward_weights;   // weight tiles [Q][P][2]
  const bf16* backward_weights;  // weight tiles [P][Q][2]

  bf16* h;        // row tiles [(T + 1) * 2R][P]; the first 32R rows are the state before
  bf16* turned;   // turned tiles [2P][turned_pitch] of the same, of which (T + 1) * R are used; null without training
  int64_t turned_pitch;
  float* carry;   // [2P][32R][16]: c (lstm, mlstm) or h (others) of the last step
  bf16* saved;    // [T][block][32R][lines a block][32]: what the cell keeps for backward; null without training
  bf16* history;  // [T + 1][2P][16R][32]: c of lstm and mlstm, words (row 2p, row 2p + 1); else null

  const float *h_in, *c_in;  // plain [B, H]
  float *h_out, *c_out;      // plain [B, H]; null if nobody asks

  // Backward.
  const bf16* d_output;               // row tiles [T * 2R][P], or null for zeros
  const float *d_h_out, *d_c_out;     // plain [B, H], or null for zeros
  float *d_h_in, *d_c_in;             // plain [B, H], or null if nobody asks
  float* d_carry;                     // [2P][32R][16]
  bf16* d_gates[2];                   // row tiles [2R][Q] of this step and the next
  bf16* d_tokens;                     // token tiles [Q (gru, mlstm: Q + P)][tokens_pitch][2], of which T * R are used
  int64_t tokens_pitch;
  bf16* d_rows;                       // row tiles [T * 2R][Q] of the input's part of the gates, or null (tables)
  int shares;                         // the units are dealt out in so many; dh is the sum of what each share gives to it
  float* exchange[2];                 // [shares][P][R][1024]: what a share gives to the units of others

  // mlstm: the first stage of each step, whose h is m. It shares all but h, turned, saved and what comes from outside.
  const Scan* factor;

  Progress* progress;  // [threads], zero at the start of each call
};

// Part of `thread` of `threads`. All of them must call, inside one parallel(). Threads that are fewer than the shares of the
// backward pass take several of them each.
struct ScanKernels {
  void (*forward)(const Scan&, int thread, int threads);
  void (*backward)(const Scan&, int thread, int threads);
  int gates, halves, saved_lines;  // saved_lines: of 64 bytes, a row and block
  bool carries, history;
  int token_gates;  // gates + 1 where the input's gradient of the last gate differs from the recurrence's (gru, mlstm)
  int factor_lines; // as saved_lines, of the first stage; 0 where there is but one
};
extern const ScanKernels scan_lstm, scan_mlstm, scan_gru, scan_rnn_tanh, scan_rnn_relu;

}  // namespace rhapsode::amx

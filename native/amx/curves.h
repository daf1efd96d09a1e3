// Sigmoid and tanh as tables of parabolas.
//
// While the matrix unit works, floating-point vector instructions can issue on one port only instead of two (measured;
// docs/LOG.md), but permutations and integer instructions still have the other. So the cells' nonlinearities look up
// the coefficients of a parabola with three permutations and evaluate it with two multiplications and additions, where
// an exponential and a division would take ten floating-point instructions.
//
// Segment i of 32 has its middle at i * width and reaches half a width to both sides; its parabola passes through the
// function at the three Chebyshev nodes. For sigmoid i is -16 … 15, stored modulo 32, and the error at most 8e-5; tanh is
// odd, i is 0 … 31, and the error at most 8e-5: a twentieth of the rounding to bf16 that follows. Outside the table the
// end value holds, just inside the last segment (its very end would be rounded into the next one, which stands for -16):
// σ(±7.745) = 0.5 ± 0.49957, tanh(±6.2) = ±0.99999. tanh(0) is exactly 0, so padding stays zero.
#pragma once

namespace rhapsode::amx {

constexpr float SIGMOID_WIDTH = 0.5f, SIGMOID_END = 15.49f * SIGMOID_WIDTH;
constexpr float TANH_WIDTH = 0.2f, TANH_END = 31 * TANH_WIDTH;

struct alignas(64) Parabolas {
  float square[32], linear[32], constant[32];
};

extern const Parabolas sigmoid_curve, tanh_curve;

}  // namespace rhapsode::amx

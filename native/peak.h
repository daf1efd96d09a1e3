// The most that this machine's arithmetic can do: what the speed of training is measured against.
#pragma once

#include "layers.h"

namespace rhapsode {

// Floating-point operations a second of all threads of the pool, over about `seconds` of nothing but the instructions
// that products of this precision are made of, on operands in registers.
double measured_peak(Precision precision, double seconds);

}  // namespace rhapsode

// The kernels for AVX2 with FMA. Compiled with that instruction set's flags: see README.md for what may not stand here.
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels.h"

#define RHAPSODE_VEC_AVX2
namespace rhapsode {
namespace {
#include "vec.h"
#include "kernels.inc"
}  // namespace

const Kernels& avx2_kernels() { return table; }

}  // namespace rhapsode

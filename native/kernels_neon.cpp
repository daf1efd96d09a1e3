// The kernels for Arm NEON. Compiled with that instruction set's flags: see README.md for what may not stand here.
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "kernels.h"

#define RHAPSODE_VEC_NEON
namespace rhapsode {
namespace {
#include "vec.h"
#include "kernels.inc"
}  // namespace

const Kernels& neon_kernels() { return table; }

}  // namespace rhapsode

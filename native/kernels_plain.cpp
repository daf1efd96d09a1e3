// The kernels for any processor. Compiled with that instruction set's flags: see README.md for what may not stand here.
#include <math.h>
#include <string.h>

#include "kernels.h"

#define RHAPSODE_VEC_PLAIN
namespace rhapsode {
namespace {
#include "vec.h"
#include "kernels.inc"
}  // namespace

const Kernels& plain_kernels() { return table; }

}  // namespace rhapsode

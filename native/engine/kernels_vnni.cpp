// The engine's kernels for AVX-512 with VNNI. See native/README.md for what may not stand here.
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
}  // namespace

const Kernels& vnni_kernels() {
  static const Kernels table = make_table();
  return table;
}

}  // namespace rhapsode::engine

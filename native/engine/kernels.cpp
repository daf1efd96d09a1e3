#include "engine/kernels.h"

#include "isa.h"

namespace rhapsode::engine {

const Kernels& current_kernels() {
  switch (current_isa()) {
#if defined(RHAPSODE_HAS_X86)
    case Isa::amx:
#if defined(RHAPSODE_HAS_AMX)
      if (has_int8_tiles()) return amx_kernels();
#endif
      return vnni_kernels();
    case Isa::avx512: return has_vnni() ? vnni_kernels() : avx512_kernels();
    case Isa::avx2: return avx2_kernels();
#endif
#if defined(RHAPSODE_HAS_NEON)
    case Isa::neon: return neon_kernels();
#endif
    default: return plain_kernels();
  }
}

bool has_split() { return current_kernels().products[static_cast<int>(WeightType::split)].product; }

}  // namespace rhapsode::engine

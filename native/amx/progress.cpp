#include "scan.h"

#include <immintrin.h>

#include <thread>

namespace rhapsode::amx {

void wait_until(const Progress& progress, int32_t value) {
  constexpr int spins_before_yield = 500;  // some 20 µs, several times a usual wait
  for (int i = 0; __atomic_load_n(&progress.value, __ATOMIC_ACQUIRE) < value; i++) {
    if (i < spins_before_yield) _mm_pause();
    else std::this_thread::yield();
  }
}

}  // namespace rhapsode::amx

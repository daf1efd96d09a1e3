#include "scan.h"

#include "threads.h"

namespace rhapsode::amx {

void wait_until(const Progress& progress, int32_t value) {
  for (int i = 0; __atomic_load_n(&progress.value, __ATOMIC_ACQUIRE) < value; i++) wait_a_moment(i);
}

}  // namespace rhapsode::amx

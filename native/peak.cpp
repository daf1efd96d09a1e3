#include "peak.h"

#include <chrono>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "threads.h"

#if defined(RHAPSODE_HAS_AMX)
#include "amx/peak.h"
#endif

namespace rhapsode {
namespace {

using Busy = int64_t (*)(int64_t rounds);

Busy busy_in(Precision precision) {
#if defined(RHAPSODE_HAS_AMX)
  if (precision == Precision::bf16) return amx::tile_products;
#endif
  (void)precision;  // bf16 elsewhere is refused by supports()
  return current_kernels().multiply_adds;
}

}  // namespace

double measured_peak(Precision precision, double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t rounds = 10000;  // a fraction of a millisecond
  const Busy busy = busy_in(precision);
  const auto seconds_since = [](Clock::time_point begun) {
    return std::chrono::duration<double>(Clock::now() - begun).count();
  };
  Buffer<double> speeds(thread_count() * 8);  // a cache line each
  parallel([&](const Team& team) {
    busy(rounds);
    team.barrier();
    int64_t operations = 0;
    const auto begun = Clock::now();
    while (seconds_since(begun) < seconds) operations += busy(rounds);
    speeds[team.thread * 8] = static_cast<double>(operations) / seconds_since(begun);
  });
  double total = 0;
  for (int64_t i = 0; i < speeds.size(); i++) total += speeds[i];
  return total;
}

}  // namespace rhapsode

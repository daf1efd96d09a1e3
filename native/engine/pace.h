// Whether threads that share one sequence are faster than one thread alone, on this machine, as busy as it is now.
//
// They wait for each other once a layer, a few microseconds apart. Where the other cores are at work for somebody else that
// costs far more than it gains, so both ways are timed, the faster is taken, and the other is tried again now and then.
// Results are the same either way. May be used by several threads at once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace rhapsode::engine {

class Pace {
 public:
  // Whether to share the next call.
  bool share() {
    const uint32_t call = calls_.fetch_add(1, std::memory_order_relaxed);
    if (call < 2) return call == 1;
    const bool faster = seconds_[1].load(std::memory_order_relaxed) < seconds_[0].load(std::memory_order_relaxed);
    return call % EVERY == 0 ? !faster : faster;
  }

  // A call took so many seconds for each symbol.
  void took(bool shared, double seconds) {
    std::atomic<float>& mean = seconds_[shared];
    const float before = mean.load(std::memory_order_relaxed), now = static_cast<float>(seconds);
    mean.store(before == 0 ? now : (before + now) / 2, std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t EVERY = 32;
  std::atomic<uint32_t> calls_{0};
  std::atomic<float> seconds_[2] = {{0}, {0}};  // for each symbol: alone, shared
};

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace rhapsode::engine

#include "crowding.h"

#include <algorithm>

#if defined(__linux__)
#include <sched.h>
#include <time.h>
#endif

namespace rhapsode {

#if defined(__linux__)
namespace {

constexpr double MEASURED = 0.05, LEAST_HELD = 0.1, MOST_HELD = 6.4;  // seconds
constexpr double MOST_LOST = 0.2;            // of all threads' time

double seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace

// Where a thread works and what it has waited for a processor in this job.
struct alignas(64) Crowding::Seat {
  std::atomic<int> processor{-1};
  int followed = -1;  // the one processor it may use, or -1: all of `allowed`
  cpu_set_t allowed;
  double wall = 0, own = 0;
};

Crowding::Crowding(int threads) : threads_(threads), seats_(new Seat[static_cast<size_t>(threads)]) {}

void Crowding::begin() { seats_[0].processor = sched_getcpu(); }

void Crowding::enter(int thread) {
  Seat& seat = seats_[thread];
  sit(thread);
  seat.processor = sched_getcpu();
  seat.wall = seconds(CLOCK_MONOTONIC), seat.own = seconds(CLOCK_THREAD_CPUTIME_ID);
}

void Crowding::leave(int thread) {
  Seat& seat = seats_[thread];
  seat.wall = seconds(CLOCK_MONOTONIC) - seat.wall, seat.own = seconds(CLOCK_THREAD_CPUTIME_ID) - seat.own;
}

// Odd threads are workers. Only these move: the caller's thread belongs to the program.
void Crowding::sit(int thread) {
  if (thread % 2 == 0) return;
  Seat& seat = seats_[thread];
  const int target = together_ ? seats_[thread - 1].processor.load() : -1;
  if (target == seat.followed) return;
  if (seat.followed < 0) sched_getaffinity(0, sizeof seat.allowed, &seat.allowed);
  cpu_set_t set;
  if (target >= 0) {
    CPU_ZERO(&set);
    CPU_SET(target, &set);
  } else {  // away at once, not when the scheduler comes to think of it
    set = seat.allowed;
    CPU_CLR(seat.followed, &set);
    sched_setaffinity(0, sizeof set, &set);
    set = seat.allowed;
  }
  if (sched_setaffinity(0, sizeof set, &set) == 0) seat.followed = target;
}

void Crowding::end() {
  if (together_) {
    together_ = seconds(CLOCK_MONOTONIC) < until_;
    return;
  }
  for (int i = 0; i < threads_; i++) measured_ += seats_[i].wall, lost_ += seats_[i].wall - seats_[i].own;
  if (measured_ < MEASURED * threads_) return;
  together_ = lost_ > MOST_LOST * measured_;
  held_ = !together_ ? 0 : held_ == 0 ? LEAST_HELD : std::min(4 * held_, MOST_HELD);
  until_ = seconds(CLOCK_MONOTONIC) + held_;
  measured_ = lost_ = 0;
}
#else
struct Crowding::Seat {};
Crowding::Crowding(int threads) : threads_(threads) {}
void Crowding::begin() {}
void Crowding::end() {}
void Crowding::enter(int) {}
void Crowding::leave(int) {}
#endif

Crowding::~Crowding() = default;

}  // namespace rhapsode

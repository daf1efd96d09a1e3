#include "crowding.h"

#include <algorithm>

#include <time.h>

namespace rhapsode {
namespace {

constexpr double JUDGED = 0.05, LEAST_PAUSE = 0.1, MOST_PAUSE = 3.2;  // seconds
constexpr double LEAST_OWN = 0.8;  // of its time that each thread must have a processor

#if defined(CLOCK_THREAD_CPUTIME_ID)
double seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
#endif

// How many of the first n threads fit on the processors that these had between them.
int fitting(const std::vector<Moment>& spent, int n) {
  double least = 1, processors = 0;
  for (int i = 0; i < n; i++) {
    const Moment& s = spent[static_cast<size_t>(i)];
    const double share = s.wall > 0 ? s.own / s.wall : 1;
    least = std::min(least, share), processors += share;
  }
  return least >= LEAST_OWN ? n : std::max(1, std::min(n - 1, static_cast<int>(processors)));
}

}  // namespace

Moment moment() {
#if defined(CLOCK_THREAD_CPUTIME_ID)
  return {seconds(CLOCK_MONOTONIC), seconds(CLOCK_THREAD_CPUTIME_ID)};
#else
  return {};
#endif
}

Crowding::Crowding(int threads) : threads_(threads), team_(threads), spent_(static_cast<size_t>(threads)) {}

void Crowding::worked(const std::vector<Moment>& spent, double now) {
  for (size_t i = 0; i < static_cast<size_t>(team_); i++)
    spent_[i].wall += spent[i].wall, spent_[i].own += spent[i].own;
  if (spent_[0].wall < JUDGED) return;
  const int fits = fitting(spent_, team_);
  std::fill(spent_.begin(), spent_.end(), Moment{});
  if (fits < team_) shrink(fits, now);
  else if (team_ == threads_) pause_ = 0;
}

void Crowding::looked(const std::vector<Moment>& spent, double now) {
  std::fill(spent_.begin(), spent_.end(), Moment{});
  team_ = threads_;
  if (const int fits = fitting(spent, threads_); fits < threads_) shrink(fits, now);
}

void Crowding::shrink(int team, double now) {
  team_ = team;
  pause_ = pause_ > 0 ? std::min(2 * pause_, MOST_PAUSE) : LEAST_PAUSE;
  next_look_ = now + pause_;
}

}  // namespace rhapsode

// The pool: every part runs once, barriers hold, sizes change, errors are clear, a forked child works; how many threads
// work on a busy machine.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "crowding.h"
#include "threads.h"

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace rhapsode {
namespace {

void barriers_hold() {
  std::vector<int> values(static_cast<size_t>(thread_count()), 0);
  bool held = true;
  parallel([&](const Team& team) {
    for (int round = 1; round <= 200; round++) {
      values[static_cast<size_t>(team.thread)] = round;
      team.barrier();
      if (team.thread == 0)
        for (int i = 0; i < team.threads; i++) held = held && values[static_cast<size_t>(i)] == round;
      team.barrier();
    }
  });
  check(held, "all threads are at the barrier");
}

// With as many other busy threads as there may be processors teams become smaller.
void a_busy_machine_works() {
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  for (unsigned i = 0; i < std::max(2u, std::thread::hardware_concurrency()); i++)
    others.emplace_back([&] { while (!stop) {} });
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  do barriers_hold();
  while (std::chrono::steady_clock::now() < end);
  stop = true;
  for (auto& other : others) other.join();
  barriers_hold();
}

void parts_cover() {
  for (int64_t n : {0, 1, 5, 1000}) {
    std::vector<int> seen(static_cast<size_t>(n), 0);
    parallel([&](const Team& team) {
      Range r = team.part(n);
      for (int64_t i = r.first; i < r.last; i++) seen[static_cast<size_t>(i)]++;
    });
    for (int s : seen) check(s == 1, "every thing belongs to one thread");
  }
}

void teams_are_as_told() {
  for (int team : {1, 2, 3, 5, 8}) {
    use_threads(8, team);
    std::vector<int> sizes(8, 0);
    parallel([&](const Team& t) { sizes[static_cast<size_t>(t.thread)] = t.threads; });
    for (int i = 0; i < 8; i++) check(sizes[static_cast<size_t>(i)] == (i < team ? team : 0), "a team of the size asked for");
    barriers_hold();
    parts_cover();
  }
}

// Seconds of work in which thread i had a processor for shares[i] of the time.
std::vector<Moment> spent(double seconds, const std::vector<double>& shares) {
  std::vector<Moment> all;
  for (double share : shares) all.push_back({seconds, share * seconds});
  return all;
}

void a_team_fits_the_processors() {
  Crowding c(8);
  const std::vector<double> free(8, 0.99);
  std::vector<double> one_busy = free;
  one_busy[5] = 0.5;
  double now = 0;
  auto work = [&](const std::vector<double>& shares) { c.worked(spent(0.06, shares), now += 0.06); };  // enough to judge by
  work(free);
  check(c.team() == 8, "all threads work on an idle machine");
  c.worked(spent(1e-3, one_busy), now);
  check(c.team() == 8, "a moment decides nothing");
  work(one_busy);
  check(c.team() == 7, "a thread less for a processor less");
  work(free);
  check(c.team() == 7 && !c.look_is_due(now), "and so for a while");
  work(std::vector<double>(8, 0.3));
  check(c.team() == 2, "fewer when it becomes worse");

  double pause = 0.1;
  for (int i = 0; i < 8; i++) {  // looking again, less and less often
    now += 4;
    check(c.look_is_due(now), "a look is due");
    c.looked(spent(Crowding::LOOK, std::vector<double>(8, 0.5)), now);
    check(c.team() == 4, "as many as find a processor");
    pause = std::min(2 * pause, 3.2);
  }
  check(!c.look_is_due(now + 0.99 * pause) && c.look_is_due(now + 1.01 * pause), "looks become rarer, up to a bound");
  c.looked(spent(Crowding::LOOK, free), now);
  check(c.team() == 8, "all, once they find processors");
  work(one_busy);
  check(c.team() == 7 && !c.look_is_due(now + 2), "a look that was wrong does not shorten the pause");
  c.looked(spent(Crowding::LOOK, free), now);
  work(free), work(one_busy);
  check(c.look_is_due(now + 0.2), "work on an idle machine does");
}

void small_teams() {
  Crowding two(2), one(1);
  two.worked(spent(1, {0.99, 0.6}), 1), one.worked(spent(1, {0.1}), 1);
  check(two.team() == 1, "one of two threads, though they had more than a processor and a half");
  check(one.team() == 1 && !one.look_is_due(100), "one thread works always");
  two.looked(spent(Crowding::LOOK, {0.1, 0.1}), 2);
  check(two.team() == 1, "at least one works");
  Crowding blind(2);
  blind.worked(std::vector<Moment>(2), 0);
  check(blind.team() == 2, "all work where nothing is measured");
}

void nesting_is_refused() {
  std::atomic<bool> refused{false};
  parallel([&](const Team& team) {
    if (team.thread != 0) return;
    try {
      parallel([](const Team&) {});
    } catch (const std::logic_error&) {
      refused = true;
    }
  });
  check(refused, "parallel within parallel is refused");
}

#if !defined(_WIN32) && !defined(__SANITIZE_THREAD__)
void a_child_works() {
  parallel([](const Team&) {});
  pid_t child = fork();
  if (child == 0) {
    std::atomic<int> count{0}, expected{0};
    parallel([&](const Team& team) { count++, expected = team.threads; });
    _exit(count == expected ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  check(status == 0, "a forked child has a pool of its own");
}
#else
void a_child_works() {}
#endif

}  // namespace

void test_threads() {
  int before = thread_count();
  for (int n : {1, 2, 3, 8}) {
    use_threads(n);
    check(thread_count() == n, "use_threads");
    barriers_hold();
    parts_cover();
    a_child_works();
    if (n == 2 || n == 3) a_busy_machine_works();
  }
  teams_are_as_told();
  a_team_fits_the_processors();
  small_teams();
  nesting_is_refused();
  bool refused = false;
  try {
    use_threads(0);
  } catch (const SettingError&) {
    refused = true;
  }
  check(refused, "0 threads are refused");
  refused = false;
  try {
    use_threads(2, 3);
  } catch (const SettingError&) {
    refused = true;
  }
  check(refused, "a team larger than the pool is refused");
  use_threads(before);
}

}  // namespace rhapsode

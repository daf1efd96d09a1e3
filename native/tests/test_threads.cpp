// The pool: every part runs once, barriers hold, sizes change, errors are clear, a forked child works.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
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
        for (int v : values) held = held && v == round;
      team.barrier();
    }
  });
  check(held, "all threads are at the barrier");
}

// With as many other busy threads as there may be processors the team's threads share some (crowding.h).
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
    std::atomic<int> count{0};
    parallel([&](const Team&) { count++; });
    _exit(count == thread_count() ? 0 : 1);
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
  nesting_is_refused();
  bool refused = false;
  try {
    use_threads(0);
  } catch (const SettingError&) {
    refused = true;
  }
  check(refused, "0 threads are refused");
  use_threads(before);
}

}  // namespace rhapsode

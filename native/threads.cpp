#include "threads.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "crowding.h"
#include "isa.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace rhapsode {
namespace {

constexpr int MAX_THREADS = 1024;
constexpr int SPINS_BEFORE_YIELD = 500;    // some 20 µs: longer than most waits inside a step on an idle machine
constexpr int YIELDS_BEFORE_SLEEP = 1000;  // some 500 µs: what Python needs between two calls of a step

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

template <class Ready>
void spin_until(Ready ready) {
  for (int i = 0; !ready(); i++) wait_a_moment(i);
}

// Denormal numbers are treated as zero while this lives: they would slow the decay of optimiser state a hundredfold.
class FlushDenormals {
 public:
#if defined(__x86_64__) || defined(_M_X64)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }
 private:
  unsigned before_;
#elif defined(__aarch64__) && !defined(_MSC_VER)
  FlushDenormals() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
    __asm__ volatile("msr fpcr, %0" : : "r"(before_ | (1ull << 24)));
  }
  ~FlushDenormals() { __asm__ volatile("msr fpcr, %0" : : "r"(before_)); }
 private:
  uint64_t before_ = 0;
#else
  FlushDenormals() {}
  ~FlushDenormals() {}
#endif
};

struct alignas(64) Counter {
  std::atomic<int> value{0};
};

// Where a worker waits, and since when it is awake, or has done its last job.
struct alignas(64) Seat {
  std::atomic<bool> asleep{false};
  std::condition_variable wake;
  Moment since;
};

class Pool {
 public:
  // In teams of `team`, or of as many as find a processor where that is 0.
  Pool(int threads, int team)
      : threads_(threads), team_(team), crowding_(threads), seats_(new Seat[size_t(threads)]), spent_(size_t(threads)) {
    for (int i = 1; i < threads; i++) workers_.emplace_back([this, i] { work(i); });
  }

  ~Pool() {
    stopping_ = true;
    publish(threads_);
    for (auto& worker : workers_) worker.join();
  }

  int threads() const { return threads_; }
  int team() const { return team_; }

  void run(void (*f)(void*, const Team&), void* context) {
    if (team_) return run(f, context, team_);
    if (crowding_.team() < threads_ && crowding_.look_is_due(moment().wall)) look();
    if (crowding_.team() == 1) return run(f, context, 1);
    run(f, context, crowding_.team());
    crowding_.worked(spent_, seats_[0].since.wall);
  }

  void barrier(int team) {
    if (team == 1) return;
    int round = round_.value.load(std::memory_order_acquire);
    if (arrived_.value.fetch_add(1, std::memory_order_acq_rel) == team - 1) {
      arrived_.value.store(0, std::memory_order_relaxed);
      round_.value.store(round + 1, std::memory_order_release);
    } else {
      spin_until([&] { return round_.value.load(std::memory_order_acquire) != round; });
    }
  }

 private:
  // A job's number and the size of its team.
  static constexpr int64_t SIZES = 2 * MAX_THREADS;
  static int size_of(int64_t job) { return static_cast<int>(job % SIZES); }

  void run(void (*f)(void*, const Team&), void* context, int team) {
    FlushDenormals guard;
    if (team == 1) return f(context, Team{0, 1});
    f_ = f, context_ = context;
    seats_[0].since = moment();
    done_.value.store(0, std::memory_order_relaxed);
    publish(team);
    take_part(0, team);
    spin_until([&] { return done_.value.load(std::memory_order_acquire) == team - 1; });
  }

  // All threads look for processors.
  void look() {
    double end = moment().wall + Crowding::LOOK;
    auto spin = [](void* until, const Team&) {
      while (moment().wall < *static_cast<double*>(until)) pause();
    };
    run(spin, &end, threads_);
    crowding_.looked(spent_, end);
  }

  void publish(int team) {
    job_.store(job_.load(std::memory_order_relaxed) / SIZES * SIZES + SIZES + team, std::memory_order_seq_cst);
    for (int i = 1; i < team; i++) {
      if (!seats_[i].asleep.load(std::memory_order_seq_cst)) continue;
      std::lock_guard<std::mutex> lock(mutex_);
      seats_[i].wake.notify_one();
    }
  }

  void take_part(int thread, int team) {
    f_(context_, Team{thread, team});
    Moment &since = seats_[thread].since, now = moment();
    spent_[size_t(thread)] = {now.wall - since.wall, now.own - since.own};
    since = now;
  }

  void work(int thread) {
    FlushDenormals guard;
    seats_[thread].since = moment();
    for (int64_t seen = 0;;) {
      seen = next_job(thread, seen);
      if (stopping_) return;
      take_part(thread, size_of(seen));
      done_.value.fetch_add(1, std::memory_order_release);
    }
  }

  // Wait for a job after `seen` that this thread has a part in.
  int64_t next_job(int thread, int64_t seen) {
    int64_t job = seen;
    auto come = [&] {
      job = job_.load(std::memory_order_seq_cst);
      return job != seen && thread < size_of(job);
    };
    for (int i = 0; i < SPINS_BEFORE_YIELD + YIELDS_BEFORE_SLEEP; i++) {
      if (come()) return job;
      wait_a_moment(i);
    }
    Seat& seat = seats_[thread];
    std::unique_lock<std::mutex> lock(mutex_);
    seat.asleep.store(true, std::memory_order_seq_cst);
    seat.wake.wait(lock, come);
    seat.asleep.store(false, std::memory_order_seq_cst);
    seat.since = moment();
    return job;
  }

  const int threads_, team_;
  Crowding crowding_;
  std::unique_ptr<Seat[]> seats_;
  std::vector<Moment> spent_;  // by each thread on the last job
  std::vector<std::thread> workers_;
  void (*f_)(void*, const Team&) = nullptr;
  void* context_ = nullptr;
  std::atomic<bool> stopping_{false};
  alignas(64) std::atomic<int64_t> job_{0};
  Counter done_, arrived_, round_;
  std::mutex mutex_;
};

#if defined(__linux__)
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Processors that a container's quota amounts to (cgroup v2), or 0 where there is none.
int quota() {
  std::string line = first_line("/sys/fs/cgroup/cpu.max");
  size_t space = line.find(' ');
  if (space == std::string::npos || line.compare(0, 3, "max") == 0) return 0;
  double limit = std::atof(line.c_str()), period = std::atof(line.c_str() + space);
  return period > 0 ? std::max(1, static_cast<int>(limit / period + 0.5)) : 0;
}

// Physical cores among the processors this process may run on.
int physical_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &set)) continue;
    std::string siblings =
        first_line("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  int count = static_cast<int>(cores.size()), most = quota();
  return most > 0 && most < count ? most : count;
}
#else
int physical_cores() { return 0; }
#endif

int default_threads() {
  if (const char* text = std::getenv("RHAPSODE_THREADS"); text && *text) {
    char* end;
    long n = std::strtol(text, &end, 10);
    if (*end || n < 1 || n > MAX_THREADS)
      throw SettingError("RHAPSODE_THREADS", text, "a whole number from 1 to " + std::to_string(MAX_THREADS));
    return static_cast<int>(n);
  }
  int n = physical_cores();
  if (n < 1) n = static_cast<int>(std::thread::hardware_concurrency());
  return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}

// The one pool of this process. A forked child has none of its parent's threads: it leaves the parent's pool object
// alone (its mutex may be held for ever) and makes another.
Pool* the_pool = nullptr;
std::mutex* turn = new std::mutex;
thread_local bool inside = false;

Pool& pool() {
  if (!the_pool) {
    the_pool = new Pool(default_threads(), 0);
#if !defined(_WIN32)
    static bool registered = false;
    if (!registered) {
      pthread_atfork(nullptr, nullptr, [] {
        the_pool = nullptr;
        turn = new std::mutex;
        inside = false;
      });
      registered = true;
    }
#endif
  }
  return *the_pool;
}

}  // namespace

void wait_a_moment(int i) {
  if (i < SPINS_BEFORE_YIELD) pause();
  else std::this_thread::yield();
}

void Team::barrier() const { the_pool->barrier(threads); }

Range Team::part(int64_t n) const { return {n * thread / threads, n * (thread + 1) / threads}; }

void parallel_call(void (*f)(void*, const Team&), void* context) {
  if (inside) throw std::logic_error("parallel_call from within parallel_call");
  std::lock_guard<std::mutex> lock(*turn);
  Pool& workers = pool();
  inside = true;
  workers.run(f, context);
  inside = false;
}

void parallel_or_alone_call(bool several, void (*f)(void*, const Team&), void* context) {
  if (inside) throw std::logic_error("parallel_or_alone_call from within parallel_call");
  std::unique_lock<std::mutex> lock(*turn, std::defer_lock);
  if (several && lock.try_lock()) {
    Pool& workers = pool();
    inside = true;
    workers.run(f, context);
    inside = false;
  } else {
    FlushDenormals guard;
    f(context, Team{0, 1});
  }
}

int thread_count() {
  std::lock_guard<std::mutex> lock(*turn);
  return pool().threads();
}

void use_threads(int n, int team) {
  auto check = [](const char* what, int found, int least, int most) {
    if (found < least || found > most)
      throw SettingError(what, std::to_string(found),
                         "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  };
  check("threads", n, 1, MAX_THREADS);
  check("team", team, 0, n);
  std::lock_guard<std::mutex> lock(*turn);
  if (the_pool && the_pool->threads() == n && the_pool->team() == team) return;
  delete the_pool;
  the_pool = new Pool(n, team);
}

}  // namespace rhapsode

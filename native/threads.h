// The core's own small pool of threads.
//
// parallel(f) runs f(team) on every thread of the pool, the caller among them, and returns when all are done. Workers
// spin for a moment between calls (a training step makes dozens), then sleep. Inside, team.barrier() waits for all.
//
// The number of threads is RHAPSODE_THREADS or, by default, the physical cores this process may use. The pool is
// separate from those of OpenMP, torch and numpy and costs them nothing while it sleeps. Workers and, during a call, the
// caller flush denormal numbers to zero. After a fork the child makes a pool of its own. Calls from several threads
// take turns; a call from within f is an error (std::logic_error).
#pragma once

#include <cstdint>
#include <type_traits>

namespace rhapsode {

struct Range {
  int64_t first, last;  // [first, last)
};

class Team {
 public:
  int thread;   // 0 … threads-1
  int threads;
  // Wait until every thread of the team is here.
  void barrier() const;
  // This thread's part of n things, contiguous and as even as can be.
  Range part(int64_t n) const;
};

// Run f(context, team) on all threads. f must not throw.
void parallel_call(void (*f)(void* context, const Team& team), void* context);

template <class F>
void parallel(F&& f) {
  parallel_call([](void* context, const Team& team) { (*static_cast<std::remove_reference_t<F>*>(context))(team); },
                const_cast<void*>(static_cast<const void*>(&f)));
}

// Like parallel where `several`; otherwise, and while the pool works for somebody else, f runs with a team of one on the
// calling thread, so that calls from several threads do not wait for each other. For an f whose results do not depend on
// the size of the team.
void parallel_or_alone_call(bool several, void (*f)(void* context, const Team& team), void* context);

template <class F>
void parallel_or_alone(bool several, F&& f) {
  parallel_or_alone_call(
      several, [](void* context, const Team& team) { (*static_cast<std::remove_reference_t<F>*>(context))(team); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

// What a thread of a team does between two looks, the i-th and the next, at what another is to do: it spins and, when that
// takes long or the machine is busy (crowding.h), gives its processor to whoever else wants it.
void wait_a_moment(int i);

// The number of threads in the pool. Throws SettingError if RHAPSODE_THREADS is no whole number from 1 to 1024.
int thread_count();

// Use n threads from now on (tests and benchmarks).
void use_threads(int n);

}  // namespace rhapsode

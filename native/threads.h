// The core's own small pool of threads.
//
// parallel(f) runs f(team) on threads of the pool, the caller among them, and returns when all are done. Workers
// spin for a moment between calls (a training step makes dozens), then sleep. Inside, team.barrier() waits for all.
//
// A team is the whole pool or, beside other busy programs, as many of it as find a processor (crowding.h). Its size differs
// from call to call, so nothing that f computes may depend on it, to the last bit: threads divide what comes out of a sum,
// never the sum itself; or a sum is cut into parts whose number is fixed.
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
  int threads;  // of this team; at most thread_count()
  // Wait until every thread of the team is here.
  void barrier() const;
  // This thread's part of n things, contiguous and as even as can be.
  Range part(int64_t n) const;
};

// Run f(context, team) on each thread of a team. f must not throw.
void parallel_call(void (*f)(void* context, const Team& team), void* context);

template <class F>
void parallel(F&& f) {
  parallel_call([](void* context, const Team& team) { (*static_cast<std::remove_reference_t<F>*>(context))(team); },
                const_cast<void*>(static_cast<const void*>(&f)));
}

// Like parallel where `several`; otherwise, and while the pool works for somebody else, f runs with a team of one on the
// calling thread, so that calls from several threads do not wait for each other.
void parallel_or_alone_call(bool several, void (*f)(void* context, const Team& team), void* context);

template <class F>
void parallel_or_alone(bool several, F&& f) {
  parallel_or_alone_call(
      several, [](void* context, const Team& team) { (*static_cast<std::remove_reference_t<F>*>(context))(team); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

// What a thread of a team does between two looks, the i-th and the next, at what another is to do: it spins and, when that
// takes long, gives its processor to whoever else wants it.
void wait_a_moment(int i);

// The number of threads in the pool. Throws SettingError if RHAPSODE_THREADS is no whole number from 1 to 1024.
int thread_count();

// Use n threads from now on (tests and benchmarks), in teams of `team`, or of as many as find a processor where that is 0.
void use_threads(int n, int team = 0);

}  // namespace rhapsode

// Busy machines.
//
// The threads of a team wait for one another at every time step, so where other programs hold a processor that one of them
// needs, all stand still. With a program on each of two processors, both threads run at once a quarter of the time. It is
// better then that threads go two by two: each second one follows the one before it to its processor, where they take
// turns at every wait, and the scheduler has the other processors for the other programs. What is computed stays the same.
//
// A thread never sleeps within a job, so what the clock shows beyond its own processor time was spent waiting for a
// processor. Where that is much, the threads go two by two for a tenth of a second, then it is measured again; each time it
// is still so, for four times as long, up to six seconds. Linux only; elsewhere nothing happens.
#pragma once

#include <atomic>
#include <memory>

namespace rhapsode {

class Crowding {
 public:
  explicit Crowding(int threads);
  ~Crowding();

  // Around a job, by the thread that calls for it.
  void begin();
  void end();
  // Around each thread's part of it.
  void enter(int thread);
  void leave(int thread);
  // Whether the job's threads go two by two; constant within it.
  bool together() const { return together_; }

 private:
  struct Seat;
  void sit(int thread);

  const int threads_;
  std::unique_ptr<Seat[]> seats_;
  bool together_ = false;
  double until_ = 0, held_ = 0, measured_ = 0, lost_ = 0;  // seconds
};

}  // namespace rhapsode

// Busy machines: how many threads of a team should work.
//
// The threads of a team wait for one another at every time step, so where other programs hold a processor that one of them
// needs, all stand still: two threads beside one busy program get less done than one thread does. Then fewer should work. What
// they compute does not depend on how many they are (threads.h), so that number may change from call to call.
//
// A thread at work never sleeps, so what the clock shows beyond its own processor time it spent waiting for a processor. When
// one of a team has lost a fifth of its time so, the team becomes as large as the number of processors that all had
// between them. It grows again by looking: now and then all threads do nothing but spin for a fiftieth of a second, and
// are measured in the same way. After each look in vain the next one waits twice as long, up to three seconds.
#pragma once

#include <vector>

namespace rhapsode {

// Seconds that have passed, and those of them that the calling thread had a processor.
struct Moment {
  double wall = 0, own = 0;
};
// Now. Nothing ever passes where the system does not tell (Windows).
Moment moment();

// Knows no clock: all that it is told are measured times.
class Crowding {
 public:
  static constexpr double LOOK = 0.02;  // seconds of spinning

  explicit Crowding(int threads);

  // How many threads should work.
  int team() const { return team_; }
  // Whether it is time for all threads to look for processors, LOOK seconds long.
  bool look_is_due(double now) const { return team_ < threads_ && now >= next_look_; }

  // What each thread of the team spent on a piece of work; what each of all threads spent looking.
  void worked(const std::vector<Moment>& spent, double now);
  void looked(const std::vector<Moment>& spent, double now);

 private:
  void shrink(int team, double now);

  const int threads_;
  int team_;
  double next_look_ = 0, pause_ = 0;  // seconds
  std::vector<Moment> spent_;         // by each thread of this team since it was last judged
};

}  // namespace rhapsode

// Spreading one piece of work evenly over the steps of another.
#pragma once

#include "simd.h"

namespace rhapsode::amx {
namespace {

// Runs job.piece(0), job.piece(1), … job.piece(pieces - 1) over `steps` steps of a product, each of
// which calls slice() twice. Before finish() no more steps may come than were told.
template <class Job>
class Weave {
 public:
  RHAPSODE_INLINE Weave() = default;
  RHAPSODE_INLINE explicit Weave(const Job& job) : job_(job), pieces_(job.pieces()) {}
  // Begins anew with the job that `describe` fills in, in its place: a copy would wait for what was just written.
  template <class Describe>
  RHAPSODE_INLINE void begin(Describe describe) {
    describe(job_);
    pieces_ = job_.pieces(), next_ = 0;
  }
  RHAPSODE_INLINE void spread(int64_t steps) { steps_ = steps > 0 ? static_cast<int>(2 * steps) : 1, credit_ = 0, per_step_ = pieces_ - next_; }
  RHAPSODE_INLINE void slice() {
    for (credit_ += per_step_; credit_ >= steps_; credit_ -= steps_) piece();
  }
  __attribute__((noinline)) void finish() {
    while (next_ < pieces_) piece();
    spread(1);
  }

 private:
  RHAPSODE_INLINE void piece() { job_.piece(next_++); }

  Job job_;
  int pieces_ = 0, next_ = 0, steps_ = 1, credit_ = 0, per_step_ = 0;
};

}  // namespace
}  // namespace rhapsode::amx

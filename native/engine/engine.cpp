#include "engine/engine.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "engine/walk.h"
#include "threads.h"

namespace rhapsode::engine {
namespace {

constexpr int64_t PIECE = 64, PIECE_ROWS = 256;      // symbols of a sequence read at a time, and of all together
constexpr int64_t LOGIT_ROWS = 32;                   // rows of logits made at a time
constexpr int64_t SHARED_STEP_BYTES = 128 << 10;     // of weights: from here on one sequence is shared by threads
constexpr int64_t SHARED_BYTES = 16 << 20;           // of weights read in one call: less is not worth waking threads for
constexpr int64_t SHARED_OUTPUT_BYTES = 128 << 10;   // of the output layer: from here on threads divide it

// Sequences that one thread moves at once: their gates stay in its nearest cache, and in int8, where the weights leave room for
// it, their states in the next one. Split weights are so large that they are worth fetching for many sequences only.
int64_t side_by_side(const Model& m) {
  return m.config.type == WeightType::int8 ? 32 : m.config.type == WeightType::split ? 128 : 64;
}

bool worth_sharing(const Model& m, int64_t steps, int64_t sequences) {
  int64_t bytes = m.step_bytes();
  return (sequences > 1 || bytes >= SHARED_STEP_BYTES) && bytes * steps * sequences >= SHARED_BYTES;
}

// A thread's matrix unit is ready while this lives.
class Ready {
 public:
  explicit Ready(const Kernels& kernels) : kernels_(kernels) { kernels_.begin(); }
  ~Ready() { kernels_.end(); }
  Ready(const Ready&) = delete;

 private:
  const Kernels& kernels_;
};

// A thread's share of a call: some sequences, and a team with whom it shares them. Sequences are divided among threads; a
// single one is everybody's.
struct Share {
  Range sequences;
  Team team;
  int64_t count() const { return sequences.last - sequences.first; }
};

Share share_of(const Team& team, int64_t B) {
  if (B == 1) return {{0, 1}, team};
  return {team.part(B), Team{0, 1}};
}

// Runs f(walk, share) on each thread that has a share, with walks that begin in the given state; f returns how
// many symbols a lone sequence was moved, of `steps` at most.
template <class F>
void run(const Model& m, int64_t steps, int64_t B, int64_t piece, const StateArrays& state, F f) {
  auto enter = [&](Walk& walk, int64_t first) {
    for (size_t i = 0; i < state.before.size(); i++) walk.set_state(m.state[i], state.before[i] + first * m.state[i].width);
  };
  const bool worth = worth_sharing(m, steps, B), several = worth && (B > 1 || m.pace.share());
  bool shared = false;
  int64_t moved = 0;
  Stopwatch watch;
  std::optional<Walk> common;
  parallel_or_alone(several, [&](const Team& team) {
    const Ready ready(m.kernels);
    if (team.thread == 0) shared = team.threads > 1;
    Share share = share_of(team, B);
    const Range all = share.sequences;
    for (int64_t first = all.first; first < all.last; first = share.sequences.last) {
      share.sequences = {first, std::min(first + side_by_side(m), all.last)};
      std::optional<Walk> own;
      std::optional<Walk>& walk = B == 1 ? common : own;
      if (share.team.thread == 0) {
        walk.emplace(m, share.count(), piece, share.team.threads);
        enter(*walk, first);
      }
      if (share.team.threads > 1) share.team.barrier();
      const int64_t symbols = f(*walk, share);
      if (B == 1 && team.thread == 0) moved = symbols;
    }
  });
  if (worth && B == 1 && moved > 0) m.pace.took(shared, watch.seconds() / static_cast<double>(moved));
}

void leave(const Model& m, const Walk& walk, int64_t first, const StateArrays& state) {
  for (size_t i = 0; i < state.after.size(); i++) walk.get_state(m.state[i], state.after[i] + first * m.state[i].width);
}

// Reads everything in pieces; after(walk, share, start, n) is called by each thread after its symbols [start, start + n).
template <class After>
void read_all(const Model& m, const int32_t* ids, int64_t T, int64_t B, const StateArrays& state, After after) {
  const int64_t piece = std::min(T, std::clamp<int64_t>(PIECE_ROWS / std::min(B, side_by_side(m)), 1, PIECE));
  run(m, T, B, piece, state, [&](Walk& walk, const Share& share) {
    const int64_t R = share.count();
    std::vector<int32_t> own_ids(static_cast<size_t>(piece * R));
    for (int64_t start = 0; start < T; start += piece) {
      const int64_t n = std::min(piece, T - start);
      for (int64_t t = 0; t < n; t++)
        std::copy_n(ids + (start + t) * B + share.sequences.first, R, own_ids.begin() + t * R);
      walk.read(own_ids.data(), n, share.team);
      after(walk, share, start, n);
    }
    if (share.team.thread == 0) leave(m, walk, share.sequences.first, state);
    return T;
  });
}

// Reads everything; take(t, b, logits) is called once for each id, by one of the threads.
template <class Take>
void predict_all(const Model& m, const int32_t* ids, int64_t T, int64_t B, const StateArrays& state, Take take) {
  read_all(m, ids, T, B, state, [&](Walk& walk, const Share& share, int64_t start, int64_t n) {
    const int64_t R = share.count();
    const Range rows = share.team.part(n * R);
    Buffer<float> logits(std::min(LOGIT_ROWS, n * R) * m.logit_width);
    for (int64_t first = rows.first; first < rows.last; first += LOGIT_ROWS) {
      const int64_t count = std::min(LOGIT_ROWS, rows.last - first);
      walk.logits(first, count, {0, m.output.groups()}, logits.data(), share.team);
      for (int64_t i = 0; i < count; i++)
        take(start + (first + i) / R, share.sequences.first + (first + i) % R, logits.data() + i * m.logit_width);
    }
  });
}

// ---- writing --------------------------------------------------------------------------------------------------------

// A text with what one thread needs to write it.
struct Writing {
  int64_t number;  // of the text
  std::vector<int32_t> recent, states, ids;
  std::vector<double> log_p;
  std::vector<Opinion> best;
  bool damaged = false, waits = false;

  bool ended(const Text& text) const {
    return damaged || waits || static_cast<int64_t>(ids.size()) >= text.most || (!ids.empty() && ids.back() == text.end);
  }
};

class Writers {
 public:
  Writers(const Model& m, std::vector<Text>& texts, Walk& walk, const Share& share, const StateArrays& state,
          const float* logits_before, float* logits_after, float* shared_logits)
      : m_(m), texts_(texts), walk_(walk), team_(share.team), state_(state),
        logits_after_(logits_after), shared_logits_(shared_logits), sampler_(m.kernels, m.config.vocabulary),
        own_logits_(share.count() * m.logit_width), logits_(own_logits_.data()),
        allowed_(static_cast<size_t>(m.logit_width)) {
    const int64_t V = m.config.vocabulary;
    for (int64_t b = share.sequences.first; b < share.sequences.last; b++) {
      Writing w;
      const Text& text = texts[static_cast<size_t>(b)];
      w.number = b, w.recent = text.recent, w.states = text.states;
      writings_.push_back(std::move(w));
      std::memcpy(row(b - share.sequences.first), logits_before + b * V, static_cast<size_t>(V) * sizeof(float));
    }
  }

  void run() {
    drop_ended();
    while (!writings_.empty()) {
      for (size_t i = 0; i < writings_.size(); i++) choose(static_cast<int64_t>(i));
      drop_ended(/*unread=*/true);
      if (writings_.empty()) return;
      ids_.clear();
      for (const Writing& w : writings_) ids_.push_back(w.ids.back());
      walk_.read(ids_.data(), 1, team_);
      const int64_t groups = m_.output.groups();
      if (shared_logits_) logits_ = shared_logits_;
      walk_.logits(0, static_cast<int64_t>(writings_.size()), shared_logits_ ? team_.part(groups) : Range{0, groups}, logits_,
                   team_);
      if (shared_logits_) team_.barrier();
      drop_ended();
    }
  }

 private:
  float* row(int64_t i) { return logits_ + i * m_.logit_width; }

  // Chooses the next symbol of a text; or the text waits, or is damaged.
  void choose(int64_t i) {
    Writing& w = writings_[static_cast<size_t>(i)];
    const Text& text = texts_[static_cast<size_t>(w.number)];
    const int64_t left = text.left - static_cast<int64_t>(w.ids.size());
    if (!admit(text, w, left)) return void(w.waits = true);
    const uint64_t written = text.written + w.ids.size();
    const double u = uniform(text.seed, written);
    const int32_t id = sampler_.choose(row(i), allowed_.data(), text.sampling, w.recent, written, u);
    if (id < 0) return void(w.damaged = true);
    if (!follow(text, w, left, id)) return void(w.waits = true);
    w.ids.push_back(id);
    if (text.top >= 0) w.log_p.push_back(sampler_.log_probability(row(i), id, text.top, w.best));
    if (text.sampling.looks_back()) w.recent.push_back(id);
  }

  // Fills allowed_; false if nothing may be written, or what may is not known.
  bool admit(const Text& text, const Writing& w, int64_t left) {
    const size_t V = text.allowed.size();
    std::memcpy(allowed_.data(), text.allowed.data(), V);
    for (size_t r = 0; r < text.rules.size(); r++) {
      const Rule& rule = text.rules[r];
      const int32_t* next = rule.row(w.states[r], m_.config.vocabulary);
      if (!next) return false;
      if (!rule.keeps_out_at(w.states[r])) continue;
      for (size_t id = 0; id < V; id++) allowed_[id] &= rule.accepts(next[id], left);
    }
    return std::memchr(allowed_.data(), 1, V) != nullptr;
  }

  // Moves the rules along with a symbol; false if one of them objects, and none has moved.
  bool follow(const Text& text, Writing& w, int64_t left, int32_t id) {
    const int64_t V = m_.config.vocabulary;
    for (size_t r = 0; r < text.rules.size(); r++)
      if (!text.rules[r].accepts(text.rules[r].row(w.states[r], V)[id], left)) return false;
    for (size_t r = 0; r < text.rules.size(); r++) w.states[r] = text.rules[r].row(w.states[r], V)[id];
    return true;
  }

  // `unread`: symbols have been chosen and not been read, so that only those that cannot go on are dropped.
  void drop_ended(bool unread = false) {
    for (int64_t i = static_cast<int64_t>(writings_.size()) - 1; i >= 0; i--) {
      Writing& w = writings_[static_cast<size_t>(i)];
      if (unread ? !w.damaged && !w.waits : !w.ended(texts_[static_cast<size_t>(w.number)])) continue;
      if (team_.thread == 0) hand_over(i);
      if (team_.threads > 1) return writings_.clear();
      walk_.drop_row(i);
      const int64_t last = static_cast<int64_t>(writings_.size()) - 1;
      if (i < last) {
        std::memcpy(row(i), row(last), static_cast<size_t>(m_.logit_width) * sizeof(float));
        w = std::move(writings_.back());
      }
      writings_.pop_back();
    }
  }

  void hand_over(int64_t i) {
    Writing& w = writings_[static_cast<size_t>(i)];
    Text& text = texts_[static_cast<size_t>(w.number)];
    const int64_t V = m_.config.vocabulary;
    for (size_t a = 0; a < state_.after.size(); a++)
      walk_.get_row(m_.state[a], i, state_.after[a] + w.number * m_.state[a].width);
    std::memcpy(logits_after_ + w.number * V, row(i), static_cast<size_t>(V) * sizeof(float));
    text.ids = std::move(w.ids), text.log_p = std::move(w.log_p), text.best = std::move(w.best);
    text.after = std::move(w.states), text.damaged = w.damaged;
  }

  const Model& m_;
  std::vector<Text>& texts_;
  Walk& walk_;
  const Team team_;
  const StateArrays& state_;
  float* const logits_after_;
  float* const shared_logits_;  // where threads make the logits together, or null
  Sampler sampler_;
  Buffer<float> own_logits_;
  float* logits_;
  std::vector<Writing> writings_;
  std::vector<int32_t> ids_;
  std::vector<uint8_t> allowed_;  // [V], padded
};

}  // namespace

void read(const Model& m, const int32_t* ids, int64_t T, int64_t B, const StateArrays& state, float* logits) {
  const int64_t V = m.config.vocabulary;
  predict_all(m, ids, T, B, state, [&](int64_t t, int64_t b, const float* x) {
    std::memcpy(logits + (t * B + b) * V, x, static_cast<size_t>(V) * sizeof(float));
  });
}

void skim(const Model& m, const int32_t* ids, int64_t T, int64_t B, const StateArrays& state) {
  read_all(m, ids, T, B, state, [](Walk&, const Share&, int64_t, int64_t) {});
}

void losses(const Model& m, const int32_t* ids, const int32_t* targets, int64_t T, int64_t B, const StateArrays& state,
            double* nats) {
  predict_all(m, ids, T, B, state, [&](int64_t t, int64_t b, const float* x) {
    nats[t * B + b] = m.kernels.nats(x, m.config.vocabulary, targets[t * B + b]);
  });
}

double seconds_to_read(int64_t bytes, int repeats) {
  const Kernels& kernels = current_kernels();
  Buffer<uint8_t> data(round_up(bytes, 1024));
  double best = 0;
  volatile uint32_t seen = 0;
  for (int i = 0; i < repeats; i++) {
    Stopwatch watch;
    for (int again = 0; again < 4; again++) seen = seen + kernels.checksum(data.data(), data.size());
    const double seconds = watch.seconds() / 4;
    if (i == 0 || seconds < best) best = seconds;
  }
  return best;
}

void generate(const Model& m, std::vector<Text>& texts, const StateArrays& state, const float* logits_before,
              float* logits_after) {
  int64_t steps = 0;
  for (const Text& text : texts) steps = std::max(steps, text.most);
  const bool divided = texts.size() == 1 && m.output.bytes() >= SHARED_OUTPUT_BYTES;
  Buffer<float> shared(divided ? m.logit_width : 0);
  run(m, steps, static_cast<int64_t>(texts.size()), 1, state, [&](Walk& walk, const Share& share) {
    float* together = divided && share.team.threads > 1 ? shared.data() : nullptr;
    Writers(m, texts, walk, share, state, logits_before, logits_after, together).run();
    return texts.size() == 1 && share.team.thread == 0 ? static_cast<int64_t>(texts[0].ids.size()) : 0;
  });
}

}  // namespace rhapsode::engine

// The engine: every instruction set agrees with plain C++, a sequence depends on itself alone, threads write what one does.
#include <deque>
#include <map>
#include <thread>
#include <vector>

#include "check.h"
#include "engine/engine.h"
#include "threads.h"

namespace rhapsode {
namespace {

using namespace engine;

// Random parameters, made when asked for, kept by name.
class RandomParameters {
 public:
  const float* operator()(const std::string& name, const std::vector<int64_t>& shape) {
    std::vector<float>& values = values_[name];
    if (values.empty()) {
      size_t size = 1;
      for (int64_t n : shape) size *= static_cast<size_t>(n);
      for (size_t i = 0; i < size; i++) values.push_back(0.2f * random_float());
    }
    return values.data();
  }

 private:
  std::map<std::string, std::vector<float>> values_;
};

// B sequences at their beginning, and arrays for where they end.
struct States {
  States(const Model& m, int64_t B) {
    for (const StateArray& array : m.state) {
      zeros.emplace_back(static_cast<size_t>(B * array.width));
      after.push_back(zeros.back());
      arrays.before.push_back(zeros.back().data());
      arrays.after.push_back(after.back().data());
    }
  }
  std::deque<std::vector<float>> zeros, after;
  StateArrays arrays;
};

std::vector<Config> configurations() {
  std::vector<Config> all;
  for (CellIndex cell : {RNN_TANH, RNN_RELU, GRU, LSTM, MLSTM, MOGRIFIER})
    for (InputKind input : {InputKind::one_hot, InputKind::embedding, InputKind::scalar})
      for (NormKind norm : {NormKind::none, NormKind::layer, NormKind::rms}) {
        Config c;
        c.vocabulary = 70, c.hidden = 37, c.layers = 2, c.cell = cell, c.input = input, c.norm = norm, c.residual = true;
        c.embedding_size = input == InputKind::embedding ? 21 : 1;
        all.push_back(c);
        c.conv = 4, c.inner = 45;
        all.push_back(c);
      }
  return all;
}

std::vector<int32_t> some_ids(int64_t n) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; i++) ids.push_back(static_cast<int32_t>((i * 37 + i / 7) % 70));
  return ids;
}

std::vector<float> logits_of(const Model& m, const std::vector<int32_t>& ids, int64_t T, int64_t B) {
  States states(m, B);
  std::vector<float> logits(static_cast<size_t>(T * B * m.config.vocabulary));
  read(m, ids.data(), T, B, states.arrays, logits.data());
  return logits;
}

std::string description(const Config& c) {
  return "cell " + std::to_string(c.cell) + ", type " + std::to_string(static_cast<int>(c.type)) + ", input " +
         std::to_string(static_cast<int>(c.input)) + ", norm " + std::to_string(static_cast<int>(c.norm)) + ", inner " +
         std::to_string(c.inner);
}

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); i++) worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  return worst;
}

// What an input that is rounded the other way may change; the sums of two bf16 in split weights have eight bits more.
constexpr double ROUNDED = 0.15;

void instruction_sets_agree() {
  constexpr int64_t T = 4, B = 23;
  const std::vector<int32_t> ids = some_ids(T * B);
  for (Config config : configurations()) {
    RandomParameters parameters;
    auto find = [&](const std::string& name, std::vector<int64_t> shape) { return parameters(name, shape); };
    for (WeightType type : {WeightType::fp32, WeightType::bf16, WeightType::int8, WeightType::split}) {
      const bool exact = !is_rounded(type);
      config.type = exact ? WeightType::fp32 : type;
      use_isa("plain");
      const std::vector<float> expected = logits_of(Model(config, find), ids, T, B);
      on_every_isa([&](const std::string& isa) {
        if (type == WeightType::split && !has_split()) return;
        config.type = type;
        const Model model(config, find);
        const std::vector<float> found = logits_of(model, ids, T, B);
        const double tolerance = type == WeightType::fp32 ? 1e-4 : exact ? ROUNDED / 256 : ROUNDED;
        const double worst = worst_difference(found, expected);
        check(worst < tolerance, isa + "engine: logits of " + description(config) + " off by " + std::to_string(worst));
        std::vector<int32_t> alone;
        for (int64_t t = 0; t < T; t++) alone.push_back(ids[static_cast<size_t>(t * B + 5)]);
        const std::vector<float> one = logits_of(model, alone, T, 1);
        bool same = true;
        for (int64_t t = 0; t < T; t++)
          for (int64_t v = 0; v < 70; v++)
            same = same && one[static_cast<size_t>(t * 70 + v)] == found[static_cast<size_t>((t * B + 5) * 70 + v)];
        check(same, isa + "engine: a sequence depends on itself alone");
      });
    }
  }
}

std::vector<std::vector<int32_t>> written(const Model& m, int64_t B, int64_t most) {
  States states(m, B);
  std::vector<Text> texts(static_cast<size_t>(B));
  for (size_t b = 0; b < texts.size(); b++) {
    texts[b].seed = b, texts[b].most = texts[b].left = most, texts[b].end = 69;
    texts[b].sampling.top_k = static_cast<int64_t>(b % 5) * 10, texts[b].sampling.top_p = b % 2 ? 0.9 : 1;
    texts[b].sampling.repetition = b % 3 ? 1 : 1.3;
    texts[b].allowed.assign(70, 1);
  }
  std::vector<float> logits(static_cast<size_t>(B * 70)), after(logits.size());
  generate(m, texts, states.arrays, logits.data(), after.data());
  std::vector<std::vector<int32_t>> ids;
  for (const Text& text : texts) ids.push_back(text.ids);
  return ids;
}

void threads_write_what_one_does() {
  Config config;
  config.vocabulary = 70, config.hidden = 200, config.layers = 2, config.embedding_size = 1;
  config.conv = 3, config.inner = 150;
  RandomParameters parameters;
  const Model model(config, [&](const std::string& name, std::vector<int64_t> shape) { return parameters(name, shape); });
  const int before = thread_count();
  use_threads(1);
  const auto expected = written(model, 90, 40);
  const auto lone = written(model, 1, 400);
  use_threads(3);
  for (int again = 0; again < 4; again++) {
    check(written(model, 90, 40) == expected, "engine: threads write what one does");
    check(written(model, 1, 400) == lone, "engine: threads that share a sequence write what one does");
  }
  std::vector<std::thread> callers;
  std::vector<char> same(4, 0);
  for (size_t i = 0; i < same.size(); i++)
    callers.emplace_back([&, i] { same[i] = written(model, 90, 40) == expected && written(model, 1, 400) == lone; });
  for (std::thread& caller : callers) caller.join();
  for (char s : same) check(s, "engine: callers at once get what one gets");
  use_threads(before);
}

}  // namespace

void test_engine() {
  instruction_sets_agree();
  threads_write_what_one_does();
}

}  // namespace rhapsode

// What a model does for its callers: predict after each symbol, measure a text, write texts.
//
// B sequences side by side; ids [T, B]; a state is one plain array [B, n] after another, as `Model::state` lists them.
// Results for a sequence do not depend on the others, nor on how threads share the work: many sequences are
// divided among them; of a single one, the units of each layer are.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model.h"
#include "engine/rule.h"
#include "engine/sampling.h"

namespace rhapsode::engine {

// Arrays of a state, as they come in and as they go out; may be the same.
struct StateArrays {
  std::vector<const float*> before;
  std::vector<float*> after;
};

// Read ids; logits [T, B, V] of what follows each.
void read(const Model& model, const int32_t* ids, int64_t T, int64_t B, const StateArrays& state, float* logits);

// Read ids, predict nothing.
void skim(const Model& model, const int32_t* ids, int64_t T, int64_t B, const StateArrays& state);

// Read ids; nats [T, B]: -log p of targets [T, B], one after each id.
void losses(const Model& model, const int32_t* ids, const int32_t* targets, int64_t T, int64_t B, const StateArrays& state,
            double* nats);

// A text to write on.
struct Text {
  Sampling sampling;
  uint64_t seed = 0;
  uint64_t written = 0;             // symbols so far: number `written` of the seed's stream chooses the next one
  int64_t most = 0;                 // symbols to write now
  int64_t left = 0;                 // symbols that the text may still have
  int32_t end = -1;                 // the symbol that ends the text
  std::vector<uint8_t> allowed;     // [V]: which symbols may be written
  std::vector<int32_t> recent;      // the last symbols, as far as penalties look back
  std::vector<Rule> rules;
  std::vector<int32_t> states;      // of the rules
  int64_t top = -1;                 // how many alternatives are told with each symbol; -1: no log-probabilities

  std::vector<int32_t> ids;         // what was written
  std::vector<int32_t> after;       // states of the rules then
  std::vector<double> log_p;        // of each in the model's distribution
  std::vector<Opinion> best;        // the most probable symbols there, `top` of each
  bool damaged = false;             // the model predicted what is not a number
};

// Write B texts; logits [B, V] of their next symbols, before and after. A text waits, short of `most`, where its next
// symbol is for the caller to decide: a rule says so or does not know yet, or nothing may be written.
void generate(const Model& model, std::vector<Text>& texts, const StateArrays& state, const float* logits_before,
              float* logits_after);

// Seconds that one thread needs to read so many bytes once, the best of `repeats`: what no product can be faster than.
double seconds_to_read(int64_t bytes, int repeats);

}  // namespace rhapsode::engine

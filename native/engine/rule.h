// What may be written, as an automaton over symbols: rhapsode.matching.Table.
#pragma once

#include <cstdint>

namespace rhapsode::engine {

// The arrays are the caller's. Numbers in them that lead nowhere do no harm.
struct Rule {
  const int32_t* rows = nullptr;    // [R, V]: the state that each symbol leads to; negative: the rule objects to it
  const int32_t* row_of = nullptr;  // [S]: each state's row; negative: not known yet
  const int32_t* steps = nullptr;   // [S]: the fewest symbols from there to a complete text; null: texts are never complete
  int64_t row_count = 0, state_count = 0;  // R, S
  bool keeps_out = true;            // symbols it objects to are not chosen; false: the text waits where one is

  // [V], or null where it is not known.
  const int32_t* row(int32_t state, int64_t vocabulary) const {
    const int64_t row = exists(state) ? row_of[state] : -1;
    return row < 0 || row >= row_count ? nullptr : rows + row * vocabulary;
  }

  // Whether the symbol that leads to `next` may be written with room for `left` symbols, itself among them.
  bool accepts(int32_t next, int64_t left) const { return exists(next) && (!steps || steps[next] < left); }

  // A complete text may end, so that there, too, the text waits for the caller where the rule objects.
  bool keeps_out_at(int32_t state) const { return keeps_out && !(steps && steps[state] == 0); }

 private:
  bool exists(int32_t state) const { return state >= 0 && state < state_count; }
};

}  // namespace rhapsode::engine

// A step of the Mogrifier LSTM (rhapsode.nn.cells.mogrifier) in the engine.
#include <cstring>

#include "engine/walk.h"

namespace rhapsode::engine {

// h of these rows from that before and the vectors received. Each thread makes its lines of x and h, and waits for those of
// the others after each round.
void Walk::mogrify(size_t number, const float* before, const float* const* received, float* h, const Team& team) {
  Own& own = own_[static_cast<size_t>(team.thread)];
  const Layer& layer = m_.layers[number];
  LayerState& s = states_[number];
  const Range lines = unit_part(m_.unit_lines, m_.gates, team).lines;
  const int64_t first = lines.first * LINE, units = (lines.last - lines.first) * LINE, row = 4 * m_.width;
  float* const turns[] = {s.x.data(), s.m.data()};
  for (int64_t r = 0; r < rows_; r++) {
    const float* entering[] = {received[r], before + r * m_.width};
    for (int i = 0; i < 2; i++)
      std::memcpy(turns[i] + r * m_.width + first, entering[i] + first, static_cast<size_t>(units) * sizeof(float));
  }
  // y (+)= the product of w with x, for these lines.
  std::vector<const float*> base(static_cast<size_t>(rows_), nullptr);
  auto product = [&](const PackedMatrix& w, int64_t gates, const float* x, float* y, int64_t ld) {
    const Operand operand = prepare(w, x, m_.width, rows_, own);
    m_.products().product(w, gate_groups(gates, lines), operand, rows_, base.data(), y, ld);
  };
  for (size_t i = 0; i < layer.rounds.size(); i++) {
    product(layer.rounds[i], 1, i == 0 ? before : turns[1 - i % 2], own.gates.data(), units);
    m_.kernels.mogrify({rows_, lines, own.gates.data(), units, nullptr, nullptr, turns[i % 2], nullptr, m_.width, nullptr});
    if (team.threads > 1) team.barrier();
  }
  float* const gates = own.gates.data() + 4 * first;
  base.assign(base.size(), layer.recurrent_base.data());
  product(layer.reader, 4, turns[0], gates, row);
  for (int64_t r = 0; r < rows_; r++) base[static_cast<size_t>(r)] = own.gates.data() + r * row;
  product(layer.recurrent, 4, turns[1], gates, row);
  m_.cell()({rows_, lines, gates, row, nullptr, nullptr, h, s.c.data(), m_.width, nullptr});
}

}  // namespace rhapsode::engine

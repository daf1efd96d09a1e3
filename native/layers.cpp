#include "layers.h"

#include <cstring>
#include <vector>

#include "isa.h"

namespace rhapsode {

namespace {

// f(stored place, plain place) of every element.
template <class Function>
void each_element(const Parameter& p, Function f) {
  const int64_t columns = p.shape.back(), rows = p.plain_size() / columns;
  std::vector<int64_t> across(static_cast<size_t>(columns));
  for (int64_t c = 0; c < columns; c++) across[static_cast<size_t>(c)] = p.place(0, c);
  for (int64_t r = 0; r < rows; r++) {
    const int64_t down = p.place(r, 0);
    for (int64_t c = 0; c < columns; c++) f(down + across[static_cast<size_t>(c)], r * columns + c);
  }
}

}  // namespace

void Parameter::to_plain(const float* stored, float* plain) const {
  each_element(*this, [=](int64_t from, int64_t to) { plain[to] = stored[from]; });
}

void Parameter::from_plain(const float* plain, float* stored) const {
  std::memset(stored, 0, static_cast<size_t>(value.size()) * sizeof(float));
  each_element(*this, [=](int64_t to, int64_t from) { stored[to] = plain[from]; });
}

void Parameter::set_value(const float* plain) {
  from_plain(plain, value.data());
  changed(0, value.size());
}

bool supports(Precision precision) {
#if defined(RHAPSODE_HAS_AMX)
  if (current_isa() == Isa::amx) return true;
#endif
  return precision == Precision::fp32;
}

}  // namespace rhapsode

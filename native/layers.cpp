#include "layers.h"

#include "isa.h"

namespace rhapsode {

void Parameter::to_plain(const float* stored, float* plain) const {
  int64_t columns = shape.back(), rows = plain_size() / columns;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) plain[r * columns + c] = stored[place(r, c)];
}

void Parameter::from_plain(const float* plain, float* stored) const {
  for (int64_t i = 0; i < value.size(); i++) stored[i] = 0;
  int64_t columns = shape.back(), rows = plain_size() / columns;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) stored[place(r, c)] = plain[r * columns + c];
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

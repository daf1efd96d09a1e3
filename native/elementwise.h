// The recurrent layer in fp32 of cells whose recurrence is element-wise.
#pragma once

#include <memory>
#include <vector>

#include "layers.h"

namespace rhapsode {

// Names of the vectors [H] that the cell has of its own (elementwise.inc), in their order.
std::vector<const char*> own_vectors(CellKind cell);

std::unique_ptr<RecurrentLayer> make_elementwise(const RecurrentSpec& spec);

}  // namespace rhapsode

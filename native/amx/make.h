// The layers in bf16 on AMX: for the factories of ../layers.h, when the instruction set in use is amx.
#pragma once

#include <memory>

#include "glue.h"
#include "layers.h"

namespace rhapsode::amx {

std::unique_ptr<RecurrentLayer> make_recurrent(const RecurrentSpec& spec);
std::unique_ptr<RecurrentLayer> make_elementwise(const RecurrentSpec& spec);
std::unique_ptr<OutputLayer> make_output(const OutputSpec& spec);
std::unique_ptr<Sum> make_sum();
std::unique_ptr<GatedMlp> make_gated_mlp(int64_t hidden, int64_t inner);

}  // namespace rhapsode::amx

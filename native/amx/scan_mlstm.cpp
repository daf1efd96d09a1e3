#include "scan_kernels.h"

namespace rhapsode::amx {

const ScanKernels scan_mlstm = scan_kernels<MlstmFactor, MlstmGates>();

}  // namespace rhapsode::amx

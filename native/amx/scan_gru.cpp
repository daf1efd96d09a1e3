#include "scan_kernels.h"

namespace rhapsode::amx {

const ScanKernels scan_gru = scan_kernels<Gru>();

}  // namespace rhapsode::amx

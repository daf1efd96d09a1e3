#include "scan_kernels.h"

namespace rhapsode::amx {

const ScanKernels scan_lstm = scan_kernels<Lstm>();

}  // namespace rhapsode::amx

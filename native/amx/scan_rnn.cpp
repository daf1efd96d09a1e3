#include "scan_kernels.h"

namespace rhapsode::amx {

const ScanKernels scan_rnn_tanh = scan_kernels<RnnTanh>();
const ScanKernels scan_rnn_relu = scan_kernels<RnnRelu>();

}  // namespace rhapsode::amx

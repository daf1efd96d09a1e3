#include "check.h"

int main() {
  rhapsode::test_threads();
  if (!rhapsode::RACES_ALONE) rhapsode::test_kernels();
  rhapsode::test_layers();
  if (!rhapsode::RACES_ALONE) rhapsode::test_amx();
  rhapsode::test_bf16();
  rhapsode::test_engine();
  std::printf(rhapsode::failures ? "%d checks failed\n" : "all checks passed\n", rhapsode::failures);
  return rhapsode::failures ? 1 : 0;
}

// Which instruction sets this machine has, and which one is used.
//
// Found by CPUID and XCR0 (never by model name) and, for AMX, by asking the kernel. The environment variable
// RHAPSODE_ISA forces a lower one; a name that is unknown or that the machine cannot run is a SettingError.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace rhapsode {

// In rising order on x86-64: each includes those before it. `amx` means AMX-BF16 beside AVX-512 with BF16 and VNNI.
// On Arm there are plain and neon.
enum class Isa { plain, neon, avx2, avx512, amx };

// An environment variable has a value that is not allowed. Python sees a rhapsode.errors.ConfigError.
class SettingError : public std::runtime_error {
 public:
  SettingError(std::string name, std::string found, std::string allowed)
      : std::runtime_error(name + ": found '" + found + "', allowed: " + allowed),
        name(std::move(name)), found(std::move(found)), allowed(std::move(allowed)) {}
  std::string name, found, allowed;
};

const char* isa_name(Isa isa);

// What the machine can run, in rising order; the first is always plain.
const std::vector<Isa>& available_isas();

// The instruction set in use: the best available one, or what RHAPSODE_ISA names. Read at the first call.
Isa current_isa();

// Instructions beside the sets above, for products of 8-bit integers: AVX512-VNNI, and tiles (AMX-INT8).
bool has_vnni();
bool has_int8_tiles();

// Use another instruction set from now on, for layers that are made later (tests compare several in one process).
void use_isa(const std::string& name);

}  // namespace rhapsode

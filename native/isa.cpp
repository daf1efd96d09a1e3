#include "isa.h"

#include <cstdint>
#include <cstdlib>

#if defined(__x86_64__) || defined(_M_X64)
#define RHAPSODE_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace rhapsode {
namespace {

#if defined(RHAPSODE_X86)

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
#if defined(_MSC_VER)
  int out[4];
  __cpuidex(out, static_cast<int>(leaf), static_cast<int>(subleaf));
  r.eax = out[0], r.ebx = out[1], r.ecx = out[2], r.edx = out[3];
#else
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
#endif
  return r;
}

// Which register states the operating system saves (XCR0).
uint64_t saved_states() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
#endif
}

bool has(uint32_t word, int bit) { return (word >> bit) & 1; }

// Linux gives tile registers only to processes that ask. Children and threads started later inherit the permission.
bool ask_for_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
  return false;
#endif
}

std::vector<Isa> detect() {
  std::vector<Isa> found{Isa::plain};
  Registers one = cpuid(1, 0), seven = cpuid(7, 0), seven1 = cpuid(7, 1);
  if (!has(one.ecx, 27)) return found;  // OSXSAVE
  uint64_t saved = saved_states();
  bool avx2 = has(seven.ebx, 5) && has(one.ecx, 12) && (saved & 0x6) == 0x6;  // with FMA; XMM and YMM saved
  if (!avx2) return found;
  found.push_back(Isa::avx2);
  bool avx512 = has(seven.ebx, 16) && has(seven.ebx, 17) && has(seven.ebx, 30) && has(seven.ebx, 31) &&  // F DQ BW VL
                (saved & 0xe0) == 0xe0;
  if (!avx512) return found;
  found.push_back(Isa::avx512);
  bool amx = has(seven.edx, 24) && has(seven.edx, 22) && (saved & 0x60000) == 0x60000 &&  // tiles, AMX-BF16
             has(seven1.eax, 5) && has(seven.ecx, 11) && has(seven.ecx, 1);               // AVX512 BF16, VNNI, VBMI
  if (amx && ask_for_tiles()) found.push_back(Isa::amx);
  return found;
}

bool vnni() { return has(cpuid(7, 0).ecx, 11); }
bool int8_tiles() { return has(cpuid(7, 0).edx, 25); }

#elif defined(__aarch64__) || defined(_M_ARM64)
std::vector<Isa> detect() { return {Isa::plain, Isa::neon}; }
#else
std::vector<Isa> detect() { return {Isa::plain}; }
#endif

#if !defined(RHAPSODE_X86)
bool vnni() { return false; }
bool int8_tiles() { return false; }
#endif

Isa parse(const std::string& source, const std::string& name) {
  std::string allowed;
  for (Isa isa : available_isas()) {
    if (name == isa_name(isa)) return isa;
    allowed += (allowed.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  throw SettingError(source, name, allowed + " (what this machine has)");
}

Isa& chosen() {
  static Isa isa = [] {
    const char* name = std::getenv("RHAPSODE_ISA");
    return name && *name ? parse("RHAPSODE_ISA", name) : available_isas().back();
  }();
  return isa;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::plain: return "plain";
    case Isa::neon: return "neon";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::amx: return "amx";
  }
  return "";
}

const std::vector<Isa>& available_isas() {
  static const std::vector<Isa> isas = detect();
  return isas;
}

bool has_vnni() { return vnni(); }
bool has_int8_tiles() { return int8_tiles(); }

Isa current_isa() { return chosen(); }

void use_isa(const std::string& name) { chosen() = parse("isa", name); }

}  // namespace rhapsode

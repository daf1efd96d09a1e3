// A test program's tools: checks that count failures, random panels, every instruction set in turn.
#pragma once

#include <cmath>
#include <cstdio>
#include <random>
#include <string>

#include "isa.h"
#include "kernels.h"
#include "memory.h"
#include "panels.h"

namespace rhapsode {

// The thread sanitizer slows every access to memory many times, and a race shows in few steps as in many: with it, only what
// several threads do together is run, and not for long.
#if defined(__SANITIZE_THREAD__)
constexpr bool RACES_ALONE = true;
#else
constexpr bool RACES_ALONE = false;
#endif

// What a sanitizer looks for shows in few steps of a training as in many.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool SANITIZED = true;
#else
constexpr bool SANITIZED = false;
#endif

inline int failures = 0;

inline void check(bool condition, const std::string& what) {
  if (condition) return;
  failures++;
  std::printf("FAILED %s\n", what.c_str());
}

inline std::mt19937& random_source() {
  static std::mt19937 source(1);
  return source;
}

inline float random_float() { return std::normal_distribution<float>()(random_source()); }

// A matrix with a buffer; its padding columns are zero, the memory behind it is not.
struct Matrix {
  Matrix(int64_t rows, int64_t columns, int64_t width, bool fill = true) : buffer(rows * round_up(columns, width) + 64) {
    panels = {buffer.data(), rows, columns, width, rows * width};
    for (int64_t r = 0; fill && r < rows; r++)
      for (int64_t c = 0; c < columns; c++) panels.at(r, c) = random_float();
    for (int64_t i = buffer.size() - 64; i < buffer.size(); i++) buffer[i] = NAN;
  }
  std::vector<const float*> list() const {
    std::vector<const float*> out;
    for (int64_t p = 0; p < panels.count(); p++) out.push_back(panels.panel(p));
    return out;
  }
  Buffer<float> buffer;
  Panels panels;
};

inline Matrix copy_of(const Matrix& m) {
  Matrix out(m.panels.rows, m.panels.columns, m.panels.width, false);
  for (int64_t i = 0; i < m.buffer.size(); i++) out.buffer[i] = m.buffer[i];
  return out;
}

inline bool near(double found, double expected, double tolerance) {
  return std::abs(found - expected) <= tolerance * (1 + std::abs(expected));
}

inline void check_equal(const Matrix& found, const Matrix& expected, double tolerance, const std::string& what) {
  double worst = 0;
  bool padding = true, finite = true;
  const Panels &f = found.panels, &e = expected.panels;
  for (int64_t r = 0; r < f.rows; r++)
    for (int64_t c = 0; c < round_up(f.columns, f.width); c++) {
      if (c >= f.columns) {
        padding = padding && f.at(r, c) == 0;
        continue;
      }
      finite = finite && std::isfinite(f.at(r, c));
      worst = std::max(worst, std::abs(double(f.at(r, c)) - e.at(r, c)) / (1 + std::abs(double(e.at(r, c)))));
    }
  check(finite && worst <= tolerance, what + ": off by " + std::to_string(worst));
  check(padding, what + ": padding is not zero");
}

template <class Function>
void on_every_isa(Function f) {
  for (Isa isa : available_isas()) {
    use_isa(isa_name(isa));
    f(std::string(isa_name(isa)) + " ");
  }
}

void test_kernels();
void test_layers();
void test_amx();
void test_bf16();
void test_engine();
void test_threads();

}  // namespace rhapsode

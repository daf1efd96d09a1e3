// A register of floats and one of 32-bit words, for the instruction set that the including file is compiled for.
//
// W lanes; NV registers make up a panel's width; MR rows of accumulators fit in the register file beside them. Included
// inside an unnamed namespace by kernels_*.cpp only, which define RHAPSODE_VEC_{AVX512,AVX2,NEON,PLAIN}.

#if defined(RHAPSODE_VEC_AVX512)

constexpr int W = 16, NV = 2, MR = 12;
struct F { __m512 v; };
struct I { __m512i v; };
struct M { __mmask16 v; };
RHAPSODE_INLINE F load(const float* p) { return {_mm512_loadu_ps(p)}; }
RHAPSODE_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
RHAPSODE_INLINE F all(float x) { return {_mm512_set1_ps(x)}; }
RHAPSODE_INLINE F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
RHAPSODE_INLINE F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
RHAPSODE_INLINE F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
RHAPSODE_INLINE F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
RHAPSODE_INLINE F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
RHAPSODE_INLINE F fnma(F a, F b, F c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
RHAPSODE_INLINE F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
RHAPSODE_INLINE F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
RHAPSODE_INLINE F sqrt(F a) { return {_mm512_sqrt_ps(a.v)}; }
RHAPSODE_INLINE M less(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
RHAPSODE_INLINE F select(M m, F yes, F no) { return {_mm512_mask_mov_ps(no.v, m.v, yes.v)}; }
RHAPSODE_INLINE F nearest(F a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
RHAPSODE_INLINE F times_power_of_two(F a, F n) { return {_mm512_scalef_ps(a.v, n.v)}; }
// 1/a for a in [1, 2^126]: an estimate of 14 bits and one Newton step.
RHAPSODE_INLINE F reciprocal(F a) {
  __m512 r = _mm512_rcp14_ps(a.v);
  return {_mm512_mul_ps(r, _mm512_fnmadd_ps(a.v, r, _mm512_set1_ps(2.f)))};
}
RHAPSODE_INLINE float sum(F a) { return _mm512_reduce_add_ps(a.v); }
RHAPSODE_INLINE float highest(F a) { return _mm512_reduce_max_ps(a.v); }
RHAPSODE_INLINE I words(uint32_t x) { return {_mm512_set1_epi32(static_cast<int>(x))}; }
RHAPSODE_INLINE I load_words(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
RHAPSODE_INLINE I operator+(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
RHAPSODE_INLINE I operator^(I a, I b) { return {_mm512_xor_si512(a.v, b.v)}; }
RHAPSODE_INLINE I operator&(I a, I b) { return {_mm512_and_si512(a.v, b.v)}; }
RHAPSODE_INLINE I operator*(I a, I b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
template <int N> RHAPSODE_INLINE I shift_right(I a) { return {_mm512_srli_epi32(a.v, N)}; }
RHAPSODE_INLINE I shift_right(I a, I n) { return {_mm512_srlv_epi32(a.v, n.v)}; }
RHAPSODE_INLINE M less(I a, I b) { return {_mm512_cmplt_epi32_mask(a.v, b.v)}; }

#elif defined(RHAPSODE_VEC_AVX2)

constexpr int W = 8, NV = 2, MR = 6;
struct F { __m256 v; };
struct I { __m256i v; };
struct M { __m256 v; };
RHAPSODE_INLINE F load(const float* p) { return {_mm256_loadu_ps(p)}; }
RHAPSODE_INLINE void store(float* p, F a) { _mm256_storeu_ps(p, a.v); }
RHAPSODE_INLINE F all(float x) { return {_mm256_set1_ps(x)}; }
RHAPSODE_INLINE F operator+(F a, F b) { return {_mm256_add_ps(a.v, b.v)}; }
RHAPSODE_INLINE F operator-(F a, F b) { return {_mm256_sub_ps(a.v, b.v)}; }
RHAPSODE_INLINE F operator*(F a, F b) { return {_mm256_mul_ps(a.v, b.v)}; }
RHAPSODE_INLINE F operator/(F a, F b) { return {_mm256_div_ps(a.v, b.v)}; }
RHAPSODE_INLINE F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
RHAPSODE_INLINE F fnma(F a, F b, F c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
RHAPSODE_INLINE F max(F a, F b) { return {_mm256_max_ps(a.v, b.v)}; }
RHAPSODE_INLINE F min(F a, F b) { return {_mm256_min_ps(a.v, b.v)}; }
RHAPSODE_INLINE F sqrt(F a) { return {_mm256_sqrt_ps(a.v)}; }
RHAPSODE_INLINE M less(F a, F b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
RHAPSODE_INLINE F select(M m, F yes, F no) { return {_mm256_blendv_ps(no.v, yes.v, m.v)}; }
RHAPSODE_INLINE F nearest(F a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// For n in [-126, 127] and results in the normal range.
RHAPSODE_INLINE F times_power_of_two(F a, F n) {
  __m256i e = _mm256_slli_epi32(_mm256_cvtps_epi32(n.v), 23);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), e))};
}
RHAPSODE_INLINE F reciprocal(F a) { return all(1.f) / a; }
RHAPSODE_INLINE float sum(F a) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
RHAPSODE_INLINE float highest(F a) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}
RHAPSODE_INLINE I words(uint32_t x) { return {_mm256_set1_epi32(static_cast<int>(x))}; }
RHAPSODE_INLINE I load_words(const uint32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
RHAPSODE_INLINE I operator+(I a, I b) { return {_mm256_add_epi32(a.v, b.v)}; }
RHAPSODE_INLINE I operator^(I a, I b) { return {_mm256_xor_si256(a.v, b.v)}; }
RHAPSODE_INLINE I operator&(I a, I b) { return {_mm256_and_si256(a.v, b.v)}; }
RHAPSODE_INLINE I operator*(I a, I b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
template <int N> RHAPSODE_INLINE I shift_right(I a) { return {_mm256_srli_epi32(a.v, N)}; }
RHAPSODE_INLINE I shift_right(I a, I n) { return {_mm256_srlv_epi32(a.v, n.v)}; }
RHAPSODE_INLINE M less(I a, I b) { return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(b.v, a.v))}; }

#elif defined(RHAPSODE_VEC_NEON)

constexpr int W = 4, NV = 4, MR = 5;
struct F { float32x4_t v; };
struct I { uint32x4_t v; };
struct M { uint32x4_t v; };
RHAPSODE_INLINE F load(const float* p) { return {vld1q_f32(p)}; }
RHAPSODE_INLINE void store(float* p, F a) { vst1q_f32(p, a.v); }
RHAPSODE_INLINE F all(float x) { return {vdupq_n_f32(x)}; }
RHAPSODE_INLINE F operator+(F a, F b) { return {vaddq_f32(a.v, b.v)}; }
RHAPSODE_INLINE F operator-(F a, F b) { return {vsubq_f32(a.v, b.v)}; }
RHAPSODE_INLINE F operator*(F a, F b) { return {vmulq_f32(a.v, b.v)}; }
RHAPSODE_INLINE F operator/(F a, F b) { return {vdivq_f32(a.v, b.v)}; }
RHAPSODE_INLINE F fma(F a, F b, F c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
RHAPSODE_INLINE F fnma(F a, F b, F c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
RHAPSODE_INLINE F max(F a, F b) { return {vmaxq_f32(a.v, b.v)}; }
RHAPSODE_INLINE F min(F a, F b) { return {vminq_f32(a.v, b.v)}; }
RHAPSODE_INLINE F sqrt(F a) { return {vsqrtq_f32(a.v)}; }
RHAPSODE_INLINE M less(F a, F b) { return {vcltq_f32(a.v, b.v)}; }
RHAPSODE_INLINE F select(M m, F yes, F no) { return {vbslq_f32(m.v, yes.v, no.v)}; }
RHAPSODE_INLINE F nearest(F a) { return {vrndnq_f32(a.v)}; }
RHAPSODE_INLINE F times_power_of_two(F a, F n) {
  int32x4_t e = vshlq_n_s32(vcvtnq_s32_f32(n.v), 23);
  return {vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a.v), e))};
}
RHAPSODE_INLINE F reciprocal(F a) { return all(1.f) / a; }
RHAPSODE_INLINE float sum(F a) { return vaddvq_f32(a.v); }
RHAPSODE_INLINE float highest(F a) { return vmaxvq_f32(a.v); }
RHAPSODE_INLINE I words(uint32_t x) { return {vdupq_n_u32(x)}; }
RHAPSODE_INLINE I load_words(const uint32_t* p) { return {vld1q_u32(p)}; }
RHAPSODE_INLINE I operator+(I a, I b) { return {vaddq_u32(a.v, b.v)}; }
RHAPSODE_INLINE I operator^(I a, I b) { return {veorq_u32(a.v, b.v)}; }
RHAPSODE_INLINE I operator&(I a, I b) { return {vandq_u32(a.v, b.v)}; }
RHAPSODE_INLINE I operator*(I a, I b) { return {vmulq_u32(a.v, b.v)}; }
template <int N> RHAPSODE_INLINE I shift_right(I a) { return {vshrq_n_u32(a.v, N)}; }
RHAPSODE_INLINE I shift_right(I a, I n) { return {vshlq_u32(a.v, vnegq_s32(vreinterpretq_s32_u32(n.v)))}; }
RHAPSODE_INLINE M less(I a, I b) { return {vcltq_s32(vreinterpretq_s32_u32(a.v), vreinterpretq_s32_u32(b.v))}; }

#else  // plain C++, which a compiler may still turn into whatever its baseline offers

constexpr int W = 4, NV = 2, MR = 4;
struct F { float v[W]; };
struct I { uint32_t v[W]; };
struct M { bool v[W]; };
#define RHAPSODE_LANES(T, expression) \
  T r;                                \
  for (int i = 0; i < W; i++) r.v[i] = expression; \
  return r;
RHAPSODE_INLINE F load(const float* p) { RHAPSODE_LANES(F, p[i]) }
RHAPSODE_INLINE void store(float* p, F a) { for (int i = 0; i < W; i++) p[i] = a.v[i]; }
RHAPSODE_INLINE F all(float x) { RHAPSODE_LANES(F, x) }
RHAPSODE_INLINE F operator+(F a, F b) { RHAPSODE_LANES(F, a.v[i] + b.v[i]) }
RHAPSODE_INLINE F operator-(F a, F b) { RHAPSODE_LANES(F, a.v[i] - b.v[i]) }
RHAPSODE_INLINE F operator*(F a, F b) { RHAPSODE_LANES(F, a.v[i] * b.v[i]) }
RHAPSODE_INLINE F operator/(F a, F b) { RHAPSODE_LANES(F, a.v[i] / b.v[i]) }
RHAPSODE_INLINE F fma(F a, F b, F c) { RHAPSODE_LANES(F, a.v[i] * b.v[i] + c.v[i]) }
RHAPSODE_INLINE F fnma(F a, F b, F c) { RHAPSODE_LANES(F, c.v[i] - a.v[i] * b.v[i]) }
RHAPSODE_INLINE F max(F a, F b) { RHAPSODE_LANES(F, a.v[i] > b.v[i] ? a.v[i] : b.v[i]) }
RHAPSODE_INLINE F min(F a, F b) { RHAPSODE_LANES(F, a.v[i] < b.v[i] ? a.v[i] : b.v[i]) }
RHAPSODE_INLINE F sqrt(F a) { RHAPSODE_LANES(F, sqrtf(a.v[i])) }
RHAPSODE_INLINE M less(F a, F b) { RHAPSODE_LANES(M, a.v[i] < b.v[i]) }
RHAPSODE_INLINE F select(M m, F yes, F no) { RHAPSODE_LANES(F, m.v[i] ? yes.v[i] : no.v[i]) }
// For |a| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction.
RHAPSODE_INLINE F nearest(F a) { RHAPSODE_LANES(F, (a.v[i] + 12582912.f) - 12582912.f) }
RHAPSODE_INLINE uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
RHAPSODE_INLINE float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
RHAPSODE_INLINE F times_power_of_two(F a, F n) {
  RHAPSODE_LANES(F, float_of(bits_of(a.v[i]) + ((bits_of(n.v[i] + 12582912.f) - bits_of(12582912.f)) << 23)))
}
RHAPSODE_INLINE F reciprocal(F a) { return all(1.f) / a; }
RHAPSODE_INLINE float sum(F a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
RHAPSODE_INLINE float highest(F a) {
  float m = a.v[0];
  for (int i = 1; i < W; i++) m = a.v[i] > m ? a.v[i] : m;
  return m;
}
RHAPSODE_INLINE I words(uint32_t x) { RHAPSODE_LANES(I, x) }
RHAPSODE_INLINE I load_words(const uint32_t* p) { RHAPSODE_LANES(I, p[i]) }
RHAPSODE_INLINE I operator+(I a, I b) { RHAPSODE_LANES(I, a.v[i] + b.v[i]) }
RHAPSODE_INLINE I operator^(I a, I b) { RHAPSODE_LANES(I, a.v[i] ^ b.v[i]) }
RHAPSODE_INLINE I operator&(I a, I b) { RHAPSODE_LANES(I, a.v[i] & b.v[i]) }
RHAPSODE_INLINE I operator*(I a, I b) { RHAPSODE_LANES(I, a.v[i] * b.v[i]) }
template <int N> RHAPSODE_INLINE I shift_right(I a) { RHAPSODE_LANES(I, a.v[i] >> N) }
RHAPSODE_INLINE I shift_right(I a, I n) { RHAPSODE_LANES(I, a.v[i] >> n.v[i]) }
RHAPSODE_INLINE M less(I a, I b) { RHAPSODE_LANES(M, static_cast<int32_t>(a.v[i]) < static_cast<int32_t>(b.v[i])) }
#undef RHAPSODE_LANES

#endif

constexpr int PW = W * NV;  // width of a panel

// Bring the line of *p into the cache; any address will do.
#if defined(_MSC_VER) && defined(_M_X64)
RHAPSODE_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
#elif defined(_MSC_VER)
RHAPSODE_INLINE void prefetch(const void* p) { __prefetch(p); }
#else
RHAPSODE_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }
#endif

RHAPSODE_INLINE F zero() { return all(0.f); }
// The order of the operands lets a NaN through, so that a diverging run is noticed.
RHAPSODE_INLINE F clamp(F a, float low, float high) { return min(all(high), max(all(low), a)); }

// 2^x, relative error 2e-9 of the polynomial (fitted for the least greatest relative error on [-1/2, 1/2]) plus rounding;
// x is clamped to [-126, 126].
RHAPSODE_INLINE F exp2(F x) {
  x = clamp(x, -126.f, 126.f);
  F n = nearest(x), f = x - n;
  F p = fma(all(1.5345807498e-4f), f, all(1.3399931183e-3f));
  p = fma(p, f, all(9.6184889739e-3f));
  p = fma(p, f, all(5.5503287771e-2f));
  p = fma(p, f, all(2.4022646890e-1f));
  p = fma(p, f, all(6.9314720574e-1f));
  p = fma(p, f, all(1.f));
  return times_power_of_two(p, n);
}

RHAPSODE_INLINE F exp(F x) { return exp2(x * all(1.442695041f)); }

RHAPSODE_INLINE F sigmoid(F x) { return reciprocal(all(1.f) + exp2(clamp(x, -80.f, 80.f) * all(-1.442695041f))); }

// Near zero an odd polynomial (relative error 4e-9 for |x| < 0.625), elsewhere 2 sigmoid(2x) - 1.
RHAPSODE_INLINE F tanh(F x) {
  F u = x * x;
  F p = fma(all(-5.6599848e-3f), u, all(2.0590984e-2f));
  p = fma(p, u, all(-5.3721067e-2f));
  p = fma(p, u, all(1.3331128e-1f));
  p = fma(p, u, all(-3.3333261e-1f));
  F small = fma(p * u, x, x);
  F large = fma(all(2.f), reciprocal(all(1.f) + exp2(clamp(x, -40.f, 40.f) * all(-2.885390082f))), all(-1.f));
  return select(less(u, all(0.390625f)), small, large);
}

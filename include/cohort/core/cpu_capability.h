#pragma once
#include <string_view>

namespace cohort {

/// The vector instructions that kernels of our own are compiled for; the values are ordered.
enum class CpuCapability {
  baseline,  ///< of every x86-64 processor, or of another architecture
  avx2,      ///< AVX2 and FMA (x86-64-v3)
  avx512     ///< AVX-512 F, BW, CD, DQ and VL (x86-64-v4)
};

/// What kernels of our own use: all that this processor has, or less, as the environment variable
/// COHORT_CPU_CAPABILITY says (default, avx2 or avx512, as ATEN_CPU_CAPABILITY says it to LibTorch). Looked
/// up once. Any thread. Throws UsageError: another value, or more than the processor has.
CpuCapability cpu_capability();

/// "AVX-512".
std::string_view name_of(CpuCapability capability);

}  // namespace cohort

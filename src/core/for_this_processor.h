#pragma once
#include "cohort/core/cpu_capability.h"

namespace cohort {

// target(): what a body calls has to be inlined to become part of each version.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
template <auto kBody, class... Arguments>
[[gnu::target("arch=x86-64-v4")]] auto run_in_avx512(Arguments... arguments) {
  return kBody(arguments...);
}

template <auto kBody, class... Arguments>
[[gnu::target("arch=x86-64-v3")]] auto run_in_avx2(Arguments... arguments) {
  return kBody(arguments...);
}

/// Calls `kBody`, an always_inline function, with copies of `arguments`: in the version, of those compiled
/// for AVX-512, AVX2 and the baseline, that cpu_capability() says.
template <auto kBody, class... Arguments>
auto for_this_processor(Arguments... arguments) {
  static const CpuCapability capability = cpu_capability();
  switch (capability) {
    case CpuCapability::avx512:
      return run_in_avx512<kBody>(arguments...);
    case CpuCapability::avx2:
      return run_in_avx2<kBody>(arguments...);
    default:
      return kBody(arguments...);
  }
}
#else
template <auto kBody, class... Arguments>
auto for_this_processor(Arguments... arguments) {
  return kBody(arguments...);
}
#endif

}  // namespace cohort

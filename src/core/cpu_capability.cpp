#include "cohort/core/cpu_capability.h"

#include <array>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort {
namespace {

constexpr std::array<std::pair<std::string_view, CpuCapability>, 3> kWords{
    {{"default", CpuCapability::baseline}, {"avx2", CpuCapability::avx2}, {"avx512", CpuCapability::avx512}}};

CpuCapability of_processor() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (__builtin_cpu_supports("x86-64-v4")) return CpuCapability::avx512;
  if (__builtin_cpu_supports("x86-64-v3")) return CpuCapability::avx2;
#endif
  return CpuCapability::baseline;
}

CpuCapability wanted(const std::string& word) {
  std::vector<std::string> known;
  for (const auto& [name, capability] : kWords) {
    if (name == word) return capability;
    known.emplace_back(name);
  }
  throw UsageError({fmt::format("'{}' names no kind of processor", word), "COHORT_CPU_CAPABILITY",
                    did_you_mean(word, known)});
}

CpuCapability capability_in_use() {
  const CpuCapability most = of_processor();
  const char* const word = std::getenv("COHORT_CPU_CAPABILITY");
  if (word == nullptr || *word == '\0') return most;
  const CpuCapability capability = wanted(word);
  if (capability > most) {
    throw UsageError(
        {fmt::format("this processor has no {}: {} is its most", name_of(capability), name_of(most)),
         "COHORT_CPU_CAPABILITY", "leave it unset: kernels use what there is"});
  }
  return capability;
}

}  // namespace

CpuCapability cpu_capability() {
  static const CpuCapability capability = capability_in_use();
  return capability;
}

std::string_view name_of(CpuCapability capability) {
  switch (capability) {
    case CpuCapability::avx512:
      return "AVX-512";
    case CpuCapability::avx2:
      return "AVX2";
    default:
      return "the baseline";
  }
}

}  // namespace cohort

#pragma once
#include <string>

namespace cohort::nn {

/// "AVX2, LibTorch's for AVX2, bf16 products in fp32": the kernels that networks use on this processor, for
/// logs. Throws UsageError as cpu_capability() does.
std::string kernels_in_use();

}  // namespace cohort::nn

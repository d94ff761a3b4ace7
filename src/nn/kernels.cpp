#include "cohort/nn/kernels.h"

#include <ATen/Version.h>
#include <fmt/format.h>

#include "cohort/core/cpu_capability.h"

#include "linear.h"

namespace cohort::nn {

std::string kernels_in_use() {
  return fmt::format("{}, LibTorch's for {}, bf16 products {}", name_of(cpu_capability()),
                     at::get_cpu_capability(), has_bf16_products() ? "of its own" : "in fp32");
}

}  // namespace cohort::nn

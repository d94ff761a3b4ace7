#include "cohort/nn/unit.h"

#include <ATen/ATen.h>

#include "cohort/core/memory.h"
#include "cohort/nn/unit_model.h"

namespace cohort::nn {

at::Tensor UnitRunner::run(std::size_t /*index*/, const at::Tensor& input, const Body& body) {
  return body(input);
}

void discard_values(torch::nn::Module& module) {
  for (const at::Tensor& parameter : module.parameters()) {
    c10::StorageImpl& storage = *parameter.storage().unsafeGetStorageImpl();
    storage.set_data_ptr_noswap(at::DataPtr(nullptr, parameter.device()));
    storage.set_nbytes(0);
  }
  return_freed_memory();
}

}  // namespace cohort::nn

#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/data/batch.h"
#include "cohort/nn/context.h"

namespace cohort::eval {

/// Of an evaluation pass over `batch` on `device`: group scope, no dropout.
nn::Conditions evaluation_conditions(const data::Batch& batch, const at::Device& device);

/// Collective. The rows [n, row_shape…] that ranks have in `parts`, all of them, row i at `order`[i]; on
/// every rank. `order`: of the gathered rows. `row_shape` serves ranks without any.
at::Tensor in_order(const std::vector<at::Tensor>& parts, std::vector<std::int64_t> row_shape,
                    const at::Tensor& order, comm::Communicator& ranks);

}  // namespace cohort::eval

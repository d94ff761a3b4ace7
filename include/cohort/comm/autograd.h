#pragma once
#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"

namespace cohort::comm {

/// Collective, forward and backward. The sum of `values` [n…] over all ranks; the gradient is summed over all
/// ranks too, which is the derivative of (the sum over ranks of every rank's loss) with respect to this
/// rank's values. Every rank must run the backward pass. Not recorded twice: no double backward. `ranks`
/// outlives the graph.
at::Tensor all_reduce_sum(const at::Tensor& values, Communicator& ranks);

}  // namespace cohort::comm

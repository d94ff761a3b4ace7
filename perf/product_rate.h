#pragma once
#include <c10/core/Device.h>

#include "cohort/comm/communicator.h"

namespace cohort::perf {

/// Collective. FLOP a second of matrix products of the sizes that transformers consist of, all ranks at once:
/// the best that each rank reached, added up. What a training step could reach that consisted of nothing
/// else.
double product_rate(c10::Device device, bool bf16, comm::Communicator& ranks);

}  // namespace cohort::perf

#pragma once
#include <span>

#include "cohort/comm/communicator.h"

#include "eval/exact_sum.h"

namespace cohort::eval {

/// Collective. Each of `sums` becomes that of all ranks; as many on every rank.
void sum_over_ranks(std::span<ExactSum> sums, comm::Communicator& ranks);

}  // namespace cohort::eval

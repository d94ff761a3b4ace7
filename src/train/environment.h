#pragma once
#include <cstdint>
#include <string>

#include "cohort/comm/communicator.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// Collective. The line of metrics.jsonl that says where a run begins or goes on after `step` steps: when,
/// with which version, on what. On every rank, but for the time and the processor, which are those of this
/// rank.
std::string start_json(const RunConfig& config, std::int64_t step, comm::Communicator& ranks);

}  // namespace cohort::train

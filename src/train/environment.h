#pragma once
#include <cstdint>
#include <string>

#include "cohort/comm/communicator.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// Collective. The line of metrics.jsonl that says where a run begins or goes on after `step` of
/// `total_steps` steps: when, with which version, on what, in which Slurm job. On every rank, but for the
/// time and the processor, which are those of this rank.
std::string start_json(const RunConfig& config, const std::string& device, std::int64_t step,
                       std::int64_t total_steps, comm::Communicator& ranks);

/// The line that says that the run was stopped after `step` steps. `reason`: "signal", "time limit", "file".
std::string stop_json(std::int64_t step, const std::string& reason);

}  // namespace cohort::train

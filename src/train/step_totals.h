#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/method/method.h"
#include "cohort/train/metrics.h"

namespace cohort::train {

/// What a rank knows of a step that all ranks have to know.
struct StepShare {
  std::vector<double>
      losses;         ///< this rank's shares of the global loss, one a backward pass, as many on every rank
  bool stop = false;  ///< it received a stop signal
  bool save = false;  ///< by its clock it is time for a checkpoint
  std::chrono::duration<double> data_wait{0}, comm_wait{0};
  double read_seconds = 0.0, view_seconds = 0.0;  ///< of data::Batch
  std::int64_t memory_bytes = 0, device_memory_bytes = 0;
  std::uint64_t calls = 0;  ///< shard::ShardedModel::take_calls()
  method::Metrics metrics;
};

/// The same over all ranks, equal on each of them.
struct StepTotals {
  double loss = 0.0;
  bool stop = false;                                       ///< some rank received a stop signal
  bool save = false;                                       ///< for some rank it is time for a checkpoint
  double data_seconds = 0.0, comm_seconds = 0.0;           ///< mean over ranks
  double read_seconds = 0.0, view_seconds = 0.0;           ///< mean over ranks
  std::int64_t memory_bytes = 0, device_memory_bytes = 0;  ///< of the largest rank
  std::vector<double> losses;                              ///< StepShare::losses of rank 0, of rank 1 …
  std::vector<std::pair<std::string, double>> metrics;
};

/// Collective. One all-reduce carries everything, the agreement to stop as well. Bug, on every rank, when
/// ranks ran other units: their sums would be worthless.
StepTotals sum_over_ranks(const StepShare& share, comm::Communicator& ranks);

/// What is known of a step that is done.
StepRecord step_record(const StepTotals& totals, const method::Step& step, double lr, double gradient_norm,
                       std::chrono::duration<double> time);

/// Largest resident memory that this process has had.
std::int64_t peak_memory_bytes() noexcept;
/// Most bytes that tensors of this process have had on `device` at once; 0 for the CPU.
std::int64_t peak_memory_bytes(at::Device device);

}  // namespace cohort::train

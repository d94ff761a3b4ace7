#pragma once
#include <string>
#include <utility>
#include <vector>

#include "plan/collective_cost.h"
#include "plan/simulation.h"
#include "plan/workload.h"

namespace cohort::perf {

/// Seconds that operators take on a processor: the larger of the time on the device and the time to launch
/// them. On the device each takes the longest of FLOPs over the peak, bytes over the bandwidth - of both the
/// part that large kernels reach - and the shortest time that a kernel takes.
double operator_seconds(const std::vector<Operator>& operators, const Processor& processor, bool bf16);

/// Bytes of a rank, by what they are for.
struct MemoryPart {
  std::string name;
  double bytes = 0;
};

/// How a step is done.
struct Choice {
  shard::Strategy strategy = shard::Strategy::replicate;
  int shards = 1;
  int micro_batches = 1;
  bool checkpointing = false;
};

/// Of a training step on one rank.
struct Prediction {
  Choice choice;
  std::int64_t images = 0;  ///< of a rank in a step
  std::vector<MemoryPart> memory;
  double memory_bytes = 0, memory_limit = 0;
  SimulatedStep step;
  double flops = 0;  ///< that the model needs for the rank's images: Rehearsal::model_flops()
  [[nodiscard]] bool fits() const noexcept { return memory_bytes <= memory_limit; }
};

/// The configuration under a choice, which replaces what it says of these.
train::RunConfig under(const train::RunConfig& config, const Choice& choice);

/// A step of a rank. `images`: of a rank in a step.
Rehearsal rehearse(const Workload& workload, const Layout& layout, const Choice& choice, std::int64_t images);

/// FLOP that the model needs for so many images of a rank in one step, on any number of ranks.
double model_flops(const Workload& workload, std::int64_t images);

/// `images`: of a rank in a step.
Prediction predict(const Workload& workload, const Cluster& cluster, const Choice& choice,
                   std::int64_t images);

/// Part of the peak in bf16 or fp32, as the configuration computes, that the model's FLOPs are: the model
/// FLOPs utilization.
double utilization(const Prediction& prediction, const Processor& processor, bool bf16);

/// Young's and Daly's interval between checkpoints, in s (CACM 17(9), 1974; Future Generation Computer
/// Systems 22(3), 2006, equation 37): `cost`: s of a checkpoint; `mean_time`: s between failures of the whole
/// job.
double young_interval(double cost, double mean_time);
double daly_interval(double cost, double mean_time);

}  // namespace cohort::perf

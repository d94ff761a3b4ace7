#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cohort/core/error.h"

#include "plan/prediction.h"

namespace cohort::perf {

struct PlanOptions {
  std::string config;                  ///< file of cohort train
  std::vector<std::string> overrides;  ///< a.b=c
  int nodes = 1, gpus_per_node = 8;
  std::string gpu = "h100", network = "infiniband-ndr400";
  std::string hardware;             ///< file with more of them; empty: none
  std::string strategy;             ///< empty: the best one is looked for
  std::int64_t micro_batches = 0;   ///< 0: looked for
  bool scale_batch = false;         ///< as many groups a step as ranks need at least
  std::vector<std::int64_t> image;  ///< C,H,W of images that are not there
  std::int64_t images = 0, classes = 1000, contexts = 100;
  double hours_between_failures = 6300;    ///< of one node
  double write_gb_s = 5;                   ///< of the file system, for a checkpoint
  double checkpoint_seconds = 0;           ///< 0: from write_gb_s
  bool kernels = false, schedule = false;  ///< print these instead
  bool json = false;
};

/// Everything that the command tells.
struct Plan {
  Workload workload;
  Cluster cluster;
  Prediction configured;               ///< as the configuration says
  std::optional<Prediction> best;      ///< the fastest that fits; none: nothing does
  std::optional<Prediction> one_node;  ///< the best one's way on one node, with as many images a rank
  double checkpoint_bytes = 0, checkpoint_seconds = 0, mean_time_between_failures = 0;

  [[nodiscard]] const Prediction& chosen() const { return best ? *best : configured; }
  [[nodiscard]] double images_per_second() const;
  /// Images/s of a node, relative to a node alone.
  [[nodiscard]] double efficiency() const;
};

/// Throws UsageError: what the configuration, the hardware, or the numbers of ranks, groups and micro-batches
/// do not allow.
Plan make_plan(const PlanOptions& options);

struct PublishedComparison {
  std::string source, what;
  double published = 0, predicted = 0;  ///< tokens/s of a device
};

/// Predictions of published training runs of language models under FSDP.
std::vector<PublishedComparison> compare_published();

}  // namespace cohort::perf

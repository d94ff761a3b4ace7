#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cohort/method/method.h"
#include "cohort/train/run_config.h"

#include "model_cost.h"

namespace cohort::perf {

/// A parameter of a unit.
struct PlannedParameter {
  std::int64_t values = 0;
  std::int64_t dimensions = 0;
  bool trained = true;
  bool has_gradient = true;  ///< false: nothing that the loss depends on (the last layerwise context network)
};

/// A network of the method: its units as shard::ShardedModel has them, the root unit last.
struct PlannedPart {
  std::string name;
  bool trained = true;
  std::vector<std::vector<PlannedParameter>> units;
  [[nodiscard]] double values() const noexcept;
};

/// What stands in for a dataset that is not there.
struct StandIn {
  std::int64_t channels = 0, height = 0, width = 0;  ///< 0: not given
  std::int64_t images = 0, classes = 1000, contexts = 100;
};

/// What a configuration asks of each step, whoever computes it.
struct Workload {
  train::RunConfig config;
  nn::VitShape model;
  std::optional<nn::DinoHeadShape> head;
  std::int64_t counts = 0;  ///< numbers of labels that the ranks add up before the loss; 0: none
  std::vector<data::ViewShape> views;
  std::vector<PlannedPart> parts;  ///< in the order of the method
  std::int64_t images = 0;         ///< of the training split
  double image_bytes = 0;          ///< of one image as it is stored, on average
  bool from_dataset = false;

  [[nodiscard]] std::int64_t global_images() const noexcept;
  /// Of the whole run. Counts an epoch as images / global batch.
  [[nodiscard]] double steps() const noexcept;
};

/// Builds the networks without memory for their values, with the code that trains them. Throws UsageError: no
/// dataset and no stand-in; an encoder or a method whose cost has no formula; whatever train::build_method()
/// refuses.
Workload make_workload(const train::RunConfig& config, const StandIn& stand_in);

/// Of the method's networks, where they have such a head.
std::optional<nn::DinoHeadShape> dino_head_of(method::Method& method);

/// Whether StepShape can say what a step of the configured method costs: that of an encoder alone, or of
/// DINO. `head`: dino_head_of() the method.
bool has_formula(const train::RunConfig& config, const std::optional<nn::DinoHeadShape>& head);

/// Kernels of a micro-batch of `images` on one rank.
StepShape step_shape(const Workload& workload, std::int64_t images);

}  // namespace cohort::perf

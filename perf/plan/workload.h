#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "cohort/data/description.h"
#include "cohort/method/method.h"
#include "cohort/train/run_config.h"

namespace cohort::perf {

/// What stands in for a dataset that is not there.
struct StandIn {
  std::int64_t channels = 0, height = 0, width = 0;  ///< 0: not given
  std::int64_t images = 0, classes = 1000, contexts = 100;
};

/// What a configuration asks of each step, whoever computes it.
struct Workload {
  train::RunConfig config;
  data::Description description;           ///< of what is trained on
  std::shared_ptr<method::Method> method;  ///< its networks without values
  std::int64_t images = 0;                 ///< of the training split
  double image_bytes = 0;                  ///< of one image as it is stored, on average
  bool from_dataset = false;
  std::string encoder;         ///< nn::Encoder::summary() of the first one
  std::size_t views = 0;       ///< of an image
  double trained_values = 0;   ///< parameters of the part that is trained
  double followed_values = 0;  ///< of the others

  [[nodiscard]] std::int64_t global_images() const noexcept;
  /// Of the whole run. Counts an epoch as images / global batch.
  [[nodiscard]] double steps() const noexcept;
};

/// Builds the networks without memory for their values, with the code that trains them. Throws UsageError: no
/// dataset and no stand-in; whatever train::build_method() refuses.
Workload make_workload(const train::RunConfig& config, const StandIn& stand_in);

}  // namespace cohort::perf

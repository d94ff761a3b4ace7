#pragma once
#include <cstdint>

#include "cohort/data/batch.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// The views of training images that the method of a configuration learns from: one under supervised, two
/// under dino. Safe from any thread. Throws UsageError (augment::training_view()).
data::ViewMaker training_views(const RunConfig& config, const data::Description& description,
                               std::int64_t epoch);

}  // namespace cohort::train

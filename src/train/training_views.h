#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "cohort/augment/device_views.h"
#include "cohort/data/description.h"
#include "cohort/data/view_maker.h"
#include "cohort/train/run_config.h"

namespace cohort::train {

/// The views of training images that the method of a configuration learns from: those of augment.preset.
/// The preset 'whole' gives as many views as the method takes, each with changes of its own. Throws
/// UsageError (augment::training_views()).
std::unique_ptr<data::ViewMaker> training_views(const RunConfig& config, const data::Description& description,
                                                std::int64_t epoch);

/// What makes these views where the model computes, of batches that came without; none unless
/// augment.on_device. Throws UsageError (augment::DeviceViews).
std::optional<augment::DeviceViews> device_views(const RunConfig& config,
                                                 const data::Description& description, at::Device device);

}  // namespace cohort::train

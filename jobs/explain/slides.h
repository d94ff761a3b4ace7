#pragma once
#include <string>

#include "cohort/comm/communicator.h"

#include "material.h"

namespace cohort::jobs {

/// Collective. Before anything is computed: that the images are tiles, slide after slide. Throws DataError.
void check_tiles(Material& material, comm::Communicator& ranks);

/// Collective. Draws the maps of all tiles of `material.test` where they lie, into `folder`: attention, and
/// saliency of classes, of two the second one, at most of the first HeatMaps::kMostMaps. Throws UsageError,
/// DataError or NumericalError.
void draw_slides(const ExplainOptions& options, const TrainedModel& trained, Material& material,
                 const std::string& folder, comm::Communicator& ranks);

}  // namespace cohort::jobs

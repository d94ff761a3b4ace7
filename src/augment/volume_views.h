#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "cohort/augment/views.h"
#include "cohort/data/view_maker.h"

#include "augment/policy_table.h"

namespace cohort::augment {

/// Where a view of a volume is cut: place in the view -> place in the volume, along x and y, and along z.
struct VolumeCut {
  data::Affine to_volume{};
  data::DepthMap depth{};
};

/// That of all steps one after the other, for a view of `size`.
VolumeCut cut_of(std::span<const Step> steps, Sides size);

/// The views of a table for volumes. First all steps that move places, together and by one interpolation
/// (trilinear between middles of voxels, borders repeated), so that nothing of the volume is lost beyond the
/// borders of a crop; then those that change values, in their order. Throws UsageError: a table that needs a
/// mask, of a dataset without one.
std::unique_ptr<data::ViewMaker> volume_views(Table table, bool shuffles_channels,
                                              const data::Description& description,
                                              Normalisation normalisation, std::uint64_t seed,
                                              std::int64_t epoch);

}  // namespace cohort::augment

#pragma once
#include <memory>
#include <string>

#include "cohort/augment/multi_crop.h"
#include "cohort/data/description.h"
#include "cohort/data/view_maker.h"

namespace cohort::augment {

/// Which kernel makes the views of a preset where the model computes, by what their recipes are.
enum class Kernel {
  whole,   ///< WholeRecipe
  colour,  ///< ColourRecipe
  cell,    ///< CellRecipe
  none
};

/// Throws UsageError, as training_views().
Kernel kernel_of(const ViewConfig& config, const data::Description& description);

/// The first operation that no kernel has, or has in another order; for Kernel::none.
std::string operation_without_kernel(const ViewConfig& config, const data::Description& description);

/// The views of a table: `global_views` of the image, then local crops. Throws UsageError.
std::unique_ptr<data::ViewMaker> policy_views(const ViewConfig& config, std::int64_t global_views,
                                              const data::Description& description,
                                              Normalisation normalisation, std::uint64_t seed,
                                              std::int64_t epoch);

}  // namespace cohort::augment

#pragma once
#include <cstdint>

#include "data_prep/splits.h"

namespace cohort::data_prep {

/// The fold of every chosen image, -1 of the others, as scikit-learn 1.9 deals them without shuffling, by the
/// order of the images: StratifiedKFold, of images with groups StratifiedGroupKFold. Precondition: there are
/// classes. Takes 8 bytes for each fold and class, and for each group and class. Throws UsageError: a class
/// has fewer images than there are folds, or there are fewer groups.
data::PackedIndices scikit_learn_folds(const Divisible& images, std::int64_t folds);

}  // namespace cohort::data_prep

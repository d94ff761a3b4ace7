#pragma once
#include <string>

#include "data_prep/convert.h"

namespace cohort::data_prep {

/// Whether a split of this name is the one to train on.
bool is_training_name(const std::string& name);

/// Gives `plan`, whose contexts and labels are there, its splits: those of the source, or those that are held
/// out, and then what is divided at random. Throws UsageError or DataError.
void add_splits(const Source& source, const ConvertOptions& options, Plan& plan);

}  // namespace cohort::data_prep

#pragma once
#include <filesystem>

#include "cohort/comm/communicator.h"

#include "data_prep/splits.h"

namespace cohort::data_prep {

/// Collective. What `cohort-data split` makes of a dataset with these options: the same images with other
/// splits, in the folder `out`; nothing when it is there already. Throws UsageError or DataError, also when
/// the folder holds another dataset.
void write_fold(const std::filesystem::path& dataset, const DivisionOptions& division,
                const std::filesystem::path& out, comm::Communicator& ranks);

}  // namespace cohort::data_prep

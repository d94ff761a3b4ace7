#pragma once
#include <filesystem>

#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"

namespace cohort::data_prep {

/// Collective. Checks every byte of a dataset: the files against their checksums, every row against its own,
/// labels and contexts against the vocabularies, ids for uniqueness. Shards are shared out over the ranks.
/// Rank 0 prints all damage, one line each. Returns `data` if there is any.
ExitCode verify(const std::filesystem::path& folder, comm::Communicator& ranks);

}  // namespace cohort::data_prep

#pragma once
#include <filesystem>
#include <string>

#include "cohort/comm/communicator.h"
#include "cohort/train/run_config.h"

namespace cohort::perf {

/// Collective. Writes noise as a dataset that `config` can train on (its context keys, its label, contexts
/// large enough for its groups) into `folder` and lets the configuration read that. `size`: "96x96x3",
/// height, width and channels. Throws UsageError or DataError.
void use_synthetic_images(train::RunConfig& config, const std::string& size,
                          const std::filesystem::path& folder, comm::Communicator& ranks);

}  // namespace cohort::perf

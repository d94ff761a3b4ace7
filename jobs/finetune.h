#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "cohort/checkpoint/export.h"

namespace cohort::jobs {

/// KEY=VALUE for each option of a run's model, contexts and chosen channels: what a configuration needs so
/// that training goes on from the run's encoder. Throws DataError: not the folder of a run.
std::vector<std::string> model_of_run(const std::string& run);

/// Writes the encoder `part` of a checkpoint (empty: the one that is judged) to a safetensors file. One rank
/// calls it. Throws DataError or UsageError.
void export_encoder(const checkpoint::Store& store, const checkpoint::Location& from, const std::string& part,
                    const std::filesystem::path& file);

}  // namespace cohort::jobs

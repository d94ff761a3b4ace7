#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cohort/eval/explanation_scores.h"

#include "material.h"
#include "support/json.h"

namespace cohort::jobs {

/// Collective. What --score asks for; empty: nothing. Throws UsageError, DataError or NumericalError.
std::vector<eval::ExplanationScores> score_maps(const ExplainOptions& options, const TrainedModel& trained,
                                                Material& material, comm::Communicator& ranks);

/// What explain.json says of them: means with intervals, contexts, classes and curves of each method. Null:
/// nothing was scored.
Json scores_json(const std::vector<eval::ExplanationScores>& scores);

/// A table for the terminal: methods below each other, then contexts and classes, worst first, of many the
/// worst and the best alone.
std::string scores_table(const std::vector<eval::ExplanationScores>& scores,
                         std::optional<std::size_t> columns);

/// Collective. Writes a JSON object a line for each image and method, on rank 0. Throws DataError.
void write_image_scores(const std::vector<eval::ExplanationScores>& scores, const data::Dataset& dataset,
                        const std::filesystem::path& file, comm::Communicator& ranks);

}  // namespace cohort::jobs

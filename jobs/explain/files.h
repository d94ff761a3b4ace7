#pragma once
#include <filesystem>
#include <vector>

#include "cohort/eval/explain.h"
#include "cohort/eval/explanation_scores.h"

#include "findings.h"
#include "material.h"
#include "support/json.h"

namespace cohort::jobs {

/// Writes explain.json, maps.safetensors and pictures of `classes` into `folder`. `scores`: of explain.json;
/// null: none were asked for. One rank calls it. Throws DataError.
void write_explanation(const TrainedModel& trained, Material& material, eval::ExplainedClasses classes,
                       const eval::Explanation& explanation, const SplitFindings& found, const Json& scores,
                       const std::filesystem::path& folder);

}  // namespace cohort::jobs

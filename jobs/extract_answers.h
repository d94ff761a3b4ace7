#pragma once
#include <string>

#include "cohort/comm/communicator.h"
#include "cohort/eval/table.h"

#include "model_source.h"

namespace cohort::jobs {

/// Collective. Writes what the method of a run answers to the images of a split, /answers/<name> [N, …] f32,
/// with ids, labels and contexts, as eval::FeatureWriter does: goes on where it was stopped. Throws
/// UsageError (the method has no task, or its answers differ in length from image to image) or DataError.
/// Returns images per second.
double extract_answers(const ModelSource& source, const std::string& split, const std::string& file,
                       comm::Communicator& ranks);

}  // namespace cohort::jobs

#pragma once
#include <optional>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/eval/explain.h"

#include "jobs/trained_model.h"
#include "material.h"

namespace cohort::jobs {

/// What the model says of the images of a split, of which nothing is kept but this.
struct Findings {
  std::vector<eval::ContextTokens> tokens;  ///< of each context key of the model
  std::optional<eval::Similar> similar;     ///< images of the training split
};

/// What passes over both splits find.
struct SplitFindings {
  Findings train, test;
};

/// Collective. Nothing where material.train is none.
SplitFindings look_at_splits(const ExplainOptions& options, const TrainedModel& trained,
                             const Material& material, comm::Communicator& ranks);

}  // namespace cohort::jobs

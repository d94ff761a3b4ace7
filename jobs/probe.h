#pragma once
#include <string>

#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"
#include "cohort/eval/probe.h"

#include "features.h"

namespace cohort::jobs {

/// What cohort probe does.
struct ProbeOptions {
  FeatureOptions features;
  eval::ProbeConfig config;
  std::string kind = "linear", select_on, save;
  bool raw = false;
};

/// Collective. Trains classifiers on features, prints and writes the scores of the one that is chosen. Throws
/// UsageError, DataError or NumericalError.
ExitCode probe_features(ProbeOptions options, comm::Communicator& ranks);

}  // namespace cohort::jobs

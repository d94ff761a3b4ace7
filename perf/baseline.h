#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "cohort/core/error.h"

namespace cohort::perf {

/// What is known of a ratio (gate.cpp) on machines of one kind.
struct BaselineEntry {
  double ratio = 0;  ///< median of the runs on record
  double noise = 0;  ///< how far below that a run may lie, as a part of it
};

/// Those of perf/baseline.json for a kind of machine, by name; none when it has no such machine. Throws
/// DataError.
std::map<std::string, BaselineEntry> read_baseline(const std::filesystem::path& file,
                                                   const std::string& machine);

/// Without ranks. Replaces what `file` has on the machines of `runs`, the output of several runs of
/// cohort-perf gate --json. The noise reaches to where 99 of 100 runs alike would lie above: the prediction
/// interval of Student's t distribution, on logarithms,
/// with the deviation of the lower half; 5 % at least. Throws DataError or UsageError.
ExitCode record_baseline(const std::string& runs, const std::string& file);

}  // namespace cohort::perf

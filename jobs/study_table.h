#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cohort/core/runs_interval.h"

#include "study.h"

namespace cohort::jobs {

/// Runs of a group that have ended, by run and fold.
using RunScores = std::map<std::pair<std::int64_t, std::int64_t>, double>;

/// A group, and what became of it.
struct GroupResult {
  StudyGroup group;
  std::string rate;  ///< that was chosen; empty: there was no choice
  bool lower_is_better = false;
  RunScores scores;
};

/// Two encoders on a task in a mode: the scores of the first less those of the second, over the runs of equal
/// seed and fold.
struct Difference {
  std::size_t task;
  StudyMode mode;
  std::size_t first, second;  ///< encoders
  RunsInterval interval;
  /// Whether the mean lies beyond its interval; of one run alone it does not.
  [[nodiscard]] bool is_clear() const;
};

/// Of every two encoders that have runs in common, in the order of the groups.
std::vector<Difference> differences_of(const Study& study, const std::vector<GroupResult>& results);

/// Long tables, a line a group or a pair of encoders; numbers have 9 digits.
std::string scores_csv(const Study& study, const std::vector<GroupResult>& results);
std::string differences_csv(const Study& study, const std::vector<GroupResult>& results);
/// A line an encoder, a column each task and mode: mean ± half width, the best of a column bold; below it the
/// differences, those beyond their interval with a star; then what has not ended.
std::string study_markdown(const Study& study, const std::vector<GroupResult>& results);
/// The first of these tables, of the package booktabs.
std::string study_latex(const Study& study, const std::vector<GroupResult>& results);
/// Bars with intervals, encoders side by side: an SVG, light or dark as the reader's system prefers.
std::string study_picture(const Study& study, const std::vector<GroupResult>& results);

}  // namespace cohort::jobs

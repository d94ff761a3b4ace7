#pragma once
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "run.h"

namespace cohort::report {

/// A value as text; the best one of its column within a split is marked when several runs have one.
struct Cell {
  std::string text;
  bool best = false;
  std::string range{};  ///< "78.9 … 83.4": 95 % interval, where there is room for it
};

/// The last evaluation of one run on one split.
struct ScoreRow {
  std::string split;
  std::size_t run = 0;      ///< index into the runs
  std::vector<Cell> cells;  ///< as score_columns()
};

/// "accuracy", "balanced accuracy", …
std::span<const std::string> score_columns();

/// A row for every split and run, splits in order of appearance; none for a run without evaluations.
std::vector<ScoreRow> score_rows(std::span<const Run> runs);

/// What there is to say of a run without evaluations, such as of one that learns without labels.
struct UnscoredRow {
  std::size_t run = 0;             ///< index into the runs
  std::vector<std::string> cells;  ///< as unscored_columns()
};

/// "method", "steps", …; two lines each, the second may be empty.
std::span<const std::array<std::string, 2>> unscored_columns();
std::vector<UnscoredRow> unscored_rows(std::span<const Run> runs);

/// "81.2 %"; "–" for NaN.
std::string percent(double fraction);

}  // namespace cohort::report

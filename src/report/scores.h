#pragma once
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

/// A row for every split and run, splits in order of appearance; a run without evaluations has one with the
/// split "–".
std::vector<ScoreRow> score_rows(std::span<const Run> runs);

/// "81.2 %"; "–" for NaN.
std::string percent(double fraction);

}  // namespace cohort::report

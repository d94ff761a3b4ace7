#pragma once
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "run.h"

namespace cohort::report {

/// By the direction of `a`.
bool is_worse(const Score& a, const Score& b);
/// " ↑" where more is better, else " ↓".
std::string arrow(const Score& score);
/// "F1 macro" for f1_macro.
std::string shown_name(std::string_view name);
/// What a column of the score is called, and whether more is better: "PSNR ↑, dB".
std::string shown_title(const Score& score);
/// Accuracies in percent, others with three digits or more; "–" for NaN.
std::string shown_value(const Score& score);
/// Whether the score is written in percent.
bool is_percentage(const Score& score);
/// "78.9 … 83.4", the 95 % interval as shown_value() writes it; empty without one.
std::string shown_range(const Score& score);

/// A title in two lines about as long as each other, without a comma between them; the second is empty for a
/// single word.
using Heading = std::array<std::string, 2>;
Heading heading_of(const std::string& title);

/// What a score of several evaluations is, without its value: of the first evaluation that has it.
std::vector<Score> scores_of(std::span<const Evaluation* const> evaluations);

/// Tasks of the runs, in order of appearance.
std::vector<std::string> tasks_of(std::span<const Run> runs);
/// Splits that a task was evaluated on.
std::vector<Split> splits_of(std::span<const Run> runs, const std::string& task);
/// The last evaluation of each run and split of a task, and the run's number.
std::vector<std::pair<std::size_t, const Evaluation*>> last_evaluations(std::span<const Run> runs,
                                                                        const std::string& task);

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
  std::vector<Cell> cells;  ///< as ScoreTable::columns
};

/// All runs and splits of one task.
struct ScoreTable {
  std::string task;
  std::vector<std::string> columns;  ///< titles: "images", "accuracy ↑", …
  std::vector<ScoreRow> rows;        ///< splits in order of appearance
};

/// A table for every task.
std::vector<ScoreTable> score_tables(std::span<const Run> runs);

/// What there is to say of a run without evaluations, such as of one that learns without labels.
struct UnscoredRow {
  std::size_t run = 0;             ///< index into the runs
  std::vector<std::string> cells;  ///< as unscored_columns()
};

/// "method", "steps", …
std::span<const Heading> unscored_columns();
std::vector<UnscoredRow> unscored_rows(std::span<const Run> runs);

/// "81.2 %"; "–" for NaN.
std::string percent(double fraction);

}  // namespace cohort::report

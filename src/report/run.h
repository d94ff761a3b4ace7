#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "embedding.h"
#include "evaluation.h"
#include "explanation.h"
#include "thinned_series.h"

namespace cohort::report {

/// A line that says where a run began, or went on.
struct Begin {
  std::string time, version, processor, precision, sharding;
  std::int64_t ranks = 0, hosts = 0, threads = 0;
};

/// A step whose numbers were bad, and what became of it.
struct BadStep {
  std::int64_t step = 0;
  std::string what, cause, action;
};

/// Where the ranks' time went in the last steps on record: seconds a step, by rank.
struct RankTimes {
  std::int64_t step = 0, steps = 0;  ///< the last step, how many there were
  std::vector<std::string> hosts;
  std::vector<std::pair<std::string, std::vector<double>>>
      columns;  ///< "busy" first, then what it consists of
};

/// The last line of a run that came to its end.
struct End {
  double seconds = 0.0;
  double images_per_second = 0.0;  ///< in training, over all ranks
  std::int64_t ranks = 0;
  std::int64_t parameters = 0;
  std::string reason;  ///< why before its last step; empty: it was not
};

/// The evaluation that was best by checkpoint.best_by.
struct Best {
  std::int64_t step = 0;
  std::string by;
  double score = 0.0;
};

/// What a run folder tells. Lines of steps that were repeated after a resume replace those written before it.
struct Run {
  std::string name;  ///< of the folder
  std::string config_text;
  std::map<std::string, std::string> config;  ///< dotted key → value
  /// Numbers of the step lines, by key, and of the features lines, by "features: <key>".
  /// (ThinnedSeries::points()).
  std::map<std::string, Series> series;
  std::map<std::string, Series> means;  ///< ThinnedSeries::means() of those that were thinned
  std::int64_t thinned_steps = 0;       ///< steps of the longest of these
  /// In order of steps. Those that another one of their split follows have what charts show of them: strip().
  std::vector<Evaluation> evaluations;
  std::string views;                       ///< PNG of what the model saw; empty: none
  std::string pictures;                    ///< PNG of what the method made of images; empty: none
  std::string pictures_caption;            ///< what its columns are
  std::optional<Explanation> explanation;  ///< of cohort explain
  std::optional<Embedding> embedding;      ///< of cohort embed
  std::optional<RankTimes> rank_times;     ///< nothing of earlier versions and short runs
  std::vector<Begin> begins;               ///< as often as it was started; empty: not on record
  std::optional<Best> best;
  std::vector<BadStep> bad_steps;  ///< in order of steps
  std::optional<End> end;          ///< nothing while the run goes on, or was stopped

  [[nodiscard]] std::int64_t steps() const noexcept;  ///< steps on record
  /// The last evaluation of a split; null if there is none.
  [[nodiscard]] const Evaluation* last(const Split& split) const noexcept;
  /// In training over all ranks: of the whole run, or of the steps so far. Nothing without steps.
  [[nodiscard]] std::optional<double> images_per_second() const;
};

/// Throws DataError with file and line. A last line without its end, as a killed run leaves it, is left out.
Run read_run(const std::filesystem::path& folder);

/// Several runs; those whose folders have the same name are told apart by their paths.
std::vector<Run> read_runs(std::span<const std::filesystem::path> folders);

/// All splits of the runs, in order of appearance.
std::vector<Split> splits_of(std::span<const Run> runs);

}  // namespace cohort::report

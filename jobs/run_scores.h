#pragma once
#include <filesystem>
#include <optional>
#include <string>

namespace cohort::jobs {

struct RunScore {
  double value = 0.0;
  bool lower_is_better = false;
};

/// Of the best evaluation of a run (checkpoint.best_by), the score of this name: "test/auc",
/// "test/knn_20/auc". From its metrics.jsonl; nothing when there is no such file, evaluation or score.
/// Throws DataError for a file that cannot be read.
std::optional<RunScore> best_score_of_run(const std::filesystem::path& metrics, const std::string& name);

/// The same of a file of cohort probe, whose evaluations are those of its one classifier.
std::optional<RunScore> score_of_probe(const std::filesystem::path& file, const std::string& name);

}  // namespace cohort::jobs

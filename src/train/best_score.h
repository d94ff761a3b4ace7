#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/eval/task.h"
#include "cohort/method/method.h"
#include "cohort/train/run_config.h"

#include "train/judgement.h"

namespace cohort::train {

/// What a method's answers are scored by.
struct TaskScores {
  std::vector<std::string> splits;  ///< empty: they are not
  std::vector<eval::ScoreName> scores;
};

/// Names that checkpoint.best_by may have: "test/auc" for a split that the head answers for,
/// "test/knn_20/auc" for one that 20 neighbours do, "features/effective_rank" with neighbours; "test/dice"
/// for one that answers to a task are scored on.
std::vector<std::string> score_names(std::span<const std::string> by_head, const TaskScores& by_task,
                                     std::span<const std::string> by_neighbours,
                                     std::span<const std::int64_t> neighbours);

/// Of these names. Nothing when the evaluation has no such score, as an AUC of one class.
std::optional<double> score_named(const std::string& name, const Judgement& judgement);

/// Which evaluation of a run was the best one so far, and for how long none was better: what
/// checkpoint.best_by and train.early_stopping go by. A score that is not there or not a number is never
/// better, nor is one that is as good as the best. What it knows is a buffer of the checkpoints.
class BestScore {
 public:
  /// Throws UsageError: best_by is none of `names`; early stopping or a plateau without it.
  BestScore(const RunConfig& config, std::span<const std::string> names, const TaskScores& by_task);

  [[nodiscard]] bool is_used() const noexcept { return !by_.empty(); }
  [[nodiscard]] bool lower_is_better() const noexcept { return lower_is_better_; }
  /// Which score it is: 48 bits of a checksum.
  [[nodiscard]] std::uint64_t identity() const noexcept { return score_; }
  /// Whether a checkpoint is to be kept of an evaluation with this score.
  [[nodiscard]] bool is_best(double score) const noexcept;
  /// Whether the run is to end behind an evaluation with this score.
  [[nodiscard]] bool is_last(double score) const noexcept;
  /// Takes it in. What is saved before knows nothing of it: a run that goes on from there evaluates again.
  void note(double score, std::int64_t step);

  [[nodiscard]] std::optional<std::int64_t> best_step() const noexcept;
  /// "/schedule/best".
  [[nodiscard]] method::Buffer buffer() const;
  /// The buffer has the values of a checkpoint: what they say of another score (checkpoint.best_by,
  /// eval.neighbours_of) is forgotten.
  void restored();

 private:
  [[nodiscard]] bool is_better(double score, double than) const noexcept;
  [[nodiscard]] bool counts(double score) const noexcept;
  [[nodiscard]] float& at(int value) const noexcept;
  void begin() noexcept;

  std::string by_;
  bool lower_is_better_;
  std::uint64_t score_;
  EarlyStoppingConfig stopping_;
  at::Tensor values_;
};

}  // namespace cohort::train

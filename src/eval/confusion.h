#pragma once
#include <cstdint>
#include <vector>

#include "cohort/eval/scores.h"

#include "eval/flag_counts.h"

namespace cohort::eval {

/// How often each label (rows) got each answer (columns).
class Confusion {
 public:
  /// `counts`: row-major.
  Confusion(std::vector<std::int64_t> counts, std::int64_t classes);

  /// The counts, and what they say.
  void put(Scores& scores) const;
  /// How many images have each label.
  [[nodiscard]] std::vector<std::int64_t> of_labels() const;
  /// Of class `of` against the rest.
  [[nodiscard]] FlagCounts counts_of(std::int64_t of) const;
  /// Recall averaged over the classes that occur as labels.
  [[nodiscard]] double balanced_accuracy() const;
  /// Accuracy of always answering the most frequent label.
  [[nodiscard]] double majority() const;
  /// Harmonic means of precision and recall, averaged over the classes that occur as label or answer; 0 for a
  /// class that is never answered rightly.
  [[nodiscard]] double f1_macro() const;
  /// The same, weighted by the number of labels.
  [[nodiscard]] double f1_weighted() const;
  /// Agreement beyond chance (J. Cohen, "A coefficient of agreement for nominal scales", 1960); 0 when all
  /// labels and answers are of one class.
  [[nodiscard]] double kappa() const;

 private:
  [[nodiscard]] std::int64_t at(std::int64_t label, std::int64_t answer) const;
  [[nodiscard]] std::int64_t labels_of(std::int64_t label) const;
  [[nodiscard]] std::int64_t answers_of(std::int64_t answer) const;
  [[nodiscard]] double f1(std::int64_t of) const;

  std::int64_t classes_, images_;
  std::vector<std::int64_t> counts_;
};

}  // namespace cohort::eval

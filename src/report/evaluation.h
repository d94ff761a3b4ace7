#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metrics_line.h"
#include "thinned_series.h"

namespace cohort::report {

/// Ends of a 95 % interval.
struct Range {
  double low = 0.0, high = 0.0;
};

/// One number of a scorecard. NaN: there is none.
struct Score {
  std::string name;  ///< "balanced_accuracy"
  double value = std::numeric_limits<double>::quiet_NaN();
  std::optional<Range> range{};
  bool higher_is_better = true;
  std::string unit{};
};

/// Scores of the images of one context or class; one at least.
struct Group {
  std::string name;
  std::int64_t samples = 0;
  std::vector<Score> scores;
};

/// By the values of one context key.
struct Contexts {
  std::string key;
  std::vector<Group> groups;  ///< worst first, by their first score, which is a number
};

/// A curve that a task gave.
struct ScoredCurve {
  std::string kind, of, x, y;
  Series points;
};

/// An image to be looked at.
struct Case {
  std::int64_t row = 0;
  double score = 0.0;
  std::string what;
  std::string id;         ///< empty: not on record
  std::string picture{};  ///< JPEG; empty: none
};

/// What was evaluated: images, and as what.
struct Split {
  std::string task;  ///< "classification"
  std::string name;  ///< with the classifier, where it is not the model's head: "test, knn k=20"
  friend bool operator==(const Split&, const Split&) = default;
};

/// How many scores of an evaluation charts show, and tables before others.
inline constexpr std::size_t kFirstScores = 3;

/// One evaluation line. Numbers that the line gives as null are NaN.
struct Evaluation {
  std::int64_t step = 0;
  Split split;
  std::string images_of;  ///< split of the dataset
  std::int64_t images = 0;
  std::vector<Score> scores;  ///< the first one is what contexts are compared by
  double majority = std::numeric_limits<double>::quiet_NaN();  ///< of classification alone
  std::vector<Contexts> contexts;                              ///< by key, the first one first
  std::vector<Group> classes;
  std::vector<ScoredCurve> curves;
  std::vector<Case> cases;
  std::vector<std::string> confused;           ///< classes of `confusion`
  std::vector<std::vector<double>> confusion;  ///< images by label and answer; empty: not known

  /// Null: it has no such score.
  [[nodiscard]] const Score* find(std::string_view name) const noexcept;
  /// Of the first key; null without contexts.
  [[nodiscard]] const Group* worst() const noexcept;
};

/// Of a line of kind "evaluation". Lines of versions without a list of scores have those that stand under
/// their own keys. Throws DataError.
Evaluation read_evaluation(const Line& line);

/// To what is shown of an evaluation that another one follows: its first scores.
void strip(Evaluation& evaluation);

}  // namespace cohort::report

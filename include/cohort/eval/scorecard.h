#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::eval {

/// 95 % of where a number may lie.
struct Interval {
  double low = 0.0, high = 0.0;
};

/// One number that a task gives. NaN: there is none, as the Dice of a class that nobody has seen.
struct Score {
  std::string name;  ///< as checkpoint.best_by has it: "dice", "auroc"
  double value = 0.0;
  std::optional<Interval> interval{};
  bool higher_is_better = true;
  std::string unit{};  ///< "dB", "pixels"; empty: a pure number
};

/// Scores of the images of one context, or of one class.
struct ScoredGroup {
  std::string name;
  std::int64_t samples = 0;
  std::vector<Score> scores;
};

/// Scores by the values of one context key; values without images are left out.
struct ScoredContexts {
  std::string key;
  std::vector<ScoredGroup> groups;
};

/// Points to be drawn, at most kMostPoints of them.
struct Curve {
  static constexpr std::size_t kMostPoints = 200;

  std::string kind;  ///< "roc", "precision_recall", "reliability", "froc", "recall_at"
  std::string of{};  ///< the class or value that it is of; empty: all
  std::string x, y;  ///< what its axes are: "false positive rate"
  std::vector<std::array<double, 2>> points;
};

/// An image to be looked at, such as one of which a model was sure and wrong.
struct Case {
  std::int64_t row = 0;  ///< of the split
  double score = 0.0;    ///< by which it was chosen
  std::string what;      ///< "benign, said to be malignant (0.998)"
  std::string id{};      ///< of the image; on rank 0
};

/// What a task finds of a split.
struct Scorecard {
  std::int64_t samples = 0;              ///< that were scored
  std::vector<Score> all;                ///< the first one is what contexts are compared by
  std::vector<ScoredContexts> contexts;  ///< by key; their scores begin with the first of `all`
  std::vector<ScoredGroup> classes;
  std::vector<Curve> curves;
  std::vector<Case> cases;

  /// Null: it has no such score.
  [[nodiscard]] const Score* find(std::string_view name) const noexcept;
  /// The context of the first key that has the worst first score; null without contexts.
  [[nodiscard]] const ScoredGroup* worst() const noexcept;
};

}  // namespace cohort::eval

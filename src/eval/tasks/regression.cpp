// Measurements: mean absolute error, root of the mean squared error, and the coefficient of determination
// (S. Wright, "Correlation and causation", 1921), each of a measurement and as the mean over measurements, as
// scikit-learn's mean_absolute_error, root_mean_squared_error and r2_score have them. Values that are not
// known are left out. Of up to kMostDrawn measurements the values of as many images as a curve has points are
// kept, chosen by chance. A rank holds 430 bytes for each measurement of each context, and to 64 measurements
// 430 kB of each for intervals.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <ATen/ATen.h>
#include <boost/multiprecision/cpp_bin_float.hpp>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/eval/task.h"

#include "eval/answers.h"
#include "eval/exact_sum.h"
#include "eval/extreme_rows.h"
#include "eval/poisson_bootstrap.h"
#include "eval/sum_over_ranks.h"
#include "eval/tasks/score_values.h"
#include "eval/tasks/scored_contexts.h"

namespace cohort::eval {
namespace {

using WideValue =
    boost::multiprecision::cpp_bin_float_100;  // holds sums without rounding, so that nothing cancels

/// What is added up of a measurement: how many are known, then quantities as split_term() has them.
constexpr std::size_t kQuantities = 4, kRegressionSums = 1 + 2 * kQuantities;
using MeasurementSums = std::span<const ExactSum, kRegressionSums>;
using MeasurementTerms = std::array<double, kRegressionSums>;

/// A term as one that ExactSum keeps all digits of: itself, or 2⁶⁴ times a small one. Measurements may be in
/// metres and their errors nanometres.
std::array<double, 2> split_term(double value) {
  constexpr double kSmall = 0x1p-8;
  return std::abs(value) < kSmall ? std::array{0.0, std::ldexp(value, 64)} : std::array{value, 0.0};
}

MeasurementTerms regression_terms(double answer, double target) {
  const double error = answer - target;
  const std::array<double, kQuantities> quantities{std::abs(error), error * error, target, target * target};
  MeasurementTerms terms{1.0};
  for (std::size_t i = 0; i < kQuantities; ++i) {
    const auto [whole, small] = split_term(quantities.at(i));
    terms.at(1 + 2 * i) = whole;
    terms.at(2 + 2 * i) = small;
  }
  return terms;
}

WideValue exact_value(const ExactSum& sum) {
  std::array<std::int64_t, ExactSum::kParts> parts{};
  sum.put(parts);
  WideValue value = sum.beyond();
  constexpr std::size_t kHalf = ExactSum::kParts / 2;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const int unit = i < kHalf ? ExactSum::kUnit : ExactSum::kCoarseUnit;
    value += ldexp(WideValue(parts.at(i)), 32 * static_cast<int>(i % kHalf) - unit);
  }
  return value;
}

WideValue total_of(MeasurementSums sums, std::size_t quantity) {
  return exact_value(sums[1 + 2 * quantity]) + ldexp(exact_value(sums[2 + 2 * quantity]), -64);
}

std::int64_t known_ones(MeasurementSums sums) {
  return static_cast<std::int64_t>(sums.front().value());
}

/// Sum of squared deviations from the mean, of `sum` and the sum of squares.
WideValue squared_deviations(const WideValue& sum, const WideValue& squares, std::int64_t count) {
  return squares - sum * sum / WideValue(count);
}

constexpr double kNoRegression = std::numeric_limits<double>::quiet_NaN();

/// Mean absolute error, root of the mean squared error, coefficient of determination.
using RegressionScores = ScoreValues<3>;

RegressionScores regression_scores(MeasurementSums sums) {
  const std::int64_t count = known_ones(sums);
  if (count == 0) return {kNoRegression, kNoRegression, kNoRegression};
  const WideValue squares = total_of(sums, 1),
                  spread = squared_deviations(total_of(sums, 2), total_of(sums, 3), count);
  return {static_cast<double>(total_of(sums, 0) / count), static_cast<double>(sqrt(squares / count)),
          spread > 0 ? static_cast<double>(1 - squares / spread) : kNoRegression};
}

std::vector<Score> named_regression_scores(const RegressionScores& scores) {
  return {{"mae", scores[0], {}, false}, {"rmse", scores[1], {}, false}, {"r2", scores[2]}};
}

std::vector<ScoreName> regression_names(const TaskConfig& /*config*/) {
  return {{"mae", false}, {"rmse", false}, {"r2", true}};
}

/// By which images are drawn for curves: the same for all measurements of an image.
double chance_of(std::int64_t row) {
  return RandomStream({.purpose = Purpose::bootstrap, .time = 1, .sample = row}).uniform(0.0, 1.0);
}

/// Predicted against true values, and what is missing to the true ones. `drawn` are images.
void add_prediction_curves(const std::string& name, const std::vector<ExtremeRows::Entry>& drawn,
                           std::vector<Curve>& curves) {
  Curve predicted{"predicted", name, "true", "predicted", {}},
      residuals{"residuals", name, "predicted", "true − predicted", {}};
  for (const ExtremeRows::Entry& entry : drawn) {
    predicted.points.push_back({entry.truth, entry.said});
    residuals.points.push_back({entry.said, entry.truth - entry.said});
  }
  for (Curve* curve : {&predicted, &residuals}) {
    std::sort(curve->points.begin(), curve->points.end());
    curves.push_back(std::move(*curve));
  }
}

class Regression final : public Task {
 public:
  explicit Regression(TaskInput input)
      : input_(std::move(input)),
        measurements_(static_cast<std::size_t>(input_.target.shape.front())),
        columns_(measurements_ == 1 ? 1 : measurements_ + 1),
        sums_((1 + input_.contexts.values.size()) * columns_ * kRegressionSums),
        bootstrap_(measurements_ <= kMostResampled ? measurements_ * kRegressionSums : 0),
        drawn_(std::min(measurements_, kMostDrawn), ExtremeRows(Curve::kMostPoints)) {}

  void add(const AnsweredImages& images) override;
  Scorecard finish(comm::Communicator& ranks) override;

 private:
  static constexpr std::size_t kMostResampled = 64, kMostDrawn = 8;  // measurements

  void add_image(std::int64_t row, std::span<const float> answers, std::span<const float> targets,
                 std::span<const std::int32_t> contexts);
  void keep_values(std::int64_t row, std::span<const float> answers, std::span<const float> targets);
  void add_terms(std::size_t column, const MeasurementTerms& terms, std::span<const std::int32_t> contexts);
  [[nodiscard]] MeasurementSums sums_of(std::size_t group, std::size_t column) const {
    return MeasurementSums(sums_.data() + (group * columns_ + column) * kRegressionSums, kRegressionSums);
  }
  [[nodiscard]] std::vector<RegressionScores> scores_of(std::size_t group) const;
  [[nodiscard]] ScoredGroup scored_context(std::size_t context) const;
  void add_intervals(Scorecard& card) const;
  void add_curves(Scorecard& card, comm::Communicator& ranks);
  [[nodiscard]] std::vector<Case> cases(comm::Communicator& ranks);

  TaskInput input_;
  /// Sums of measurements, of several also of the mean absolute error of an image as if it were one more.
  std::size_t measurements_, columns_;
  std::vector<ExactSum> sums_;  // [1 + contexts, columns, kRegressionSums], of all images first
  PoissonBootstrap bootstrap_;
  std::vector<ExtremeRows> drawn_;  // for curves, of each measurement
  ExtremeRows errors_;
  bool finite_ = true;
};

void Regression::add_terms(std::size_t column, const MeasurementTerms& terms,
                           std::span<const std::int32_t> contexts) {
  const auto add_to = [&](std::size_t group) {
    for (std::size_t i = 0; i < kRegressionSums; ++i)
      sums_[(group * columns_ + column) * kRegressionSums + i].add(terms.at(i));
  };
  add_to(0);
  for (const std::int32_t context : contexts) add_to(1 + static_cast<std::size_t>(context));
}

void Regression::add_image(std::int64_t row, std::span<const float> answers, std::span<const float> targets,
                           std::span<const std::int32_t> contexts) {
  std::vector<double> terms(measurements_ * kRegressionSums);
  double errors = 0, known = 0;
  for (std::size_t i = 0; i < measurements_; ++i) {
    if (std::isnan(targets[i])) continue;
    const MeasurementTerms of_one = regression_terms(answers[i], targets[i]);
    add_terms(i, of_one, contexts);
    std::copy(of_one.begin(), of_one.end(), terms.begin() + static_cast<std::ptrdiff_t>(i * kRegressionSums));
    errors += std::abs(double{answers[i]} - double{targets[i]});
    ++known;
  }
  if (known == 0) return;
  if (columns_ > measurements_) add_terms(measurements_, regression_terms(errors / known, 0), contexts);
  if (measurements_ <= kMostResampled) bootstrap_.add(row, terms);
}

/// Of an image the measurement with the largest error may be a case.
void Regression::keep_values(std::int64_t row, std::span<const float> answers,
                             std::span<const float> targets) {
  const double chance = chance_of(row);
  std::optional<ExtremeRows::Entry> worst;
  for (std::size_t i = 0; i < measurements_; ++i) {
    if (std::isnan(targets[i])) continue;
    const double truth = targets[i], said = answers[i], error = std::abs(said - truth);
    const auto number = static_cast<std::int64_t>(i);
    if (i < drawn_.size()) drawn_[i].add({chance, row, number, 0, truth, said});
    if (!worst || error > worst->score) worst = {error, row, number, 0, truth, said};
  }
  if (worst && worst->score > 0) errors_.add(*worst);
}

void Regression::add(const AnsweredImages& images) {
  const auto count = static_cast<std::int64_t>(images.rows.size()),
             width = static_cast<std::int64_t>(measurements_);
  const at::Tensor answers = images.answers.at("values").to(at::kFloat).contiguous(),
                   targets = images.target.values.to(at::kFloat).contiguous();
  COHORT_CHECK(answers.sizes() == at::IntArrayRef({count, width}) && targets.sizes() == answers.sizes(),
               "{} answers of {} images with {} measurements", answers.numel(), count, width);
  finite_ = finite_ && answers.isfinite().all().item<bool>();
  if (!finite_) return;
  for (std::size_t i = 0; i < images.rows.size(); ++i) {
    const auto row_of = [&](const at::Tensor& values) {
      return std::span(values.const_data_ptr<float>() + i * measurements_, measurements_);
    };
    add_image(images.rows[i], row_of(answers), row_of(targets), contexts_of(images, input_.contexts, i));
    keep_values(images.rows[i], row_of(answers), row_of(targets));
  }
}

std::vector<RegressionScores> Regression::scores_of(std::size_t group) const {
  std::vector<RegressionScores> scores;
  for (std::size_t i = 0; i < measurements_; ++i) scores.push_back(regression_scores(sums_of(group, i)));
  return scores;
}

/// The interval of the error is that of a mean over images.
ScoredGroup Regression::scored_context(std::size_t context) const {
  const MeasurementSums of_images = sums_of(1 + context, columns_ - 1);
  const std::int64_t images = known_ones(of_images);
  if (images == 0) return {};
  ScoredGroup group{"", images, named_regression_scores(mean_over(scores_of(1 + context)))};
  if (images == 1) return group;
  Score& error = group.scores.front();
  const WideValue squares = squared_deviations(total_of(of_images, 0), total_of(of_images, 1), images);
  const double half = half_interval_of_mean(images, static_cast<double>(squares));
  error.interval = Interval{std::max(0.0, error.value - half), error.value + half};
  return group;
}

void Regression::add_intervals(Scorecard& card) const {
  std::vector<RegressionScores> means;
  std::vector<std::vector<RegressionScores>> by_measurement(measurements_);
  for (std::size_t sample = 0; sample < PoissonBootstrap::kSamples; ++sample) {
    const std::span<const ExactSum> sums = bootstrap_.sums_of(sample);
    std::vector<RegressionScores> scores;
    for (std::size_t i = 0; i < measurements_; ++i) {
      scores.push_back(
          regression_scores(MeasurementSums(sums.data() + i * kRegressionSums, kRegressionSums)));
      by_measurement[i].push_back(scores.back());
    }
    means.push_back(mean_over(scores));
  }
  put_intervals(means, card.all);
  for (std::size_t i = 0; i < measurements_; ++i) put_intervals(by_measurement[i], card.classes[i].scores);
}

/// Collective.
void Regression::add_curves(Scorecard& card, comm::Communicator& ranks) {
  for (std::size_t i = 0; i < drawn_.size(); ++i) {
    const std::vector<ExtremeRows::Entry> drawn = drawn_[i].finish(ranks);
    if (!drawn.empty()) add_prediction_curves(card.classes[i].name, drawn, card.curves);
  }
}

/// Collective.
std::vector<Case> Regression::cases(comm::Communicator& ranks) {
  std::vector<Case> cases;
  for (const ExtremeRows::Entry& error : errors_.finish(ranks)) {
    cases.push_back({error.row, error.score,
                     fmt::format("{}: {:.4g}, said to be {:.4g}",
                                 name_or_number(input_.classes, static_cast<std::size_t>(error.label)),
                                 error.truth, error.said)});
  }
  return cases;
}

Scorecard Regression::finish(comm::Communicator& ranks) {
  sum_over_ranks(sums_, ranks);
  bootstrap_.add_up(ranks);
  Scorecard card;
  card.samples = known_ones(sums_of(0, columns_ - 1));
  refuse_unscored(finite_, card.samples, input_.target.name, ranks);
  const std::vector<RegressionScores> scores = scores_of(0);
  card.all = named_regression_scores(mean_over(scores));
  card.contexts = scored_contexts(input_.contexts, [&](std::size_t i) { return scored_context(i); });
  for (std::size_t i = 0; i < measurements_; ++i)
    card.classes.push_back(
        {name_or_number(input_.classes, i), known_ones(sums_of(0, i)), named_regression_scores(scores[i])});
  if (measurements_ <= kMostResampled) add_intervals(card);
  add_curves(card, ranks);
  card.cases = cases(ranks);
  return card;
}

}  // namespace

TaskEntry regression() {
  return {"regression",
          "measurements",
          data::FieldKind::numbers,
          "values [B, L]",
          regression_names,
          [](TaskInput input) -> std::unique_ptr<Task> {
            return std::make_unique<Regression>(std::move(input));
          }};
}

}  // namespace cohort::eval

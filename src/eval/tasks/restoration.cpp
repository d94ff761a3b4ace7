// Images that should be like others: peak signal-to-noise ratio, structural similarity (Z. Wang et al.,
// "Image quality assessment: from error visibility to structural similarity", 2004) and mean absolute error,
// of each image, then their means. As scikit-image's peak_signal_noise_ratio and structural_similarity with
// Gaussian weights of deviation 1.5, a window of 11 and no sample covariance have them, of channels alone,
// then their mean; of volumes in three dimensions. A rank holds 192 bytes for each context.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
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

constexpr std::int64_t kWindow = 11;
constexpr double kMostDecibels = 100;  // of images without errors, whose ratio is infinite

/// Ratio in dB, similarity, error.
using RestorationScores = ScoreValues<3>;

/// What is added up of images: how many, scores, squares of the first one.
constexpr std::size_t kImageSums = 5;

/// Largest possible value minus smallest.
double data_range(const TaskInput& input) {
  if (input.config.data_range > 0) return input.config.data_range;
  switch (input.target.type) {
    case data::ValueType::u8:
      return 255;
    case data::ValueType::u16:
      return 65535;
    default:
      return 1;
  }
}

std::array<double, kWindow> window_weights() {
  constexpr double kDeviation = 1.5;
  std::array<double, kWindow> weights{};
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double distance = (static_cast<double>(i) - (kWindow - 1) / 2) / kDeviation;
    sum += weights.at(i) = std::exp(-distance * distance / 2);
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

/// Of `values` [C, …], where the window lies within the image.
at::Tensor in_windows(at::Tensor values) {
  static const std::array<double, kWindow> kWeights = window_weights();
  for (std::int64_t axis = 1; axis < values.dim(); ++axis) {
    const std::int64_t places = values.size(axis) - kWindow + 1;
    at::Tensor sum = at::zeros_like(values.narrow(axis, 0, places));
    for (std::int64_t i = 0; i < kWindow; ++i)
      sum.add_(values.narrow(axis, i, places), kWeights.at(static_cast<std::size_t>(i)));
    values = sum;
  }
  return values;
}

double structural_similarity(const at::Tensor& a, const at::Tensor& b, double range) {
  for (std::int64_t axis = 1; axis < a.dim(); ++axis)
    if (a.size(axis) < kWindow) return std::numeric_limits<double>::quiet_NaN();
  const double c1 = 0.01 * range * 0.01 * range, c2 = 0.03 * range * 0.03 * range;
  const at::Tensor mean_a = in_windows(a), mean_b = in_windows(b), products = mean_a * mean_b,
                   squares = mean_a * mean_a + mean_b * mean_b, covariance = in_windows(a * b) - products,
                   variances = in_windows(a * a) + in_windows(b * b) - squares;
  return ((2 * products + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2)))
      .mean()
      .item<double>();
}

/// `answer` and `target` [C, …] f64.
RestorationScores restoration_scores(const at::Tensor& answer, const at::Tensor& target, double range) {
  const at::Tensor error = answer - target;
  const double squared = error.square().mean().item<double>();
  return {std::min(kMostDecibels, 10 * std::log10(range * range / squared)),
          structural_similarity(answer, target, range), error.abs().mean().item<double>()};
}

/// Means of what was added up; `sums` [kImageSums].
RestorationScores mean_restoration_scores(std::span<const ExactSum> sums) {
  const double images = sums[0].value();
  return {sums[1].value() / images, sums[2].value() / images, sums[3].value() / images};
}

/// Images that are smaller than the window have no similarity.
std::vector<Score> named_restoration_scores(const RestorationScores& scores) {
  return {{"psnr", scores[0], {}, true, "dB"}, {"ssim", scores[1]}, {"mae", scores[2], {}, false}};
}

std::vector<ScoreName> restoration_names(const TaskConfig& /*config*/) {
  return {{"psnr"}, {"ssim"}, {"mae", false}};
}

class Restoration final : public Task {
 public:
  explicit Restoration(TaskInput input)
      : input_(std::move(input)),
        range_(data_range(input_)),
        has_similarity_(std::all_of(input_.target.shape.begin() + 1, input_.target.shape.end(),
                                    [](std::int64_t side) { return side >= kWindow; })),
        sums_((1 + input_.contexts.values.size()) * kImageSums),
        bootstrap_(kImageSums - 1) {}

  void add(const AnsweredImages& images) override;
  Scorecard finish(comm::Communicator& ranks) override;

 private:
  void add_image(std::int64_t row, RestorationScores scores, std::span<const std::int32_t> contexts);
  [[nodiscard]] std::span<const ExactSum> sums_of(std::size_t group) const {
    return std::span(sums_).subspan(group * kImageSums, kImageSums);
  }
  [[nodiscard]] RestorationScores scores_of(std::span<const ExactSum> sums) const;
  [[nodiscard]] ScoredGroup scored_context(std::size_t context) const;

  TaskInput input_;
  double range_;
  bool has_similarity_, finite_ = true;
  std::vector<ExactSum> sums_;  // [1 + contexts, kImageSums], of all images first
  PoissonBootstrap bootstrap_;
  ExtremeRows worst_;  // by what their ratio lacks
};

void Restoration::add_image(std::int64_t row, RestorationScores scores,
                            std::span<const std::int32_t> contexts) {
  worst_.add({-scores[0], row});
  if (!has_similarity_) scores[1] = 0;
  const std::array<double, kImageSums> terms{1, scores[0], scores[1], scores[2], scores[0] * scores[0]};
  const auto add_to = [&](std::size_t group) {
    for (std::size_t i = 0; i < kImageSums; ++i) sums_[group * kImageSums + i].add(terms.at(i));
  };
  add_to(0);
  for (const std::int32_t context : contexts) add_to(1 + static_cast<std::size_t>(context));
  bootstrap_.add(row, std::span(terms).first(kImageSums - 1));
}

void Restoration::add(const AnsweredImages& images) {
  const at::Tensor answers = images.answers.at("image").to(at::kDouble),
                   targets = images.target.values.to(at::kDouble);
  COHORT_CHECK(answers.sizes() == targets.sizes(), "{} values of images for {}", answers.numel(),
               targets.numel());
  finite_ = finite_ && answers.isfinite().all().item<bool>();
  if (!finite_) return;
  for (std::size_t i = 0; i < images.rows.size(); ++i) {
    const auto number = static_cast<std::int64_t>(i);
    add_image(images.rows[i], restoration_scores(answers[number], targets[number], range_),
              contexts_of(images, input_.contexts, i));
  }
}

RestorationScores Restoration::scores_of(std::span<const ExactSum> sums) const {
  RestorationScores scores = mean_restoration_scores(sums);
  if (!has_similarity_) scores[1] = std::numeric_limits<double>::quiet_NaN();
  return scores;
}

ScoredGroup Restoration::scored_context(std::size_t context) const {
  const std::span<const ExactSum> sums = sums_of(1 + context);
  const auto images = static_cast<std::int64_t>(sums[0].value());
  if (images == 0) return {};
  ScoredGroup group{"", images, named_restoration_scores(scores_of(sums))};
  if (images == 1) return group;
  Score& ratio = group.scores.front();
  const double half = half_interval_of_mean(images, sums[4].value() - sums[1].value() * ratio.value);
  ratio.interval = Interval{ratio.value - half, ratio.value + half};
  return group;
}

Scorecard Restoration::finish(comm::Communicator& ranks) {
  sum_over_ranks(sums_, ranks);
  bootstrap_.add_up(ranks);
  Scorecard card;
  card.samples = static_cast<std::int64_t>(sums_of(0)[0].value());
  refuse_unscored(finite_, card.samples, input_.target.name, ranks);
  card.all = named_restoration_scores(scores_of(sums_of(0)));
  std::vector<RestorationScores> samples;
  for (std::size_t i = 0; i < PoissonBootstrap::kSamples; ++i)
    samples.push_back(scores_of(bootstrap_.sums_of(i)));
  put_intervals(samples, card.all);
  card.contexts = scored_contexts(input_.contexts, [&](std::size_t i) { return scored_context(i); });
  for (const ExtremeRows::Entry& entry : worst_.finish(ranks))
    card.cases.push_back({entry.row, -entry.score, fmt::format("PSNR {:.2f} dB", -entry.score)});
  return card;
}

}  // namespace

TaskEntry restoration() {
  return {"restoration",
          "images that should be like others",
          data::FieldKind::image,
          "image [B, C, H, W]",
          restoration_names,
          [](TaskInput input) -> std::unique_ptr<Task> {
            return std::make_unique<Restoration>(std::move(input));
          }};
}

}  // namespace cohort::eval

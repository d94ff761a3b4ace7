// Keypoints of two views of a scene whose homography is known: descriptors are matched where each is the
// other's most similar one, and a match is right within so many pixels. Mean matching accuracy at 1 … 10
// pixels (K. Mikolajczyk, C. Schmid, "A performance evaluation of local descriptors", 2005): the part of the
// matches that are right, as a mean over pairs of views; a pair without matches counts as 0. A rank holds 700
// bytes for each context.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/eval/task.h"

#include "eval/answers.h"
#include "eval/exact_sum.h"
#include "eval/keypoints.h"
#include "eval/poisson_bootstrap.h"
#include "eval/sum_over_ranks.h"
#include "eval/tasks/scored_contexts.h"

namespace cohort::eval {
namespace {

constexpr std::size_t kPixels = 10;
/// What is added up of pairs: 1, the parts of right matches at 1 … kPixels pixels, matches.
constexpr std::size_t kMatchSums = kPixels + 2, kFirstScored = 3;
using MatchTerms = std::array<double, kMatchSums>;

std::string accuracy_name(std::size_t pixels) {
  return fmt::format("mma_at_{}", pixels);
}

/// 3 pixels first, which is what publications compare.
std::vector<std::size_t> scored_pixels() {
  std::vector<std::size_t> pixels{kFirstScored};
  for (std::size_t t = 1; t <= kPixels; ++t)
    if (t != kFirstScored) pixels.push_back(t);
  return pixels;
}

std::vector<ScoreName> matching_names(const TaskConfig& /*config*/) {
  std::vector<ScoreName> names;
  for (const std::size_t pixels : scored_pixels()) names.push_back({accuracy_name(pixels), true});
  names.push_back({"matches", true});
  return names;
}

MatchTerms match_terms(const at::Tensor& errors) {
  MatchTerms terms{1.0};
  const std::int64_t matches = errors.numel();
  terms.back() = static_cast<double>(matches);
  for (std::size_t t = 1; t <= kPixels && matches > 0; ++t)
    terms.at(t) = static_cast<double>(errors.le(static_cast<double>(t)).sum().item<std::int64_t>()) /
                  static_cast<double>(matches);
  return terms;
}

class Matching final : public Task {
 public:
  explicit Matching(TaskInput input);

  void add(const AnsweredImages& images) override;
  Scorecard finish(comm::Communicator& ranks) override;

 private:
  void add_pair(std::int64_t row, const MatchTerms& terms, std::span<const std::int32_t> contexts);
  [[nodiscard]] double mean(std::size_t group, std::size_t sum) const {
    return sums_[group * kMatchSums + sum].value() / sums_[group * kMatchSums].value();
  }
  [[nodiscard]] ScoredGroup scored(std::size_t group) const;

  TaskInput input_;
  std::vector<ExactSum> sums_;     // [1 + contexts, kMatchSums], of all pairs first
  std::vector<ExactSum> squares_;  // [1 + contexts] of the parts at kFirstScored pixels
  PoissonBootstrap bootstrap_{2};
  bool finite_ = true;
};

Matching::Matching(TaskInput input)
    : input_(std::move(input)),
      sums_((1 + input_.contexts.values.size()) * kMatchSums),
      squares_(1 + input_.contexts.values.size()) {
  const std::int64_t numbers = input_.target.shape.front();
  if (numbers != 9)
    throw UsageError(
        {fmt::format("a homography has 9 numbers, and field '{}' has {}", input_.target.name, numbers),
         "the field that the method answers",
         "choose a field with the 9 numbers of a homography, row by row"});
}

/// Image `i` of rows that differ in length.
at::Tensor rows_of_image(const method::Answers& answers, const std::string& name, std::int64_t i) {
  const at::Tensor& offsets = answers.at(name + "_offsets");
  const auto begin = offsets[i].item<std::int64_t>(), end = offsets[i + 1].item<std::int64_t>();
  return answers.at(name).narrow(0, begin, end - begin);
}

void Matching::add(const AnsweredImages& images) {
  const method::Answers& answers = images.answers;
  for (const char* name : {"points", "descriptors", "other_points", "other_descriptors"})
    finite_ = finite_ && answers.at(name).isfinite().all().item<bool>();
  if (!finite_) return;
  for (std::size_t i = 0; i < images.rows.size(); ++i) {
    const auto image = static_cast<std::int64_t>(i);
    const at::Tensor homography = images.target.values[image].to(at::kDouble).reshape({3, 3});
    if (!homography.isfinite().all().item<bool>()) continue;
    const auto of_image = [&](const char* name) { return rows_of_image(answers, name, image); };
    const at::Tensor matches = mutual_matches(of_image("descriptors"), of_image("other_descriptors"));
    const at::Tensor errors =
        matching_errors(of_image("points").index_select(0, matches.select(1, 0)),
                        of_image("other_points").index_select(0, matches.select(1, 1)), homography);
    add_pair(images.rows[i], match_terms(errors), contexts_of(images, input_.contexts, i));
  }
}

void Matching::add_pair(std::int64_t row, const MatchTerms& terms, std::span<const std::int32_t> contexts) {
  const auto add_to = [&](std::size_t group) {
    for (std::size_t i = 0; i < kMatchSums; ++i) sums_[group * kMatchSums + i].add(terms.at(i));
    squares_[group].add(terms.at(kFirstScored) * terms.at(kFirstScored));
  };
  add_to(0);
  for (const std::int32_t context : contexts) add_to(1 + static_cast<std::size_t>(context));
  bootstrap_.add(row, std::array{terms.front(), terms.at(kFirstScored)});
}

ScoredGroup Matching::scored(std::size_t group) const {
  const auto pairs = static_cast<std::int64_t>(sums_[group * kMatchSums].value());
  if (pairs == 0) return {};
  ScoredGroup scored{"", pairs, {}};
  for (const std::size_t pixels : scored_pixels())
    scored.scores.push_back({accuracy_name(pixels), mean(group, pixels)});
  scored.scores.push_back({"matches", mean(group, kMatchSums - 1)});
  if (pairs == 1) return scored;
  Score& first = scored.scores.front();
  const double squares = squares_[group].value() - first.value * first.value * static_cast<double>(pairs);
  const double half = half_interval_of_mean(pairs, squares);
  first.interval = Interval{std::max(0.0, first.value - half), std::min(1.0, first.value + half)};
  return scored;
}

Scorecard Matching::finish(comm::Communicator& ranks) {
  sum_over_ranks(sums_, ranks);
  sum_over_ranks(squares_, ranks);
  bootstrap_.add_up(ranks);
  Scorecard card;
  card.samples = static_cast<std::int64_t>(sums_.front().value());
  refuse_unscored(finite_, card.samples, input_.target.name, ranks);
  card.all = scored(0).scores;
  card.all.front().interval =
      bootstrap_.interval([](std::span<const double> sums) { return sums[1] / sums[0]; });
  card.contexts = scored_contexts(input_.contexts, [&](std::size_t i) { return scored(1 + i); });
  Curve& curve =
      card.curves.emplace_back(Curve{"matching_accuracy", "", "pixels", "mean matching accuracy", {}});
  for (std::size_t t = 1; t <= kPixels; ++t) curve.points.push_back({static_cast<double>(t), mean(0, t)});
  return card;
}

}  // namespace

TaskEntry matching() {
  return {
      "matching",
      "keypoints that are found again in another view",
      data::FieldKind::numbers,
      "points [sum, 2], descriptors [sum, D], other_points, other_descriptors, each with NAME_offsets [B + "
      "1]",
      matching_names,
      [](TaskInput input) -> std::unique_ptr<Task> { return std::make_unique<Matching>(std::move(input)); }};
}

}  // namespace cohort::eval

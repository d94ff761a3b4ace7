#include "eval/tasks/resampled_flags.h"

#include <algorithm>
#include <limits>
#include <memory>

#include <ATen/ATen.h>

#include "cohort/core/random.h"

#include "eval/ranking.h"
#include "eval/tasks/score_values.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kFlagSamples = 1000;

/// Area under the ROC curve, average precision.
using RankedScores = ScoreValues<2>;

/// The images that a flag is known of.
struct RankedFlag {
  std::vector<std::size_t> images;
  Ranking ranking;
};

RankedFlag ranked_flag(const at::Tensor& logits, const at::Tensor& labels) {
  const auto logit = logits.accessor<double, 1>();
  const auto label = labels.accessor<std::int32_t, 1>();
  std::vector<std::size_t> images;
  std::vector<double> values;
  const auto positive = std::make_unique<bool[]>(static_cast<std::size_t>(logits.numel()));
  for (std::int64_t i = 0; i < logits.numel(); ++i) {
    if (label[i] < 0) continue;
    positive[values.size()] = label[i] == 1;
    images.push_back(static_cast<std::size_t>(i));
    values.push_back(logit[i]);
  }
  return {images, Ranking(values, {positive.get(), values.size()})};
}

/// Of images that count `weights` times each.
RankedScores ranked_scores(const RankedFlag& flag, std::span<const std::int32_t> weights) {
  std::vector<std::int32_t> mine;
  for (const std::size_t image : flag.images) mine.push_back(weights[image]);
  const auto area = flag.ranking.area(mine);
  if (!area) return {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
  return {*area, *flag.ranking.average_precision(mine)};
}

std::vector<std::int32_t> drawn_weights(std::int64_t sample, std::size_t images) {
  RandomStream random({.purpose = Purpose::bootstrap, .sample = sample});
  std::vector<std::int32_t> weights(images);
  for (std::size_t i = 0; i < images; ++i) ++weights[random.below(images)];
  return weights;
}

/// Where "auroc" stands, with "average_precision" behind it.
std::size_t place_of_area(const std::vector<Score>& scores) {
  const auto found =
      std::find_if(scores.begin(), scores.end(), [](const Score& score) { return score.name == "auroc"; });
  return static_cast<std::size_t>(found - scores.begin());
}

}  // namespace

void ResampledFlags::add(std::span<const std::int64_t> rows, const at::Tensor& logits,
                         std::span<const std::int32_t> labels) {
  rows_.insert(rows_.end(), rows.begin(), rows.end());
  const auto* first = logits.const_data_ptr<double>();
  logits_.insert(logits_.end(), first, first + logits.numel());
  labels_.insert(labels_.end(), labels.begin(), labels.end());
}

void ResampledFlags::put_intervals(Scorecard& card, comm::Communicator& ranks) {
  const at::Tensor order = ranks.gather_rows(at::tensor(rows_, at::kLong)).argsort();
  const std::int64_t images = std::ssize(rows_);
  const auto in_order = [&](const at::Tensor& mine) {
    return ranks.gather_rows(mine.reshape({images, flags_})).index_select(0, order).t().contiguous();
  };
  const at::Tensor logits = in_order(at::tensor(logits_, at::kDouble)),
                   labels = in_order(at::tensor(labels_, at::kInt));
  std::vector<RankedFlag> flags;
  for (std::int64_t i = 0; i < flags_; ++i) flags.push_back(ranked_flag(logits[i], labels[i]));
  std::vector<RankedScores> means;
  std::vector<std::vector<RankedScores>> by_flag(flags.size());
  for (std::int64_t sample = 0; sample < kFlagSamples; ++sample) {
    const std::vector<std::int32_t> weights = drawn_weights(sample, static_cast<std::size_t>(order.numel()));
    std::vector<RankedScores> scores;
    for (std::size_t i = 0; i < flags.size(); ++i) {
      scores.push_back(ranked_scores(flags[i], weights));
      by_flag[i].push_back(scores.back());
    }
    means.push_back(mean_over(scores));
  }
  eval::put_intervals(means, card.all, place_of_area(card.all));
  for (std::size_t i = 0; i < flags.size(); ++i)
    eval::put_intervals(by_flag[i], card.classes[i].scores, place_of_area(card.classes[i].scores));
}

}  // namespace cohort::eval

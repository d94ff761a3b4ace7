#include "eval/explanation_tally.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>

#include "eval/saliency.h"
#include "eval/sum_over_ranks.h"

namespace cohort::eval {
namespace {

/// Whether they begin with ADCC and its parts.
bool has_adcc(const std::vector<ImageScore>& scores) {
  return !scores.empty() && scores.front().name == "adcc";
}

}  // namespace

std::vector<ImageScore> image_scores(const ExplanationScoreConfig& config) {
  std::vector<ImageScore> scores;
  if (config.adcc) scores = {{"adcc"}, {"average_drop", false}, {"coherency"}, {"complexity", false}};
  if (config.insertion) scores.push_back({"insertion"});
  if (config.deletion) scores.push_back({"deletion", false});
  if (!config.region.empty()) scores.insert(scores.end(), {{"pointing_game"}, {"region_iou"}});
  return scores;
}

ExplanationTally::ExplanationTally(const ExplanationScoreConfig& config, std::size_t contexts,
                                   std::int64_t points)
    : scores_(image_scores(config)),
      sums_((1 + contexts) * scores_.size()),
      insertion_(config.insertion ? static_cast<std::size_t>(points) : 0),
      deletion_(config.deletion ? static_cast<std::size_t>(points) : 0),
      counts_((1 + contexts) * (scores_.size() + 1)) {}

void ExplanationTally::add_to(std::size_t group, const std::vector<double>& values) {
  std::int64_t* const counts = counts_.data() + group * (scores_.size() + 1);
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    if (std::isnan(values[i])) continue;
    sums_[group * scores_.size() + i].add(values[i]);
    ++counts[i];
  }
  ++counts[scores_.size()];
}

void ExplanationTally::add(const ScoredImage& image, std::span<const std::int32_t> contexts) {
  add_to(0, image.values);
  for (const std::int32_t context : contexts) add_to(1 + static_cast<std::size_t>(context), image.values);
  for (std::size_t i = 0; i < insertion_.size(); ++i) insertion_[i].add(image.insertion.at(i));
  for (std::size_t i = 0; i < deletion_.size(); ++i) deletion_[i].add(image.deletion.at(i));
}

std::int64_t ExplanationTally::images_of(std::size_t group) const {
  return counts_[group * (scores_.size() + 1) + scores_.size()];
}

std::vector<Score> ExplanationTally::scores_of(std::size_t group) const {
  std::vector<Score> means;
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    const std::int64_t count = counts_[group * (scores_.size() + 1) + i];
    const double mean = count == 0 ? std::numeric_limits<double>::quiet_NaN()
                                   : sums_[group * scores_.size() + i].value() / static_cast<double>(count);
    means.push_back({scores_[i].name, mean, {}, scores_[i].higher_is_better});
  }
  if (has_adcc(scores_))
    means.insert(means.begin() + 4, {"adcc_of_means", adcc(means[1].value, means[2].value, means[3].value)});
  return means;
}

Curve ExplanationTally::curve_of(const std::string& kind, std::span<const ExactSum> sums) const {
  Curve curve{kind,
              "",
              kind == "insertion" ? "part of the pixels that are there"
                                  : "part of the pixels that "
                                    "are gone",
              "probability of the class",
              {}};
  const std::size_t last = sums.size() - 1, stride = last / Curve::kMostPoints + 1;
  const auto images = static_cast<double>(images_of(0));
  const auto add = [&](std::size_t i) {
    curve.points.push_back({static_cast<double>(i) / static_cast<double>(last), sums[i].value() / images});
  };
  for (std::size_t i = 0; i < last; i += stride) add(i);
  add(last);
  return curve;
}

Scorecard ExplanationTally::finish(const ContextNames& contexts, comm::Communicator& ranks) {
  for (auto* sums : {&sums_, &insertion_, &deletion_}) sum_over_ranks(*sums, ranks);
  const at::Tensor counts = at::tensor(counts_, at::kLong);
  ranks.all_reduce(counts).wait();
  std::copy_n(counts.const_data_ptr<std::int64_t>(), counts_.size(), counts_.begin());
  Scorecard card{
      .samples = images_of(0), .all = scores_of(0), .contexts = {}, .classes = {}, .curves = {}, .cases = {}};
  for (const ContextNames::Key& key : contexts.keys) {
    ScoredContexts& by = card.contexts.emplace_back(ScoredContexts{key.name, {}});
    for (std::size_t i = key.first; i < key.first + key.count; ++i) {
      if (images_of(1 + i) > 0) by.groups.push_back({contexts.values[i], images_of(1 + i), scores_of(1 + i)});
    }
  }
  if (!insertion_.empty()) card.curves.push_back(curve_of("insertion", insertion_));
  if (!deletion_.empty()) card.curves.push_back(curve_of("deletion", deletion_));
  return card;
}

}  // namespace cohort::eval

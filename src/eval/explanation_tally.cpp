#include "eval/explanation_tally.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <ATen/ATen.h>

#include "eval/saliency.h"
#include "eval/sum_over_ranks.h"
#include "eval/tasks/scored_contexts.h"

namespace cohort::eval {
namespace {

/// Whether they begin with ADCC and its parts.
bool has_adcc(const std::vector<ImageScore>& scores) {
  return !scores.empty() && scores.front().name == "adcc";
}

/// Of each place the mean over `all` of those that are not NaN; NaN: all are.
std::vector<double> means_of(const std::vector<const std::vector<double>*>& all) {
  std::vector<double> means(all.front()->size());
  for (std::size_t i = 0; i < means.size(); ++i) {
    double sum = 0, count = 0;
    for (const std::vector<double>* values : all) {
      if (std::isnan((*values)[i])) continue;
      sum += (*values)[i];
      ++count;
    }
    means[i] = sum / count;
  }
  return means;
}

/// The mean of score `i` in a sample of the bootstrap.
double sampled_mean(std::span<const double> sums, std::size_t i) {
  return sums[2 * i + 1] / sums[2 * i];
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

MapWorth ScoredImage::mean() const {
  const auto of = [this](std::vector<double> MapWorth::*part) {
    std::vector<const std::vector<double>*> all;
    for (const MapWorth& one : worth) all.push_back(&(one.*part));
    return means_of(all);
  };
  return {of(&MapWorth::values), of(&MapWorth::insertion), of(&MapWorth::deletion)};
}

ExplanationTally::ExplanationTally(const ExplanationScoreConfig& config, ContextNames contexts,
                                   std::vector<std::string> classes, std::int64_t points)
    : scores_(image_scores(config)),
      contexts_(std::move(contexts)),
      classes_(std::move(classes)),
      sums_((1 + contexts_.values.size() + classes_.size()) * scores_.size()),
      squares_(sums_.size()),
      insertion_(config.insertion ? static_cast<std::size_t>(points) : 0),
      deletion_(config.deletion ? static_cast<std::size_t>(points) : 0),
      counts_((1 + contexts_.values.size() + classes_.size()) * (scores_.size() + 1)),
      bootstrap_(2 * scores_.size()) {}

void ExplanationTally::add_to(std::size_t group, const std::vector<double>& values) {
  std::int64_t* const counts = counts_.data() + group * (scores_.size() + 1);
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    if (std::isnan(values[i])) continue;
    sums_[group * scores_.size() + i].add(values[i]);
    squares_[group * scores_.size() + i].add(values[i] * values[i]);
    ++counts[i];
  }
  ++counts[scores_.size()];
}

void ExplanationTally::add(std::int64_t row, const ScoredImage& image, const MapWorth& worth,
                           std::span<const std::int32_t> contexts) {
  add_to(0, worth.values);
  for (const std::int32_t context : contexts) add_to(1 + static_cast<std::size_t>(context), worth.values);
  for (std::size_t i = 0; i < image.classes.size(); ++i)
    add_to(1 + contexts_.values.size() + image.classes[i], image.worth[i].values);
  for (std::size_t i = 0; i < insertion_.size(); ++i) insertion_[i].add(worth.insertion.at(i));
  for (std::size_t i = 0; i < deletion_.size(); ++i) deletion_[i].add(worth.deletion.at(i));
  std::vector<double> terms;
  for (const double value : worth.values) {
    const bool is_known = !std::isnan(value);
    terms.insert(terms.end(), {is_known ? 1.0 : 0.0, is_known ? value : 0.0});
  }
  bootstrap_.add(row, terms);
}

std::int64_t ExplanationTally::images_of(std::size_t group) const {
  return counts_[group * (scores_.size() + 1) + scores_.size()];
}

double ExplanationTally::mean_of(std::size_t group, std::size_t score) const {
  const std::int64_t count = counts_[group * (scores_.size() + 1) + score];
  if (count == 0) return std::numeric_limits<double>::quiet_NaN();
  return sums_[group * scores_.size() + score].value() / static_cast<double>(count);
}

std::optional<Interval> ExplanationTally::interval_of(std::size_t group, std::size_t score) const {
  const std::int64_t count = counts_[group * (scores_.size() + 1) + score];
  if (count < 2) return std::nullopt;
  if (group == 0)
    return bootstrap_.interval([&](std::span<const double> sums) { return sampled_mean(sums, score); });
  const double mean = mean_of(group, score),
               squares = squares_[group * scores_.size() + score].value() -
                         mean * mean * static_cast<double>(count),
               half = half_interval_of_mean(count, squares);
  return Interval{std::max(0.0, mean - half), std::min(1.0, mean + half)};
}

std::vector<Score> ExplanationTally::scores_of(std::size_t group) const {
  std::vector<Score> means;
  for (std::size_t i = 0; i < scores_.size(); ++i)
    means.push_back({scores_[i].name, mean_of(group, i), interval_of(group, i), scores_[i].higher_is_better});
  if (has_adcc(scores_))
    means.insert(means.begin() + 4, {"adcc_of_means", adcc(means[1].value, means[2].value, means[3].value)});
  return means;
}

std::vector<Score> ExplanationTally::scores_of_all() const {
  std::vector<Score> scores = scores_of(0);
  if (has_adcc(scores_) && scores.front().interval)
    scores[4].interval = bootstrap_.interval([](std::span<const double> sums) {
      return adcc(sampled_mean(sums, 1), sampled_mean(sums, 2), sampled_mean(sums, 3));
    });
  return scores;
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

void ExplanationTally::add_up(comm::Communicator& ranks) {
  for (auto* sums : {&sums_, &squares_, &insertion_, &deletion_}) sum_over_ranks(*sums, ranks);
  const at::Tensor counts = at::tensor(counts_, at::kLong);
  ranks.all_reduce(counts).wait();
  std::copy_n(counts.const_data_ptr<std::int64_t>(), counts_.size(), counts_.begin());
  bootstrap_.add_up(ranks);
}

Scorecard ExplanationTally::finish(comm::Communicator& ranks) {
  add_up(ranks);
  Scorecard card;
  card.samples = images_of(0);
  card.all = scores_of_all();
  const auto group = [this](std::size_t i) { return ScoredGroup{"", images_of(i), scores_of(i)}; };
  card.contexts = scored_contexts(contexts_, [&](std::size_t i) { return group(1 + i); });
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    ScoredGroup of_class = group(1 + contexts_.values.size() + i);
    of_class.name = classes_[i];
    if (of_class.samples > 0) card.classes.push_back(std::move(of_class));
  }
  if (!insertion_.empty()) card.curves.push_back(curve_of("insertion", insertion_));
  if (!deletion_.empty()) card.curves.push_back(curve_of("deletion", deletion_));
  return card;
}

}  // namespace cohort::eval

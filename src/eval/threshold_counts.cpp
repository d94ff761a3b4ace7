#include "eval/threshold_counts.h"

#include <algorithm>
#include <utility>

namespace cohort::eval {
namespace {

constexpr std::size_t kMostBeforeThinning = 4096;

double share(std::int64_t part, std::int64_t all) {
  return static_cast<double>(part) / static_cast<double>(all);
}

double place_on_roc(const ThresholdCount& count, const ThresholdCount& all) {
  return (share(count.positives, all.positives) + share(count.negatives, all.negatives)) / 2;
}

/// Few negatives change the precision of rare positives, so that they count by the number of positives.
double place_on_precision_recall(const ThresholdCount& count, const ThresholdCount& all) {
  return (share(count.positives, all.positives) + share(count.negatives, count.negatives + all.positives)) /
         2;
}

}  // namespace

void ThresholdCounts::add(const ThresholdCount& count) {
  counts_.push_back(count);
  if (counts_.size() > kMostBeforeThinning) thin();
}

void ThresholdCounts::thin() {
  std::array<bool, kMost> taken{};
  std::erase_if(counts_, [&](const ThresholdCount& count) {
    const auto stretch = static_cast<std::size_t>(place_(count, all_) * static_cast<double>(kMost));
    bool& is_taken = taken.at(std::min(stretch, kMost - 1));
    return std::exchange(is_taken, true);
  });
}

std::vector<ThresholdCount> ThresholdCounts::finish() {
  if (counts_.size() > kMost) thin();
  return std::move(counts_);
}

ThresholdCurves::ThresholdCurves(const ThresholdCount& all)
    : all_(all), roc_(all, place_on_roc), precision_recall_(all, place_on_precision_recall) {}

void ThresholdCurves::add(const ThresholdCount& count) {
  roc_.add(count);
  precision_recall_.add(count);
}

CurvePoints ThresholdCurves::roc() {
  CurvePoints points;
  for (const ThresholdCount& count : roc_.finish())
    points.push_back({share(count.negatives, all_.negatives), share(count.positives, all_.positives)});
  points.push_back({0, 0});
  std::reverse(points.begin(), points.end());
  return points;
}

CurvePoints ThresholdCurves::precision_recall() {
  CurvePoints points;
  for (const ThresholdCount& count : precision_recall_.finish())
    points.push_back(
        {share(count.positives, all_.positives), share(count.positives, count.positives + count.negatives)});
  points.push_back({0, 1});
  std::reverse(points.begin(), points.end());
  return points;
}

}  // namespace cohort::eval

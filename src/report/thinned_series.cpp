#include "thinned_series.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace cohort::report {

void ThinnedSeries::join(Stretch& stretch, const Stretch& next) {
  if (next.low.second < stretch.low.second) stretch.low = next.low;
  if (next.high.second > stretch.high.second) stretch.high = next.high;
  stretch.last = next.last;
  stretch.sum += next.sum;
  stretch.count += next.count;
}

/// Precondition: it begins before `step`, and ends there or later.
void ThinnedSeries::cut(Stretch& stretch, double step) {
  const double between = (stretch.last.first - stretch.first.first) / static_cast<double>(stretch.count - 1);
  // The last value goes, however the quotient is rounded.
  const double kept = std::clamp(std::ceil((step - stretch.first.first) / between), 1.0,
                                 static_cast<double>(stretch.count - 1));
  stretch.sum *= kept / static_cast<double>(stretch.count);
  stretch.count = static_cast<std::int64_t>(kept);
  const double last = stretch.first.first + (kept - 1) * between;
  for (Point* point : {&stretch.low, &stretch.high, &stretch.last})
    point->first = std::min(point->first, last);
}

void ThinnedSeries::go_back_behind(double step) {
  while (!stretches_.empty() && stretches_.back().first.first >= step) stretches_.pop_back();
  if (!stretches_.empty() && stretches_.back().last.first >= step) cut(stretches_.back(), step);
}

void ThinnedSeries::halve() {
  for (std::size_t i = 0; i < stretches_.size() / 2; ++i) {
    stretches_[i] = stretches_[2 * i];
    join(stretches_[i], stretches_[2 * i + 1]);
  }
  stretches_.resize(stretches_.size() / 2);
  width_ *= 2;
}

void ThinnedSeries::add(double step, double value) {
  go_back_behind(step);
  const Point point{step, value};
  const Stretch alone{point, point, point, point, value, 1};
  const bool has_room = !stretches_.empty() && stretches_.back().count < width_;
  if (has_room) return join(stretches_.back(), alone);
  if (stretches_.size() == kStretches) halve();
  stretches_.push_back(alone);
}

Series ThinnedSeries::points() const {
  Series points;
  for (const Stretch& stretch : stretches_) {
    const auto [earlier, later] = std::minmax(stretch.low, stretch.high);
    points.push_back(earlier);
    if (later != earlier) points.push_back(later);
  }
  if (!points.empty() && points.back().first < stretches_.back().last.first)
    points.push_back(stretches_.back().last);
  return points;
}

Series ThinnedSeries::means() const {
  Series means;
  for (const Stretch& stretch : stretches_)
    means.emplace_back(stretch.first.first, stretch.sum / static_cast<double>(stretch.count));
  return means;
}

std::int64_t ThinnedSeries::count() const noexcept {
  return std::accumulate(stretches_.begin(), stretches_.end(), std::int64_t{0},
                         [](std::int64_t sum, const Stretch& stretch) { return sum + stretch.count; });
}

}  // namespace cohort::report

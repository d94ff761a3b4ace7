#include "augment/crop_box.h"

#include <cmath>

namespace cohort::augment {
namespace {

Box middle(std::int64_t height, std::int64_t width, AspectRange aspects) {
  const double aspect = static_cast<double>(width) / static_cast<double>(height);
  double h = static_cast<double>(height), w = static_cast<double>(width);
  if (aspect < aspects.flattest) h = std::round(w / aspects.flattest);
  if (aspect > aspects.widest) w = std::round(h * aspects.widest);
  return {std::floor((static_cast<double>(height) - h) / 2), std::floor((static_cast<double>(width) - w) / 2),
          h, w};
}

}  // namespace

Box random_crop(std::int64_t height, std::int64_t width, double lowest, double highest, RandomStream stream,
                AspectRange aspects) {
  constexpr int kAttempts = 10;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double area = static_cast<double>(height * width) * stream.uniform(lowest, highest);
    const double aspect = std::exp(stream.uniform(std::log(aspects.flattest), std::log(aspects.widest)));
    const auto w = static_cast<std::int64_t>(std::round(std::sqrt(area * aspect)));
    const auto h = static_cast<std::int64_t>(std::round(std::sqrt(area / aspect)));
    if (w <= 0 || h <= 0 || w > width || h > height) continue;
    const auto top = stream.below(static_cast<std::uint64_t>(height - h + 1));
    const auto left = stream.below(static_cast<std::uint64_t>(width - w + 1));
    return {static_cast<double>(top), static_cast<double>(left), static_cast<double>(h),
            static_cast<double>(w)};
  }
  return middle(height, width, aspects);
}

}  // namespace cohort::augment

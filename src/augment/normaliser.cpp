#include "augment/normaliser.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "cohort/core/error.h"

namespace cohort::augment {
namespace {

// Of the training images of ILSVRC 2012, red, green, blue, for values 0 … 1.
constexpr std::array<double, 3> kImageNetMean{0.485, 0.456, 0.406}, kImageNetDeviation{0.229, 0.224, 0.225};

struct Affine {
  float mean, scale;
};

Affine statistics_of(std::span<const float> plane) {
  double sum = 0.0, squares = 0.0;
  for (const float value : plane) sum += static_cast<double>(value);
  const double mean = sum / static_cast<double>(plane.size());
  for (const float value : plane)
    squares += (static_cast<double>(value) - mean) * (static_cast<double>(value) - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(plane.size()));
  return {static_cast<float>(mean), static_cast<float>(1.0 / std::max(deviation, kLeastDeviation))};
}

ChannelStatistics imagenet(const data::ImageLayout& layout) {
  if (layout.channels != 3 || layout.type != data::PixelType::u8) {
    throw UsageError(
        {fmt::format("ImageNet's statistics are for 8-bit RGB images, not {} channels of type {}",
                     layout.channels, data::pixel_type_name(layout.type)),
         "data.normalisation", "use data.normalisation=dataset"});
  }
  ChannelStatistics statistics;
  for (std::size_t c = 0; c < kImageNetMean.size(); ++c) {
    statistics.mean.push_back(static_cast<float>(255.0 * kImageNetMean[c]));
    statistics.deviation.push_back(static_cast<float>(255.0 * kImageNetDeviation[c]));
  }
  return statistics;
}

}  // namespace

ChannelStatistics channel_statistics(const data::Description& description, Normalisation normalisation) {
  if (normalisation == Normalisation::imagenet) return imagenet(description.images);
  ChannelStatistics statistics;
  for (const double mean : description.mean) statistics.mean.push_back(static_cast<float>(mean));
  for (const double deviation : description.deviation)
    statistics.deviation.push_back(static_cast<float>(std::max(deviation, kLeastDeviation)));
  COHORT_CHECK(std::ssize(statistics.mean) == description.images.channels &&
                   std::ssize(statistics.deviation) == description.images.channels,
               "{} means and {} deviations for {} channels", statistics.mean.size(),
               statistics.deviation.size(), description.images.channels);
  return statistics;
}

Normaliser::Normaliser(const data::Description& description, Normalisation normalisation)
    : channels_(description.images.channels) {
  if (normalisation != Normalisation::image) statistics_ = channel_statistics(description, normalisation);
}

void Normaliser::apply(std::span<const float> values, std::span<float> normalised) const {
  const std::size_t pixels = values.size() / static_cast<std::size_t>(channels_);
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels_); ++c) {
    const std::span<const float> plane = values.subspan(c * pixels, pixels);
    const Affine affine = statistics_.mean.empty()
                              ? statistics_of(plane)
                              : Affine{statistics_.mean[c], 1.0F / statistics_.deviation[c]};
    std::transform(plane.begin(), plane.end(), normalised.begin() + static_cast<std::ptrdiff_t>(c * pixels),
                   [&](float value) { return (value - affine.mean) * affine.scale; });
  }
}

}  // namespace cohort::augment

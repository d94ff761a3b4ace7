#include "cohort/method/mixing.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

namespace cohort::method {
namespace {

/// G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables", 2000; scale 1.
double gamma_value(double shape, RandomStream& random) {
  if (shape < 1) {
    const double value = gamma_value(shape + 1, random);
    return value * std::pow(1 - random.uniform(0.0, 1.0), 1 / shape);
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = random.normal(), v = std::pow(1 + c * x, 3);
    const double u = 1 - random.uniform(0.0, 1.0);  // in (0, 1]
    if (v > 0 && std::log(u) < x * x / 2 + d - d * v + d * std::log(v)) return d * v;
  }
}

double beta_value(double alpha, RandomStream& random) {
  const double first = gamma_value(alpha, random), second = gamma_value(alpha, random);
  return first + second > 0 ? first / (first + second) : 0.5;
}

/// Rows of the images' planes.
struct Box {
  std::int64_t top, left, bottom, right;
};

/// Covers 1 - share of the image, as far as it does not stick out: its middle is anywhere.
Box draw_box(std::int64_t height, std::int64_t width, double share, RandomStream& random) {
  const double side = std::sqrt(1 - share);
  const auto ends = [&](std::int64_t size) {
    const auto half = static_cast<std::int64_t>(side * static_cast<double>(size)) / 2;
    const auto middle = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(size)));
    return std::pair(std::max<std::int64_t>(middle - half, 0), std::min(middle + half, size));
  };
  const auto [top, bottom] = ends(height);
  const auto [left, right] = ends(width);
  return {top, left, bottom, right};
}

/// Writes the mixed images of one group, [m, C, H, W], in place; returns the share of the own image.
double mix(at::Tensor images, const Mixing& mixing, RandomStream random) {
  const at::Tensor others = images.flip(0);
  const bool both = mixing.mixup > 0 && mixing.cutmix > 0;
  const bool pastes = both ? random.uniform() < 0.5F : mixing.cutmix > 0;
  const double share = beta_value(pastes ? mixing.cutmix : mixing.mixup, random);
  if (!pastes) {
    images.mul_(share).add_(others, 1 - share);
    return share;
  }
  const std::int64_t height = images.size(2), width = images.size(3);
  const Box box = draw_box(height, width, share, random);
  const auto part = [&](const at::Tensor& of) {
    return of.slice(2, box.top, box.bottom).slice(3, box.left, box.right);
  };
  part(images).copy_(part(others));
  const auto pasted = static_cast<double>((box.bottom - box.top) * (box.right - box.left));
  return 1 - pasted / static_cast<double>(height * width);
}

}  // namespace

Mixed mix_groups(const at::Tensor& images, const at::Tensor& group, const Mixing& mixing, std::uint64_t seed,
                 std::int64_t step) {
  COHORT_CHECK(images.dim() == 4 && group.dim() == 1 && images.size(0) == group.size(0),
               "{} images with {} groups", images.size(0), group.size(0));
  const at::NoGradGuard no_gradients;
  const std::int64_t count = images.size(0);
  Mixed mixed{images.clone(), at::empty({count}, at::kLong), at::empty({count})};
  const at::Tensor numbers = group.to(at::kCPU).contiguous();
  const auto* number = numbers.const_data_ptr<std::int64_t>();
  auto* partner = mixed.partner.mutable_data_ptr<std::int64_t>();
  auto* share = mixed.share.mutable_data_ptr<float>();
  for (std::int64_t begin = 0, end = 0; begin < count; begin = end) {
    while (end < count && number[end] == number[begin]) ++end;
    const RandomStream random(
        {.seed = seed, .purpose = Purpose::mixing, .time = step, .sample = number[begin]});
    const double own = mix(mixed.images.narrow(0, begin, end - begin), mixing, random);
    for (std::int64_t i = begin; i < end; ++i) {
      partner[i] = begin + end - 1 - i;
      share[i] = static_cast<float>(own);
    }
  }
  return mixed;
}

}  // namespace cohort::method

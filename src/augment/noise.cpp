#include "augment/noise.h"

#include <numbers>

#include <ATen/ATen.h>

namespace cohort::augment {

// Normal numbers as the inverse distribution function at the middle of each uniform number's interval:
// vectorised, unlike Box–Muller.
void add_noise(std::span<float> values, double deviation, RandomStream& stream) {
  const auto count = static_cast<std::int64_t>(values.size());
  at::Tensor noise = at::empty({count}, at::kFloat);
  stream.fill_uniform(std::span(noise.mutable_data_ptr<float>(), values.size()));
  at::from_blob(values.data(), {count}, at::kFloat)
      .add_(noise.mul_(2.0).sub_(1.0).add_(0x1.0p-24).erfinv_(), deviation * std::numbers::sqrt2);
}

}  // namespace cohort::augment

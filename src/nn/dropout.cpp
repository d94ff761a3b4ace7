#include "cohort/nn/dropout.h"

#include <span>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

namespace cohort::nn {
namespace {

// [B, values_per_image] in [0, 1) on the CPU; row i depends on the sample of image i alone.
at::Tensor keyed_uniform(std::int64_t values_per_image, Purpose purpose, const Conditions& conditions,
                         std::uint32_t layer) {
  COHORT_CHECK(conditions.sample.defined() && conditions.sample.dim() == 1,
               "dropout needs the sample of every image");
  const at::Tensor samples = conditions.sample.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* sample = samples.const_data_ptr<std::int64_t>();
  at::Tensor uniform = at::empty({samples.size(0), values_per_image}, at::kFloat);
  float* values = uniform.mutable_data_ptr<float>();
  at::parallel_for(0, samples.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      RandomStream stream({conditions.seed, purpose, conditions.step, sample[i], layer});
      stream.fill_uniform(
          std::span(values + i * values_per_image, static_cast<std::size_t>(values_per_image)));
    }
  });
  return uniform;
}

bool is_off(double rate, const Conditions& conditions) {
  return !conditions.training || rate == 0.0;
}

}  // namespace

at::Tensor dropout(const at::Tensor& values, double rate, const Conditions& conditions, std::uint32_t layer) {
  if (is_off(rate, conditions)) return values;
  const at::Tensor uniform =
      keyed_uniform(values.numel() / values.size(0), Purpose::dropout, conditions, layer);
  COHORT_CHECK(uniform.size(0) == values.size(0), "{} samples for {} images", uniform.size(0),
               values.size(0));
  return values / (1.0 - rate) * uniform.ge(rate).view(values.sizes()).to(values.device());
}

at::Tensor channel_dropout(const at::Tensor& images, double rate, const Conditions& conditions) {
  if (is_off(rate, conditions)) return images;
  const at::Tensor uniform = keyed_uniform(images.size(1), Purpose::channel_drop, conditions, /*layer=*/0);
  return images / (1.0 - rate) *
         uniform.ge(rate).view({images.size(0), images.size(1), 1, 1}).to(images.device());
}

at::Tensor drop_path(const at::Tensor& branch, double rate, const Conditions& conditions,
                     std::uint32_t layer) {
  if (is_off(rate, conditions)) return branch;
  return drop_branch(branch, rate, keyed_uniform(1, Purpose::drop_path, conditions, layer).flatten());
}

at::Tensor drop_branch(const at::Tensor& branch, double rate, const at::Tensor& uniform) {
  COHORT_CHECK(uniform.numel() == branch.size(0), "{} numbers for {} images", uniform.numel(),
               branch.size(0));
  const double keep = 1.0 - rate;
  std::vector<std::int64_t> shape(static_cast<std::size_t>(branch.dim()), 1);
  shape[0] = branch.size(0);
  const at::Tensor kept = uniform.add(keep).floor_().view(shape);
  return branch / keep * kept.to(branch.device(), branch.scalar_type());
}

}  // namespace cohort::nn

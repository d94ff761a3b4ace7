#include "nn/keyed_uniform.h"

#include <span>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "cohort/core/error.h"

#ifdef COHORT_CUDA
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "nn/keyed_uniform_kernel.h"
#endif

namespace cohort::nn {
namespace {

at::Tensor samples_on(const Conditions& conditions, at::Device device) {
  COHORT_CHECK(conditions.sample.defined() && conditions.sample.dim() == 1,
               "dropout needs the sample of every image");
  return conditions.sample.to(device, at::kLong).contiguous();
}

at::Tensor on_host(std::int64_t values_per_image, Purpose purpose, const Conditions& conditions,
                   std::uint32_t layer) {
  const at::Tensor samples = samples_on(conditions, at::kCPU);
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

}  // namespace

at::Tensor keyed_uniform(std::int64_t values_per_image, Purpose purpose, const Conditions& conditions,
                         std::uint32_t layer, at::Device device) {
  if (device.is_meta())
    return at::empty({conditions.sample.size(0), values_per_image}, at::TensorOptions(device));
  if (!device.is_cuda()) return on_host(values_per_image, purpose, conditions, layer).to(device);
#ifdef COHORT_CUDA
  const c10::cuda::CUDAGuard guard(device);
  const at::Tensor samples = samples_on(conditions, device);
  at::Tensor values =
      at::empty({samples.size(0), values_per_image}, at::TensorOptions(at::kFloat).device(device));
  const auto key = philox_key({conditions.seed, purpose, conditions.step, 0, layer});
  const KeyedUniform uniform{samples.const_data_ptr<std::int64_t>(),
                             values.mutable_data_ptr<float>(),
                             values_per_image,
                             key[0],
                             key[1],
                             layer};
  C10_CUDA_CHECK(launch(uniform, samples.size(0), c10::cuda::getCurrentCUDAStream()));
  return values;
#else
  COHORT_CHECK(false, "random numbers on {} in a build without CUDA", device.str());
#endif
}

}  // namespace cohort::nn

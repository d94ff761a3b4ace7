// Are there as many devices as ranks, do they compute right, and do they reach each other?
#include "check.h"

#ifdef COHORT_CUDA
#include <chrono>
#include <cuda_runtime_api.h>

#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>
#include <nccl.h>

#include "cohort/core/text.h"
#endif

namespace cohort::jobs::doctor {

#ifdef COHORT_CUDA
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kSide = 512;                          // of the matrices
constexpr std::int64_t kGpuValues = std::int64_t{64} << 20;  // of f32: 256 MiB
constexpr int kGpuTries = 5;
constexpr std::uint64_t kLeastGpuMemory = std::uint64_t{4} << 30;
constexpr double kMostError = 1e-3;  // relative to the largest value; f32 with TF32 off is at 1e-6

at::Device device_of(const Cluster& cluster) {
  return {at::kCUDA, static_cast<c10::DeviceIndex>(cluster.local_rank % c10::cuda::device_count())};
}

/// The largest difference between a product on the device and on the CPU, relative to the largest value.
double product_error(const at::Device& device) {
  const at::Tensor a = at::arange(kSide * kSide, at::kFloat).remainder(17).view({kSide, kSide}) / 17.0;
  const at::Tensor expected = a.mm(a.t());
  const at::Tensor there = a.to(device);
  const at::Tensor actual = there.mm(there.t()).cpu();
  return ((actual - expected).abs().max() / expected.abs().max()).item<double>();
}

double milliseconds_of_sum(comm::Communicator& ranks, const at::Tensor& values) {
  ranks.barrier();
  const auto begin = Clock::now();
  ranks.all_reduce(values).wait();
  c10::cuda::device_synchronize();
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

}  // namespace

std::string nccl_version() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) return "unknown";
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

Finding check_gpus(Cluster& cluster) {
  const int devices = c10::cuda::device_count();
  if (devices == 0)
    return {Status::fail, "no CUDA device is visible",
            "ask for GPUs (srun --gpus-per-node), check nvidia-smi and CUDA_VISIBLE_DEVICES"};
  if (devices < cluster.local_ranks) {
    return {Status::fail, fmt::format("{} devices for {} ranks", devices, cluster.local_ranks),
            "start one rank a device (--ntasks-per-node = --gpus-per-node)"};
  }
  const at::Device device = device_of(cluster);
  const c10::cuda::CUDAGuard guard(device);
  std::size_t free = 0, total = 0;
  if (const cudaError_t error = cudaMemGetInfo(&free, &total); error != cudaSuccess)
    return {Status::fail, cudaGetErrorString(error), "look at nvidia-smi -q and dmesg, then drain the host"};
  const double wrong = product_error(device);
  if (!(wrong < kMostError))
    return {Status::fail, fmt::format("{} multiplies wrong: off by {:.1e}", device.str(), wrong),
            "drain the host: the device is broken"};
  cudaDeviceProp properties{};
  cudaGetDeviceProperties(&properties, device.index());
  const std::string what = fmt::format("{} x {}, {} of {} free, product right", devices, properties.name,
                                       format_bytes(free), format_bytes(total));
  if (free < kLeastGpuMemory)
    return {Status::warn, what, "another process uses the device: nvidia-smi names it"};
  return {Status::ok, what, ""};
}

Finding check_nccl(Cluster& cluster) {
  const bool all = cluster.ranks.max(std::int64_t{c10::cuda::device_count() < cluster.local_ranks}) == 0;
  if (!all) return {Status::fail, "not tried: see 'gpus'", "see 'gpus'"};
  const at::Device device = device_of(cluster);
  const c10::cuda::CUDAGuard guard(device);
  comm::Communicator apart = cluster.ranks.duplicate("doctor");
  const at::Tensor pattern =
      at::arange(kGpuValues, at::TensorOptions(at::kFloat).device(device)).remainder(61);
  const float factor = static_cast<float>(apart.size() * (apart.size() + 1) / 2);
  double best = 1e30;
  std::int64_t wrong = 0;
  for (int i = 0; i < kGpuTries; ++i) {
    const at::Tensor values = pattern * static_cast<float>(apart.rank() + 1);
    best = std::min(best, milliseconds_of_sum(apart, values));
    wrong += values.ne(pattern * factor).sum().item<std::int64_t>();
  }
  best = cluster.ranks.max(best);
  if (wrong > 0)
    return {Status::fail, fmt::format("{} of {} sums are wrong", wrong, kGpuTries * kGpuValues),
            "do not train here: NCCL_DEBUG=INFO shows the paths; try NCCL_P2P_DISABLE=1, then another host"};
  return {Status::ok,
          fmt::format("sums of {} right; {:.2f} ms, {:.1f} GB/s", format_bytes(4 * kGpuValues), best,
                      4e-6 * static_cast<double>(kGpuValues) / best),
          ""};
}

#else

std::string nccl_version() {
  return "none";
}

Finding check_gpus(Cluster&) {
  return {Status::ok, "built without CUDA", ""};
}

Finding check_nccl(Cluster&) {
  return {Status::ok, "built without CUDA", ""};
}

#endif

}  // namespace cohort::jobs::doctor

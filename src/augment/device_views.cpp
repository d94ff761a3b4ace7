#include "cohort/augment/device_views.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

#include "augment/lanes.h"
#include "augment/view_plan.h"
#ifdef COHORT_CUDA
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "augment/view_kernel.h"
#endif

namespace cohort::augment {
namespace {

template <class Recipe>
void make_on_device([[maybe_unused]] const ViewBatch& batch, const at::Device& device) {
#ifdef COHORT_CUDA
  const c10::cuda::CUDAGuard guard(device);
  int processors = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device.index()));
  const Work work = work_of<Recipe>(batch);
  constexpr std::int64_t kBlocksOfProcessor = 2;
  const auto blocks = std::min(work.jobs, kBlocksOfProcessor * processors);
  const at::Tensor memory = at::empty({blocks, work.bytes}, at::TensorOptions(at::kByte).device(device));
  C10_CUDA_CHECK(launch_views<Recipe>(batch, work.jobs, memory.mutable_data_ptr<std::uint8_t>(), work.bytes,
                                      static_cast<int>(blocks), c10::cuda::getCurrentCUDAStream()));
#else
  COHORT_CHECK(false, "views on {} in a build without CUDA", device.str());
#endif
}

template <class Recipe, class MakeView>
void make_views(const ViewBatch& batch, const at::Device& device, const MakeView& make_view) {
  if (!device.is_cpu()) return make_on_device<Recipe>(batch, device);
  const Work work = work_of<Recipe>(batch);
  at::Tensor memory = at::empty({work.bytes}, at::kByte);
  for (std::int64_t job = 0; job < work.jobs; ++job) make_view(job, memory.mutable_data_ptr<std::uint8_t>());
}

}  // namespace

struct DeviceViews::Impl {
  ViewPlan plan;
};

DeviceViews::DeviceViews(const ViewConfig& config, const data::Description& description,
                         Normalisation normalisation, at::Device device, std::int64_t global_views)
    : impl_(
          std::make_unique<Impl>(Impl{ViewPlan(config, description, normalisation, device, global_views)})) {}

DeviceViews::DeviceViews(DeviceViews&&) noexcept = default;
DeviceViews& DeviceViews::operator=(DeviceViews&&) noexcept = default;
DeviceViews::~DeviceViews() = default;

std::vector<at::Tensor> DeviceViews::make(const at::Tensor& stored, const at::Tensor& recipes) const {
  COHORT_CHECK(stored.dim() == 2 && stored.size(1) == impl_->plan.layout().bytes() && recipes.dim() == 2 &&
                   recipes.size(0) == stored.size(0) && stored.scalar_type() == at::kByte &&
                   recipes.scalar_type() == at::kByte,
               "stored pixels [B, {}] u8 with a row of recipes for each image were promised",
               impl_->plan.layout().bytes());
  const at::Tensor pixels = stored.to(impl_->plan.device(), at::kByte, /*non_blocking=*/true).contiguous(),
                   drawn = recipes.to(impl_->plan.device(), at::kByte, /*non_blocking=*/true).contiguous();
  PlannedViews planned = impl_->plan.plan(pixels, drawn);
  const ViewBatch& batch = planned.batch;
  const at::Device device = pixels.device();  // with its number
  const HostLanes lanes;
  switch (impl_->plan.kernel()) {
    case Kernel::colour:
      make_views<ColourRecipe>(batch, device,
                               [&](auto job, auto* memory) { make_colour_view(lanes, batch, job, memory); });
      break;
    case Kernel::cell:
      make_views<CellRecipe>(batch, device,
                             [&](auto job, auto* memory) { make_cell_view(lanes, batch, job, memory); });
      break;
    case Kernel::whole:
      make_views<WholeRecipe>(batch, device,
                              [&](auto job, auto* memory) { make_whole_view(lanes, batch, job, memory); });
      break;
    case Kernel::none:
      COHORT_CHECK(false, "views without a kernel");
  }
  return std::move(planned.views);
}

}  // namespace cohort::augment

#include "cohort/augment/device_views.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include <ATen/ATen.h>
#include <torch/types.h>

#include "cohort/core/error.h"

#include "augment/lanes.h"
#include "augment/normaliser.h"
#include "augment/planes.h"
#include "augment/view_body.h"
#ifdef COHORT_CUDA
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "augment/view_kernel.h"
#endif

namespace cohort::augment {
namespace {

static_assert(alignof(Window) <= 16 && sizeof(Window) % 16 == 0, "memory of a job begins with windows");

at::Tensor floats(const std::vector<float>& values, at::Device device) {
  return at::tensor(values, at::kFloat).to(device);
}

/// [kMostDefocus, kDiscSide²]
at::Tensor all_discs(at::Device device) {
  std::vector<float> weights;
  for (std::int64_t radius = 1; radius <= kMostDefocus; ++radius) {
    const Disc disc = disc_of(radius);
    COHORT_CHECK(disc.side == kDiscSide, "a disc of {} pixels a side", disc.side);
    weights.insert(weights.end(), disc.weights.begin(), disc.weights.end());
  }
  return floats(weights, device);
}

StoredType stored_type(data::PixelType type) {
  if (type == data::PixelType::u8) return StoredType::u8;
  return type == data::PixelType::u16 ? StoredType::u16 : StoredType::f32;
}

/// How many jobs a batch is, and the memory that each needs, by preset.
struct Work {
  std::int64_t jobs, bytes;
};

template <class Recipe>
Work work_of(const ViewBatch& batch) {
  constexpr bool kColour = std::is_same_v<Recipe, ColourRecipe>;
  std::int64_t bytes = 0;
  for (std::int32_t v = 0; v < batch.views; ++v) {
    const ViewOutput& output = batch.output[v];
    const std::int64_t planes = 2 * static_cast<std::int64_t>(sizeof(float)) * output.height * output.width;
    bytes = std::max(bytes, kColour ? colour_sizes(batch, output.height, output.width).bytes() : planes);
  }
  return {std::int64_t{batch.views} * batch.images * (kColour ? 1 : batch.channels), bytes};
}

template <class Recipe>
void make_on_device([[maybe_unused]] const ViewBatch& batch, const at::Device& device) {
#ifdef COHORT_CUDA
  const c10::cuda::CUDAGuard guard(device);
  int processors = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device.index()));
  const Work work = work_of<Recipe>(batch);
  constexpr std::int64_t kBlocksOfProcessor = 2, kAlignment = 16;
  const auto blocks = std::min(work.jobs, kBlocksOfProcessor * processors);
  const std::int64_t bytes = (work.bytes + kAlignment - 1) / kAlignment * kAlignment;
  const at::Tensor memory = at::empty({blocks, bytes}, at::TensorOptions(at::kByte).device(device));
  C10_CUDA_CHECK(launch_views<Recipe>(batch, work.jobs, memory.mutable_data_ptr<std::uint8_t>(), bytes,
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
  ViewConfig config;
  data::ImageLayout layout;
  at::Device device;
  at::Tensor mean, deviation;  // [C]; undefined: each view has its own
  at::Tensor discs;            // for cell_dino
  std::vector<data::ViewShape> shapes;

  [[nodiscard]] std::int64_t views(std::int64_t recipe_bytes) const;
  [[nodiscard]] ViewBatch batch(const at::Tensor& stored, const at::Tensor& recipes,
                                std::vector<at::Tensor>& views) const;
};

std::int64_t DeviceViews::Impl::views(std::int64_t recipe_bytes) const {
  if (config.preset != Preset::whole) return std::ssize(shapes);
  return recipe_bytes / recipe_bytes_of<WholeRecipe>(1, 0);
}

ViewBatch DeviceViews::Impl::batch(const at::Tensor& stored, const at::Tensor& recipes,
                                   std::vector<at::Tensor>& outputs) const {
  ViewBatch batch{};
  batch.stored = stored.const_data_ptr<std::uint8_t>();
  batch.recipes = recipes.const_data_ptr<std::uint8_t>();
  batch.image_bytes = stored.size(1);
  batch.recipe_bytes = recipes.size(1);
  batch.type = stored_type(layout.type);
  batch.images = static_cast<std::int32_t>(stored.size(0));
  batch.channels = static_cast<std::int32_t>(layout.channels);
  batch.height = static_cast<std::int32_t>(layout.height);
  batch.width = static_cast<std::int32_t>(layout.width);
  batch.views = static_cast<std::int32_t>(views(recipes.size(1)));
  COHORT_CHECK(batch.views <= ViewBatch::kMostViews, "{} views", batch.views);
  if (mean.defined()) {
    batch.mean = mean.const_data_ptr<float>();
    batch.deviation = deviation.const_data_ptr<float>();
  }
  if (discs.defined()) batch.discs = discs.const_data_ptr<float>();
  for (std::int32_t v = 0; v < batch.views; ++v) {
    const data::ViewShape& shape =
        shapes[std::min<std::size_t>(static_cast<std::size_t>(v), shapes.size() - 1)];
    outputs.push_back(at::empty({stored.size(0), shape.channels, shape.height, shape.width},
                                at::TensorOptions(at::kFloat).device(device)));
    batch.output[v] = {outputs.back().mutable_data_ptr<float>(), static_cast<std::int32_t>(shape.height),
                       static_cast<std::int32_t>(shape.width)};
  }
  return batch;
}

DeviceViews::DeviceViews(const ViewConfig& config, const data::Description& description,
                         Normalisation normalisation, at::Device device)
    : impl_(std::make_unique<Impl>(Impl{config, description.images, device, {}, {}, {}, {}})) {
  const auto maker = training_views(config, description, normalisation, 0, 0);
  if (maker->recipe_bytes() == 0) {
    throw UsageError({"augment.noise is not made on devices", "augment.on_device",
                      "set augment.noise=0, or augment.on_device=false"});
  }
  impl_->shapes = maker->shapes();
  if (normalisation != Normalisation::image) {
    const ChannelStatistics statistics = channel_statistics(description, normalisation);
    impl_->mean = floats(statistics.mean, device);
    impl_->deviation = floats(statistics.deviation, device);
  }
  if (config.preset == Preset::cell_dino) impl_->discs = all_discs(device);
}

DeviceViews::DeviceViews(DeviceViews&&) noexcept = default;
DeviceViews& DeviceViews::operator=(DeviceViews&&) noexcept = default;
DeviceViews::~DeviceViews() = default;

std::vector<at::Tensor> DeviceViews::make(const at::Tensor& stored, const at::Tensor& recipes) const {
  COHORT_CHECK(stored.dim() == 2 && stored.size(1) == impl_->layout.bytes() && recipes.dim() == 2 &&
                   recipes.size(0) == stored.size(0) && stored.scalar_type() == at::kByte &&
                   recipes.scalar_type() == at::kByte,
               "stored pixels [B, {}] u8 with a row of recipes for each image were promised",
               impl_->layout.bytes());
  const at::Tensor pixels = stored.to(impl_->device, at::kByte, /*non_blocking=*/true).contiguous(),
                   drawn = recipes.to(impl_->device, at::kByte, /*non_blocking=*/true).contiguous();
  std::vector<at::Tensor> views;
  const ViewBatch batch = impl_->batch(pixels, drawn, views);
  const at::Device device = pixels.device();  // with its number
  const HostLanes lanes;
  switch (impl_->config.preset) {
    case Preset::camelyon_dino:
      make_views<ColourRecipe>(batch, device,
                               [&](auto job, auto* memory) { make_colour_view(lanes, batch, job, memory); });
      break;
    case Preset::cell_dino:
      make_views<CellRecipe>(batch, device,
                             [&](auto job, auto* memory) { make_cell_view(lanes, batch, job, memory); });
      break;
    case Preset::whole:
      make_views<WholeRecipe>(batch, device,
                              [&](auto job, auto* memory) { make_whole_view(lanes, batch, job, memory); });
      break;
  }
  return views;
}

}  // namespace cohort::augment

#include "augment/view_plan.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/types.h>

#include "cohort/core/error.h"

#include "augment/normaliser.h"
#include "augment/planes.h"

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

}  // namespace

ViewPlan::ViewPlan(const ViewConfig& config, const data::Description& description,
                   Normalisation normalisation, at::Device device, std::int64_t global_views)
    : kernel_(kernel_of(config, description)), layout_(description.images), device_(device) {
  if (kernel_ == Kernel::none) {
    const std::string missing = operation_without_kernel(config, description);
    const std::string fix = layout_.is_volume() ? "" : fmt::format("leave out {}, or ", missing);
    throw UsageError({fmt::format("{} is not made on devices", missing), "augment.on_device",
                      fix + "set augment.on_device=false"});
  }
  shapes_ = training_views(config, description, normalisation, 0, 0, global_views)->shapes();
  if (normalisation != Normalisation::image) {
    const ChannelStatistics statistics = channel_statistics(description, normalisation);
    mean_ = floats(statistics.mean, device);
    deviation_ = floats(statistics.deviation, device);
  }
  if (kernel_ == Kernel::cell) discs_ = all_discs(device);
}

PlannedViews ViewPlan::plan(const at::Tensor& stored, const at::Tensor& recipes) const {
  PlannedViews planned;
  ViewBatch& batch = planned.batch;
  batch.stored = stored.const_data_ptr<std::uint8_t>();
  batch.recipes = recipes.const_data_ptr<std::uint8_t>();
  batch.image_bytes = stored.size(1);
  batch.recipe_bytes = recipes.size(1);
  batch.type = stored_type(layout_.type);
  batch.images = static_cast<std::int32_t>(stored.size(0));
  batch.channels = static_cast<std::int32_t>(layout_.channels);
  batch.height = static_cast<std::int32_t>(layout_.height);
  batch.width = static_cast<std::int32_t>(layout_.width);
  batch.views = static_cast<std::int32_t>(
      kernel_ == Kernel::whole ? recipes.size(1) / recipe_bytes_of<WholeRecipe>(1, 0) : std::ssize(shapes_));
  COHORT_CHECK(batch.views <= ViewBatch::kMostViews, "{} views", batch.views);
  if (mean_.defined()) {
    batch.mean = mean_.const_data_ptr<float>();
    batch.deviation = deviation_.const_data_ptr<float>();
  }
  if (discs_.defined()) batch.discs = discs_.const_data_ptr<float>();
  for (std::int32_t v = 0; v < batch.views; ++v) {
    const data::ViewShape& shape =
        shapes_[std::min<std::size_t>(static_cast<std::size_t>(v), shapes_.size() - 1)];
    planned.views.push_back(at::empty({stored.size(0), shape.channels, shape.height, shape.width},
                                      at::TensorOptions(at::kFloat).device(device_)));
    batch.output[v] = {planned.views.back().mutable_data_ptr<float>(),
                       static_cast<std::int32_t>(shape.height), static_cast<std::int32_t>(shape.width)};
  }
  return planned;
}

}  // namespace cohort::augment

#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/augment/multi_crop.h"
#include "cohort/data/description.h"

#include "augment/policy_views.h"
#include "augment/view_body.h"

namespace cohort::augment {

/// What the views of a batch are made from, and the tensors that they go to.
struct PlannedViews {
  ViewBatch batch{};
  std::vector<at::Tensor> views;
};

/// All that batches have in common, on one device.
class ViewPlan {
 public:
  ViewPlan(const ViewConfig& config, const data::Description& description, Normalisation normalisation,
           at::Device device, std::int64_t global_views);
  [[nodiscard]] Kernel kernel() const noexcept { return kernel_; }
  [[nodiscard]] const at::Device& device() const noexcept { return device_; }
  [[nodiscard]] const data::ImageLayout& layout() const noexcept { return layout_; }
  /// `stored` and `recipes`: contiguous, of the plan's device; they outlive the result, as this does.
  [[nodiscard]] PlannedViews plan(const at::Tensor& stored, const at::Tensor& recipes) const;

 private:
  Kernel kernel_;
  data::ImageLayout layout_;
  at::Device device_;
  at::Tensor mean_, deviation_;  // [C]; undefined: each view has its own
  at::Tensor discs_;             // for Kernel::cell
  std::vector<data::ViewShape> shapes_;
};

/// How many jobs a batch is, and the memory that one at a time needs, a multiple of 16 bytes.
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
  return {std::int64_t{batch.views} * batch.images * (kColour ? 1 : batch.channels), (bytes + 15) / 16 * 16};
}

}  // namespace cohort::augment

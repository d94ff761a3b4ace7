#pragma once
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/augment/multi_crop.h"
#include "cohort/data/description.h"

namespace cohort::augment {

/// Makes the views of a batch where the model computes, from stored pixels and what ViewMaker::draw() drew:
/// one kernel on a CUDA device, on its current stream. On the CPU the kernel's steps are replayed by one
/// thread, which is slow: for tests.
///
/// The arithmetic is that of ViewMaker::make(), pixel by pixel and without fused multiply-add. Multi-crop
/// views have its bits; where a mean over pixels takes part (Normalisation::image, contrast of the preset
/// whole), sums are formed in fp64 in another order, and values differ in the last bits of fp32.
class DeviceViews {
 public:
  /// For the views of training_views() with the same arguments. Throws UsageError: an operation that devices
  /// do not have, as noise, whose normal numbers they do not have; docs/views.md says which they have.
  DeviceViews(const ViewConfig& config, const data::Description& description, Normalisation normalisation,
              at::Device device, std::int64_t global_views = kGlobalCrops);
  DeviceViews(DeviceViews&&) noexcept;
  DeviceViews& operator=(DeviceViews&&) noexcept;
  ~DeviceViews();

  /// `stored` [B, bytes of an image] u8 and `recipes` [B, bytes] u8, of any device, preferably page-locked:
  /// data::Batch. The result is V × [B, C, h, w] f32. Under the preset whole there are as many views as
  /// recipes.
  [[nodiscard]] std::vector<at::Tensor> make(const at::Tensor& stored, const at::Tensor& recipes) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort::augment

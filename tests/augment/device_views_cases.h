#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/augment/device_views.h"
#include "cohort/core/random.h"
#include "cohort/data/pixel_type.h"

namespace cohort::augment {

/// Views that a device makes.
struct DeviceViewsCase {
  std::string name;
  std::string preset;
  data::ImageLayout layout;
  bool all_options;  // of the preset
  Normalisation normalisation;
  double tolerance;  // 0: equal bits
};

inline std::vector<DeviceViewsCase> device_views_cases() {
  using data::PixelType;
  const data::ImageLayout rgb{PixelType::u8, 3, 61, 74}, large{PixelType::u8, 3, 150, 131},
      square{PixelType::u8, 3, 40, 40}, cells{PixelType::u16, 5, 90, 70},
      wide_cells{PixelType::f32, 2, 400, 330}, gray{PixelType::u8, 1, 33, 47};
  return {{"colour", "camelyon_dino", rgb, false, Normalisation::imagenet, 0.0},
          {"colour_reduced", "camelyon_dino", large, true, Normalisation::dataset, 0.0},
          {"colour_own_statistics", "camelyon_dino", rgb, false, Normalisation::image, 1e-5},
          {"cells_padded", "cell_dino", cells, false, Normalisation::dataset, 0.0},
          {"cells_shuffled", "cell_dino", cells, true, Normalisation::dataset, 0.0},
          {"cells_larger_than_the_crop", "cell_dino", wide_cells, true, Normalisation::image, 1e-5},
          {"whole_neutral", "whole", gray, false, Normalisation::dataset, 0.0},
          {"whole_all", "whole", square, true, Normalisation::dataset, 1e-5},
          {"whole_own_statistics", "whole", square, true, Normalisation::image, 1e-5}};
}

class DeviceViewsTest : public ::testing::TestWithParam<DeviceViewsCase> {
 protected:
  DeviceViewsTest() {
    const DeviceViewsCase& tested = GetParam();
    config_.preset = tested.preset;
    config_.multi_crop.local_crops = 3;
    if (tested.preset == "cell_dino")
      config_.multi_crop = {.global_size = 64, .local_size = 48, .local_crops = 2};
    config_.multi_crop.shuffle_channels = tested.all_options && tested.preset == "cell_dino";
    if (tested.all_options && tested.preset == "whole") {
      config_.whole = {.flip_horizontal = true,
                       .flip_vertical = true,
                       .rotate90 = true,
                       .crop_scale_min = 0.3,
                       .brightness = 0.4,
                       .contrast = 0.4,
                       .erase = 0.5};
    }
    description_.images = tested.layout;
    for (std::int64_t c = 0; c < tested.layout.channels; ++c) {
      description_.mean.push_back(100.0 + 3.0 * static_cast<double>(c));
      description_.deviation.push_back(50.0 + static_cast<double>(c));
    }
    stored_ = at::empty({kImages, tested.layout.bytes()}, at::kByte);
    fill_stored();
  }

  void fill_stored() {
    RandomStream random({.seed = 7, .purpose = Purpose::synthetic});
    auto* const bytes = stored_.mutable_data_ptr<std::uint8_t>();
    if (description_.images.type != data::PixelType::f32) {
      std::generate_n(bytes, stored_.numel(), [&] { return static_cast<std::uint8_t>(random.below(256)); });
      return;
    }
    auto* const values = static_cast<float*>(stored_.mutable_data_ptr());
    std::generate_n(values, stored_.numel() / 4, [&] { return 200.0F * random.uniform(); });
  }

  [[nodiscard]] std::span<const std::byte> image(std::int64_t i) const {
    const auto size = static_cast<std::size_t>(stored_.size(1));
    return {static_cast<const std::byte*>(stored_.const_data_ptr()) + static_cast<std::size_t>(i) * size,
            size};
  }

  /// Views made on the device against those of ViewMaker::make().
  void compare_with_the_cpu(at::Device device) {
    const Normalisation normalisation = GetParam().normalisation;
    const auto maker = training_views(config_, description_, normalisation, 3, 5);
    ASSERT_GT(maker->recipe_bytes(), 0);
    at::Tensor recipes = at::zeros({kImages, maker->recipe_bytes()}, at::kByte);
    std::vector<at::Tensor> expected;
    for (const data::ViewShape& shape : maker->shapes())
      expected.push_back(at::empty({kImages, shape.channels, shape.height, shape.width}));
    for (std::int64_t i = 0; i < kImages; ++i) {
      const std::int64_t row = 11 * i;
      std::vector<std::span<float>> outputs;
      for (at::Tensor& view : expected) {
        const std::int64_t values = view[i].numel();
        outputs.emplace_back(view.mutable_data_ptr<float>() + i * values, static_cast<std::size_t>(values));
      }
      maker->make(image(i), row, outputs);
      maker->draw(row, {static_cast<std::byte*>(recipes.mutable_data_ptr()) + i * recipes.size(1),
                        static_cast<std::size_t>(recipes.size(1))});
    }

    const std::vector<at::Tensor> made =
        DeviceViews(config_, description_, normalisation, device).make(stored_, recipes);

    ASSERT_EQ(made.size(), expected.size());
    for (std::size_t v = 0; v < made.size(); ++v) {
      ASSERT_EQ(made[v].sizes(), expected[v].sizes());
      const double distance = (made[v].cpu() - expected[v]).abs().max().item<double>();
      EXPECT_LE(distance, GetParam().tolerance) << "view " << v;
      EXPECT_GT(expected[v].std().item<double>(), 0.1);
    }
  }

  static constexpr std::int64_t kImages = 24;
  ViewConfig config_;
  data::Description description_;
  at::Tensor stored_;
};

}  // namespace cohort::augment

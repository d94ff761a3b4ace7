// The YOLOv3 head on encoders of one map and of several.
#include "cohort/nn/yolo_head.h"

#include <memory>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/nn/initialise.h"
#include "cohort/nn/resnet.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using testing::normal_values;

std::vector<std::vector<std::int64_t>> sizes_of(const nn::Tensors& outputs) {
  std::vector<std::vector<std::int64_t>> sizes;
  for (const at::Tensor& of : outputs) sizes.push_back(of.sizes().vec());
  return sizes;
}

nn::Tensors run_detector(std::shared_ptr<nn::Encoder> encoder, std::int64_t side) {
  const nn::YoloShape shape = nn::yolo_shape(encoder->traits(), /*width=*/8, /*outputs=*/18);
  nn::Detector detector(std::move(encoder), shape);
  nn::initialise(detector, 5);
  EXPECT_EQ(detector.unit_count(), detector.backbone()->unit_count() + nn::YoloShape::kScales);
  return detector.forward(normal_values({2, 1, side, side}),
                          {.context = at::zeros({2, 1}, at::kLong), .group = at::zeros({2}, at::kLong)});
}

TEST(YoloHead, ReadsTheThreeCoarsestMapsOfAResidualNetwork) {
  nn::ResNetShape shape;
  shape.channels = 1;
  shape.bottleneck = false;
  shape.depths = {1, 1, 1, 1};
  shape.width = 4;
  const auto outputs = run_detector(std::make_shared<nn::ResNet>(shape), 72);  // no multiple of 32
  EXPECT_EQ(sizes_of(outputs),
            (std::vector<std::vector<std::int64_t>>{{2, 18, 3, 3}, {2, 18, 5, 5}, {2, 18, 9, 9}}));
}

TEST(YoloHead, MakesAPyramidOfPatches) {
  const auto encoder =
      testing::small_model(testing::small_shape({"plate"}, nn::Amortization::mean_linear, {3}));
  const auto outputs = run_detector(encoder, 8);  // two by two patches
  EXPECT_EQ(sizes_of(outputs),
            (std::vector<std::vector<std::int64_t>>{{2, 18, 1, 1}, {2, 18, 2, 2}, {2, 18, 4, 4}}));
}

TEST(YoloHead, HasThePublishedWidths) {
  nn::EncoderTraits traits;
  traits.map_widths = {256, 512, 1024, 2048};
  const nn::YoloShape shape = nn::yolo_shape(traits, 512, 18);
  EXPECT_EQ(shape.scales[0].narrow, 512);
  EXPECT_EQ(shape.scales[0].wide, 1024);
  EXPECT_EQ(shape.scales[0].upwards, 256);
  EXPECT_EQ(shape.scales[1].wide, 512);
  EXPECT_EQ(shape.scales[1].upwards, 128);
  EXPECT_EQ(shape.scales[2].narrow, 128);
  EXPECT_EQ(shape.scales[2].wide, 256);
}

}  // namespace
}  // namespace cohort

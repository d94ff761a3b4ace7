// What YOLOv3's head learns of boxes, beside the published numbers (golden_check).
#include "cohort/method/yolo_loss.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace cohort::method {
namespace {

/// Four by four cells of 8 pixels, three anchors of one, two and four cells.
YoloGrid small_grid(std::int64_t classes) {
  return {.anchors = {{{8, 8}, {16, 16}, {32, 32}}},
          .height = 32,
          .width = 32,
          .rows = 4,
          .columns = 4,
          .classes = classes,
          .overlap = ShapeOverlap::exact};
}

/// Of one image.
data::Column boxes_of_image(const std::vector<float>& values) {
  const auto count = static_cast<std::int64_t>(values.size() / 5);
  return {at::tensor(values, at::kFloat).view({count, 5}), at::tensor({std::int64_t{0}, count}, at::kLong)};
}

at::Tensor cell(std::int64_t anchor, std::int64_t row, std::int64_t column) {
  return at::tensor({std::int64_t{0}, anchor, row, column}, at::kLong).view({1, 4});
}

TEST(YoloTargets, ABoxGoesToTheAnchorOfItsShapeInItsCell) {
  const YoloTargets targets = yolo_targets(boxes_of_image({4, 10, 20, 28, 1}), small_grid(3));
  EXPECT_TRUE(targets.cells.equal(cell(1, 2, 1)));  // its middle is (12, 19)
  EXPECT_TRUE(targets.places.allclose(
      at::tensor({0.5F, 0.375F, 0.0F, static_cast<float>(std::log(18.0 / 16))}).view({1, 4})));
  EXPECT_TRUE(targets.classes.equal(at::tensor({0.0F, 1.0F, 0.0F}).view({1, 3})));
  EXPECT_EQ(targets.empty.logical_not().sum().item<std::int64_t>(), 1);
}

TEST(YoloTargets, OnTheLowerRightBorderItIsTheLastCell) {
  const YoloTargets targets = yolo_targets(boxes_of_image({28, 28, 36, 36, 0}), small_grid(3));
  EXPECT_TRUE(targets.cells.equal(cell(0, 3, 3)));
  EXPECT_TRUE(targets.places.narrow(1, 0, 2).eq(1).all().item<bool>());
}

TEST(YoloTargets, TheLaterBoxOfACellHasThePlaceAndBothHaveTheirClasses) {
  const YoloTargets targets = yolo_targets(boxes_of_image({8, 8, 16, 16, 0, 9, 8, 17, 16, 2}), small_grid(3));
  EXPECT_TRUE(targets.cells.equal(cell(0, 1, 1)));
  EXPECT_FLOAT_EQ(targets.places[0][0].item<float>(), 0.625F);
  EXPECT_TRUE(targets.classes.equal(at::tensor({1.0F, 0.0F, 1.0F}).view({1, 3})));
}

TEST(YoloTargets, AnUnlikeBoxIsAmongTheEmptyOnesToo) {
  const YoloTargets targets = yolo_targets(boxes_of_image({8, 8, 10, 30, 0}), small_grid(3));
  ASSERT_EQ(targets.cells.size(0), 1);
  EXPECT_TRUE(targets.empty.all().item<bool>());
}

TEST(YoloTargets, AnUnknownClassTeachesNothing) {
  const data::Column boxes = boxes_of_image({8, 8, 10, 30, -1});
  const YoloTargets targets = yolo_targets(boxes, small_grid(3));
  EXPECT_EQ(targets.cells.size(0), 0);
  EXPECT_EQ(targets.empty.logical_not().sum().item<std::int64_t>(), 1);
  EXPECT_EQ(yolo_targets(boxes, small_grid(1)).cells.size(0), 0);
  EXPECT_EQ(yolo_targets(boxes, small_grid(0)).cells.size(0), 1) << "boxes have no classes";
}

TEST(YoloTargets, ShapesThatAreACellLongerAreMoreAlike) {
  YoloGrid grid = small_grid(0);
  const data::Column boxes = boxes_of_image({8, 8, 12, 16, 0});  // half of the first anchor
  EXPECT_TRUE(yolo_targets(boxes, grid).empty.all().item<bool>());
  grid.overlap = ShapeOverlap::plus_one;  // 1.5 · 2 of 4 cells
  EXPECT_EQ(yolo_targets(boxes, grid).empty.logical_not().sum().item<std::int64_t>(), 1);
}

TEST(YoloLoss, OfAnImageWithoutBoxesIsThatOfEmptyCells) {
  const at::Tensor outputs = at::randn({1, 3 * 8, 4, 4}).requires_grad_();
  const at::Tensor loss = yolo_loss(outputs, yolo_targets(boxes_of_image({}), small_grid(3)));
  const at::Tensor confidence = outputs.view({3, 8, 4, 4}).select(1, 4).sigmoid();
  EXPECT_NEAR(loss.item<double>(), (-0.5 * (1 - confidence).log()).mean().item<double>(), 1e-6);
  loss.backward();
  EXPECT_TRUE(outputs.grad().view({3, 8, 4, 4}).select(1, 0).eq(0).all().item<bool>());
}

TEST(YoloLoss, IsSmallForOutputsThatAreTheBox) {
  const YoloGrid grid = small_grid(3);
  const YoloTargets targets = yolo_targets(boxes_of_image({4, 8, 20, 24, 1}), grid);
  at::Tensor outputs = at::full({1, 3, 8, 4, 4}, -20.0F);
  const at::Tensor found = at::tensor({0.0F, 0.0F, 0.0F, 0.0F, 20.0F, -20.0F, 20.0F, -20.0F});
  outputs[0][1].select(1, 2).select(1, 1).copy_(found);  // middle (12, 16): row 2, column 1
  outputs[0][1][1][2][1] = -20.0F;                       // at the cell's upper edge
  outputs = outputs.view({1, 24, 4, 4});
  EXPECT_NEAR(yolo_loss(outputs, targets).item<double>(), 2.5 * std::log(2.0) / 48, 1e-6);  // x is 1/2
  const FoundBoxes boxes = found_boxes(decode_yolo(outputs, grid));
  ASSERT_EQ(boxes.boxes.size(0), 1);
  EXPECT_TRUE(boxes.boxes.allclose(at::tensor({4.0F, 8.0F, 20.0F, 24.0F, 1.0F}).view({1, 5}), 1e-4, 1e-4));
  EXPECT_TRUE(boxes.offsets.equal(at::tensor({0, 1}, at::kLong)));
}

TEST(YoloAnchors, FollowTheSidesOfTheImages) {
  const auto anchors = yolo_anchors(112, 448);
  EXPECT_DOUBLE_EQ(anchors[0][0].width, 2 * 64.64);
  EXPECT_DOUBLE_EQ(anchors[0][0].height, 48.6 / 2);
}

}  // namespace
}  // namespace cohort::method

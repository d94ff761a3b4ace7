// Boxes as a report shows them: over images.
#include "method/box_picture.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "method/mask_picture.h"

namespace cohort::method {
namespace {

TEST(BoxPicture, DrawsOutlinesOfEachImagesBoxes) {
  const at::Tensor images = at::zeros({2, 1, 6, 6});
  const data::Column boxes{
      at::tensor({1.0F, 1.0F, 4.0F, 5.0F, 1.0F, -9.0F, 4.0F, 99.0F, 99.0F, -1.0F}).view({2, 5}),
      at::tensor({0, 1, 2}, at::kLong)};
  const at::Tensor picture = box_picture(images, boxes);
  ASSERT_EQ(picture.sizes(), (std::vector<std::int64_t>{2, 3, 6, 6}));
  at::Tensor outline = at::zeros({6, 6}, at::kBool);
  outline.slice(0, 1, 5).slice(1, 1, 4).fill_(true);
  outline.slice(0, 2, 4).slice(1, 2, 3).fill_(false);
  EXPECT_TRUE(picture[0].ne(0).any(0).equal(outline));
  EXPECT_TRUE(picture[0].select(1, 1).select(1, 1).equal(class_colours()[1]));
  at::Tensor line = at::zeros({6, 6}, at::kBool);  // the others lie outside
  line[4].fill_(true);
  EXPECT_TRUE(picture[1].eq(2).all(0).equal(line)) << "white, as its class is not known";
}

TEST(BoxPicture, ShowsTheSureOnes) {
  const FoundBoxes found{at::arange(15, at::kFloat).view({3, 5}), at::tensor({0.9F, 0.2F, 0.6F}),
                         at::tensor({0, 2, 2, 3}, at::kLong)};
  const data::Column sure = surer_than(0.5, found);
  EXPECT_TRUE(sure.values.equal(found.boxes.index_select(0, at::tensor({0, 2}, at::kLong))));
  EXPECT_TRUE(sure.offsets.equal(at::tensor({0, 1, 1, 2}, at::kLong)));
}

}  // namespace
}  // namespace cohort::method

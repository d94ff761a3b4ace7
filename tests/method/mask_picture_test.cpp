// Masks as a report shows them: over images.
#include "method/mask_picture.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace cohort::method {
namespace {

TEST(MaskPicture, ColoursClassesAndLeavesTheRestGray) {
  const at::Tensor images = at::tensor({1.0F, -1.0F}).view({1, 2, 1, 1}).expand({1, 2, 1, 6});
  const at::Tensor mask = at::tensor({0, 255, -1, 1, 2, 9}, at::kLong).view({1, 1, 6});
  const at::Tensor picture = mask_picture(images, mask);
  ASSERT_EQ(picture.sizes(), (std::vector<std::int64_t>{1, 3, 1, 6}));
  const at::Tensor columns = picture[0].select(1, 0).t();  // [6, 3]
  for (const int gray : {0, 1, 2}) EXPECT_TRUE(columns[gray].eq(0).all().item<bool>()) << gray;
  // Half of the gray, 0, and half of orange and of blue on the scale of pictures.
  EXPECT_TRUE(columns[3].allclose(at::tensor({1.0F, 0.0F, -0.8F})));
  EXPECT_TRUE(columns[4].allclose(at::tensor({-0.8F, 0.2F, 1.0F})));
  EXPECT_TRUE(columns[5].equal(columns[3])) << "eight colours, then again";
}

}  // namespace
}  // namespace cohort::method

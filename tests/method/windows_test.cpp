#include "cohort/method/windows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace cohort::method {
namespace {

using Starts = std::vector<std::int64_t>;

TEST(Windows, EndWithTheImage) {
  EXPECT_EQ(window_starts(1024, 640, 320), (Starts{0, 320, 384}));
  EXPECT_EQ(window_starts(640, 640, 320), (Starts{0}));
  EXPECT_EQ(window_starts(960, 640, 320), (Starts{0, 320}));
  EXPECT_EQ(window_starts(37, 16, 8), (Starts{0, 8, 16, 21}));
  EXPECT_EQ(window_starts(5, 8, 3), (Starts{0}));
  EXPECT_EQ(window_starts(4, 1, 1), (Starts{0, 1, 2, 3}));
}

/// Of a pixel the number of the window that is answered, so that the result is a mean of numbers.
TEST(Windows, AnswerEachPixelByTheMeanOfItsWindows) {
  const at::Tensor images = at::rand({2, 1, 5, 7});
  double number = 0;
  const at::Tensor answer = answer_by_windows(images, {4, 3}, {2, 3}, [&](const at::Tensor& part) {
    EXPECT_EQ(part.sizes(), (at::IntArrayRef{2, 1, 4, 3}));
    number += 1;
    return at::full({2, 3, 4, 3}, number, at::kFloat);
  });
  EXPECT_EQ(number, 2 * 3);  // rows from 0 and 1, columns from 0, 3 and 4
  ASSERT_EQ(answer.sizes(), (at::IntArrayRef{2, 3, 5, 7}));
  EXPECT_EQ(answer[1][2][0][0].item<float>(), 1.0F);
  EXPECT_EQ(answer[1][2][0][4].item<float>(), 2.5F);  // windows 2 and 3
  EXPECT_EQ(answer[1][2][2][0].item<float>(), 2.5F);  // windows 1 and 4
  EXPECT_EQ(answer[1][2][2][4].item<float>(), 4.0F);  // windows 2, 3, 5 and 6
  EXPECT_EQ(answer[1][2][4][6].item<float>(), 6.0F);
}

TEST(Windows, DoNotChangeWhatIsAnsweredPixelByPixel) {
  for (const std::vector<std::int64_t>& size : {Starts{9, 6}, Starts{4, 9, 6}}) {
    Starts shape{2, 3};
    shape.insert(shape.end(), size.begin(), size.end());
    const Starts window(size.size(), 5), stride(size.size(), 2);  // wider than the first axis of the volume
    const at::Tensor images = at::rand(shape);
    const at::Tensor answer =
        answer_by_windows(images, window, stride, [](const at::Tensor& part) { return part * 2 + 1; });
    EXPECT_TRUE(at::allclose(answer, images * 2 + 1)) << images.dim();
  }
}

}  // namespace
}  // namespace cohort::method

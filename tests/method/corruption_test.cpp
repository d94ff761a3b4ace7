// What cSiT's operators draw; golden_check holds what they do against published numbers.
#include "cohort/method/corruption.h"

#include <algorithm>
#include <map>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace cohort {
namespace {

using method::Corruption;
using method::CorruptionOptions;
using method::PixelBlock;

constexpr std::int64_t kHeight = 64, kWidth = 80;
constexpr int kDraws = 10000;

Corruption draw(std::int64_t sample, const CorruptionOptions& options = {}, std::int64_t height = kHeight,
                std::int64_t width = kWidth) {
  return method::draw_corruption(options, 3, height, width, 4,
                                 RandomStream({.seed = 5, .purpose = Purpose::augment, .sample = sample}));
}

std::int64_t area_of(const std::vector<PixelBlock>& blocks) {
  std::int64_t area = 0;
  for (const PixelBlock& block : blocks) area += block.area();
  return area;
}

void expect_inside(const PixelBlock& block, std::int64_t height, std::int64_t width, std::int64_t least,
                   std::int64_t part) {
  EXPECT_GE(block.row, 0);
  EXPECT_GE(block.column, 0);
  EXPECT_GE(std::min(block.height, block.width), least);
  EXPECT_LT(block.height, std::max<std::int64_t>(height / part, 2));
  EXPECT_LT(block.width, std::max<std::int64_t>(width / part, 2));
  EXPECT_LE(block.row + block.height, height);
  EXPECT_LE(block.column + block.width, width);
}

TEST(Corruption, BlocksLieInTheImageAndHaveTheirSizes) {
  std::int64_t row = 0, height = 0;
  for (int i = 0; i < kDraws; ++i) {
    const Corruption drawn = draw(i);
    for (const PixelBlock& block : {drawn.grey, drawn.blur}) expect_inside(block, kHeight, kWidth, 1, 1);
    for (const auto* blocks : {&drawn.dropped, &drawn.replaced})
      for (const PixelBlock& block : *blocks) expect_inside(block, kHeight, kWidth, 1, 4);
    EXPECT_EQ(std::ssize(drawn.noise), 3 * area_of(drawn.dropped));
    EXPECT_LT(drawn.donor, 4U);
    row = std::max(row, drawn.grey.row);
    height = std::max(height, drawn.grey.height);
  }
  EXPECT_EQ(row, kHeight - kHeight / 20 - 1);
  EXPECT_EQ(height, kHeight - 1);
}

// The last block goes beyond a limit that is uniform below 0.3: 0.15 and half of such a block at the most.
TEST(Corruption, NoiseAndDonorsCoverTheirShare) {
  constexpr double kPixels = kHeight * kWidth, kLargest = (kHeight / 4.0) * (kWidth / 4.0);
  double dropped = 0, replaced = 0;
  for (int i = 0; i < kDraws; ++i) {
    const Corruption drawn = draw(i);
    EXPECT_LT(static_cast<double>(area_of(drawn.dropped)), 0.3 * kPixels + kLargest);
    dropped += static_cast<double>(area_of(drawn.dropped)) / kPixels / kDraws;
    replaced += static_cast<double>(area_of(drawn.replaced)) / kPixels / kDraws;
  }
  for (const double share : {dropped, replaced}) {
    EXPECT_GT(share, 0.15);
    EXPECT_LT(share, 0.15 + kLargest / kPixels / 2);
  }
}

// Of k in 3 … 15 three makes a kernel of 3, and two make each of the others.
TEST(Corruption, KernelsAreAsOftenAsPublished) {
  std::map<std::int64_t, int> count;
  int all = 0;
  for (int i = 0; i < kDraws; ++i) {
    const Corruption drawn = draw(i, {.dropped = 0, .replaced = 0});
    EXPECT_LT(drawn.kernel / 2, std::min(drawn.blur.height, drawn.blur.width));
    EXPECT_GE(drawn.deviation, 0.1);
    EXPECT_LT(drawn.deviation, 5.1);
    if (std::min(drawn.blur.height, drawn.blur.width) < 8) continue;  // no kernel is too large
    ++count[drawn.kernel];
    ++all;
  }
  ASSERT_EQ(count.size(), 7U);
  for (const auto& [kernel, times] : count)
    EXPECT_NEAR(static_cast<double>(times) / all, kernel == 3 ? 1.0 / 13 : 2.0 / 13, 0.015) << kernel;
}

TEST(Corruption, ImagesOfAnySizeAreServed) {
  for (const std::int64_t side : {1, 3, 7, 19, 40}) {
    for (int i = 0; i < 200; ++i) {
      const Corruption drawn = draw(i, {}, side, side);
      const at::Tensor image = at::rand({3, side, side});
      EXPECT_EQ(method::corrupted(image, drawn, at::zeros_like(image)).sizes(), image.sizes());
    }
  }
}

TEST(Corruption, NothingIsDoneWhereAllIsOff) {
  const at::Tensor image = at::sin(at::arange(3 * 8 * 8) * 0.37).view({3, 8, 8});
  const Corruption none = draw(1, {.grey = false, .blur = false, .dropped = 0, .replaced = 0}, 8, 8);
  EXPECT_TRUE(at::equal(method::corrupted(image, none, at::zeros_like(image)), image));
  EXPECT_FALSE(at::equal(method::corrupted(image, draw(1, {}, 8, 8), at::zeros_like(image)), image));
}

TEST(Corruption, FourQuartersAreATurn) {
  const at::Tensor images = at::arange(2 * 3 * 5).view({2, 3, 5});
  EXPECT_TRUE(at::equal(method::turned(method::turned(images, 1), 3), images));
  EXPECT_TRUE(at::equal(method::turned(method::turned(images, 2), 2), images));
  EXPECT_EQ(method::turned(images, 1)[0][0][2].item<std::int64_t>(), 0) << "the first corner goes right";
}

}  // namespace
}  // namespace cohort

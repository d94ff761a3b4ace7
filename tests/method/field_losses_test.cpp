// Losses of flags, numbers and masks, by loops over their values in double.
#include "cohort/method/field_losses.h"

#include <cmath>
#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using method::DiceClasses;
using testing::normal_values;

constexpr std::int64_t kMaskImages = 3, kMaskClasses = 4, kHigh = 5, kWide = 6;

double value_at(const at::Tensor& tensor, std::int64_t row, std::int64_t column) {
  return tensor.to(at::kDouble)[row][column].item<double>();
}

/// -log of the probability of what is true.
double logistic_loss(double logit, bool yes) {
  return std::log1p(std::exp(yes ? -logit : logit));
}

at::Tensor some_flags() {
  return at::tensor({0, 1, 255, 1, 1, 0, 255, 255, 0}, at::kByte).view({3, 3});
}

/// Classes 0, 1 and 2 of four, every seventh pixel not known.
at::Tensor some_mask(at::ScalarType type) {
  const at::Tensor places = at::arange(kMaskImages * kHigh * kWide);
  const at::Tensor classes = (places * 5 + places.div(7, "floor")) % kMaskClasses;
  const std::int64_t unknown = type == at::kByte ? 255 : -1;
  return at::where(places.remainder(7).eq(3), at::full({}, unknown, at::kLong), classes)
      .view({kMaskImages, kHigh, kWide})
      .to(type);
}

TEST(FieldLosses, FlagsAreYesNoOrNotKnown) {
  const at::Tensor logits = normal_values({3, 3}) * 3, flags = some_flags();
  double expected = 0;
  for (std::int64_t i = 0; i < 9; ++i) {
    const auto flag = static_cast<int>(value_at(flags, i / 3, i % 3));
    if (flag != 255) expected += logistic_loss(value_at(logits, i / 3, i % 3), flag == 1);
  }
  EXPECT_NEAR(method::flags_cross_entropy(logits, flags).item<double>(), expected, 1e-5);
  EXPECT_EQ(method::known_flags(flags).sum().item<std::int64_t>(), 6);
}

TEST(FieldLosses, ErrorsOfNumbersLeaveOutWhatIsNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor numbers = at::tensor({1.0F, nan, -3.0F, 0.25F}).view({2, 2}),
                   values = at::tensor({3.5F, 7.0F, -2.5F, 0.0F}).view({2, 2}).requires_grad_();
  EXPECT_NEAR(method::squared_errors(values, numbers).item<double>(), 6.25 + 0.25 + 0.0625, 1e-6);
  EXPECT_NEAR(method::huber_errors(values, numbers).item<double>(), 2.0 + 0.125 + 0.03125, 1e-6);
  for (auto* errors : {method::squared_errors, method::huber_errors}) {
    values.mutable_grad().reset();
    errors(values, numbers).backward();
    EXPECT_TRUE(at::isfinite(values.grad()).all().item<bool>());
    EXPECT_EQ(value_at(values.grad(), 0, 1), 0.0);
  }
}

class MasksOfTypes : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  at::Tensor mask_ = some_mask(GetParam());
  at::Tensor logits_ = normal_values({kMaskImages, kMaskClasses, kHigh, kWide}) * 2;

  /// Calls `visit(image, class of the pixel, logits of the pixel [K])` for known pixels.
  template <class Visit>
  void for_each_known(const Visit& visit) const {
    const at::Tensor classes = mask_.to(at::kLong), by_pixel = logits_.permute({0, 2, 3, 1}).to(at::kDouble);
    const std::int64_t unknown = GetParam() == at::kByte ? 255 : -1;
    for (std::int64_t i = 0; i < mask_.numel(); ++i) {
      const auto of = classes.flatten()[i].item<std::int64_t>();
      if (of != unknown) visit(i / (kHigh * kWide), of, by_pixel.reshape({-1, kMaskClasses})[i]);
    }
  }
};

TEST_P(MasksOfTypes, CrossEntropyIsThatOfKnownPixels) {
  std::vector<double> expected(kMaskImages, 0.0);
  for_each_known([&](std::int64_t image, std::int64_t of, const at::Tensor& logits) {
    expected[static_cast<std::size_t>(image)] += (logits.exp().sum().log() - logits[of]).item<double>();
  });
  const at::Tensor sums = method::pixels_cross_entropy(logits_, mask_);
  ASSERT_EQ(sums.sizes(), at::IntArrayRef{kMaskImages});
  for (std::int64_t i = 0; i < kMaskImages; ++i)
    EXPECT_NEAR(sums[i].item<double>(), expected[static_cast<std::size_t>(i)], 1e-4);
}

TEST_P(MasksOfTypes, BinaryCrossEntropyLooksAtEveryClass) {
  double expected = 0;
  for_each_known([&](std::int64_t /*image*/, std::int64_t of, const at::Tensor& logits) {
    for (std::int64_t k = 0; k < kMaskClasses; ++k)
      expected += logistic_loss(logits[k].item<double>(), k == of);
  });
  EXPECT_NEAR(method::pixels_binary_cross_entropy(logits_, mask_).item<double>(), expected, 1e-3);
}

TEST_P(MasksOfTypes, OneOutputStandsForTheSecondClass) {
  const at::Tensor first = method::pixels_of_classes(mask_, 1);
  EXPECT_EQ(first.sizes(), (at::IntArrayRef{kMaskImages, 1, kHigh, kWide}));
  EXPECT_TRUE(first.select(1, 0).equal(mask_.eq(1)));
}

TEST_P(MasksOfTypes, DiceIsOfSumsOverAllImages) {
  std::vector<double> both(kMaskClasses, 0.0), sizes(kMaskClasses, 0.0), pixels(kMaskClasses, 0.0);
  for_each_known([&](std::int64_t /*image*/, std::int64_t of, const at::Tensor& logits) {
    const at::Tensor p = logits.softmax(0);
    ++pixels[static_cast<std::size_t>(of)];
    for (std::int64_t k = 0; k < kMaskClasses; ++k) {
      const auto at_class = static_cast<std::size_t>(k);
      both[at_class] += k == of ? p[k].item<double>() : 0.0;
      sizes[at_class] += p[k].item<double>() + (k == of ? 1.0 : 0.0);
    }
  });
  const at::Tensor sums = method::overlaps(logits_.softmax(1), method::pixels_of_classes(mask_, kMaskClasses),
                                           method::known_pixels(mask_));
  ASSERT_EQ(sums.sizes(), (at::IntArrayRef{kMaskImages, kMaskClasses, 3}));
  double of_each = 0, all_both = 0, all_sizes = 0;
  for (std::size_t k = 0; k < kMaskClasses; ++k) {
    if (pixels[k] > 0) of_each += (1 - 2 * both[k] / sizes[k]) / kMaskClasses;
    all_both += both[k];
    all_sizes += sizes[k];
  }
  const double of_all = 1 - 2 * all_both / all_sizes;
  EXPECT_NEAR(method::dice_loss(sums, DiceClasses::merged).item<double>(), of_all, 1e-6);
  EXPECT_NEAR(method::dice_loss(sums, DiceClasses::per_class).item<double>(), of_each, 1e-6);
  EXPECT_GT(std::abs(of_all - of_each), 1e-3) << "both say the same";
  EXPECT_EQ(pixels.back(), 0.0) << "a class of which nothing is there is part of the test";
}

INSTANTIATE_TEST_SUITE_P(Types, MasksOfTypes, ::testing::Values(at::kByte, at::kInt),
                         [](const auto& test) { return test.param == at::kByte ? "u8" : "i32"; });

TEST(FieldLosses, WhatIsNotThereHasNoDiceLossAndNoGradient) {
  const at::Tensor mask = at::zeros({1, 2, 2}, at::kByte),
                   logits = normal_values({1, 1, 2, 2}).requires_grad_();
  const at::Tensor sums =
      method::overlaps(logits.sigmoid(), method::pixels_of_classes(mask, 1), method::known_pixels(mask));
  const at::Tensor loss = method::dice_loss(sums, DiceClasses::merged);
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 0.0);
  EXPECT_EQ(logits.grad().abs().max().item<double>(), 0.0);
}

TEST(FieldLosses, NothingKnownCostsNothing) {
  const at::Tensor logits = normal_values({2, 3, 4, 4}).requires_grad_(),
                   mask = at::full({2, 4, 4}, 255, at::kByte);
  (method::pixels_cross_entropy(logits, mask).sum() + method::pixels_binary_cross_entropy(logits, mask))
      .backward();
  EXPECT_EQ(logits.grad().abs().max().item<double>(), 0.0);
}

}  // namespace
}  // namespace cohort

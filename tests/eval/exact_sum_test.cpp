#include "eval/exact_sum.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/random.h"

#include "eval/flag_counts.h"
#include "eval/threshold_counts.h"

namespace cohort::eval {
namespace {

double exact_sum_of(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double term : terms) sum.add(term);
  return sum.value();
}

// Of all sizes that have a unit: below 2³⁰, and below 2⁷².
TEST(ExactSum, DoesNotDependOnTheOrder) {
  RandomStream random({.seed = 2, .purpose = Purpose::synthetic});
  std::vector<double> terms;
  for (int i = 0; i < 2000; ++i) terms.push_back(random.normal() * std::ldexp(1.0, i % 71));
  const double forwards = exact_sum_of(terms);
  std::reverse(terms.begin(), terms.end());
  EXPECT_EQ(exact_sum_of(terms), forwards);
  std::sort(terms.begin(), terms.end());
  EXPECT_EQ(exact_sum_of(terms), forwards);
}

TEST(ExactSum, LosesNoDigitToLargeTerms) {
  EXPECT_EQ(exact_sum_of({0x1p71, 0x1p-64, -0x1p71}), 0x1p-64);
  EXPECT_EQ(exact_sum_of({0x1p40, 0x1p-22, -0x1p40}), 0x1p-22);
  EXPECT_EQ(exact_sum_of({0x1p30, -0x1p30, 1.0}), 1.0);
  EXPECT_EQ(exact_sum_of({-0.75, 0.5}), -0.25);
}

TEST(ExactSum, TermsBeyondHaveASumOfTheirOwn) {
  ExactSum sum;
  for (const double term : {0x1p72, -0x1p80, 1.0}) sum.add(term);
  EXPECT_EQ(sum.beyond(), 0x1p72 - 0x1p80);
  EXPECT_EQ(sum.value(), 0x1p72 - 0x1p80 + 1.0);
}

TEST(ExactSum, AsManyTimesIsAsOften) {
  ExactSum one, three, often;
  for (const double term : {0.1, -1e12, 1e25}) one.add(term);
  for (int i = 0; i < 3; ++i) three.add(one);
  often.add(one, 3);
  EXPECT_EQ(three.value(), often.value());
}

// As ranks add up their parts.
TEST(ExactSum, PartsMayBeAddedUpAsWholeNumbers) {
  ExactSum a, b, both;
  for (const double term : {-3.7, 1e15, 0.1, -2e20}) a.add(term), both.add(term);
  for (const double term : {5.25, -1e15, 1e-17, 7e20}) b.add(term), both.add(term);
  std::array<std::int64_t, ExactSum::kParts> of_a{}, of_b{};
  a.put(of_a);
  b.put(of_b);
  for (std::size_t i = 0; i < of_a.size(); ++i) of_a.at(i) += of_b.at(i);
  ExactSum sum;
  sum.take(of_a);
  EXPECT_EQ(sum.value(), both.value());
}

TEST(FlagCounts, SharesOfNothingAreNone) {
  const FlagCounts nothing, negatives{0, 0, 0, 5};
  EXPECT_TRUE(std::isnan(nothing.accuracy()));
  EXPECT_TRUE(std::isnan(negatives.f1()));
  EXPECT_TRUE(std::isnan(negatives.sensitivity()));
  EXPECT_EQ(negatives.specificity(), 1.0);
}

TEST(ThresholdCurves, OfFewThresholdsHaveAllOfThem) {
  ThresholdCurves curves({2, 4});
  curves.add({2, 4});
  curves.add({2, 1});
  curves.add({1, 0});
  EXPECT_EQ(curves.roc(), (CurvePoints{{0, 0}, {0, 0.5}, {0.25, 1}, {1, 1}}));
  EXPECT_EQ(curves.precision_recall(), (CurvePoints{{0, 1}, {0.5, 1}, {1, 2.0 / 3}, {1, 1.0 / 3}}));
}

// However many there are, ends and spread stay, and every point is one of a threshold.
TEST(ThresholdCurves, OfManyThresholdsAreThinned) {
  constexpr std::int64_t kSide = 20000;
  ThresholdCurves curves({kSide, kSide});
  for (std::int64_t i = 0; i < kSide; ++i) curves.add({kSide - i, kSide - i});
  const CurvePoints roc = curves.roc();
  EXPECT_LE(roc.size(), 200U);
  EXPECT_EQ(roc.front(), (std::array{0.0, 0.0}));
  EXPECT_EQ(roc.back(), (std::array{1.0, 1.0}));
  for (std::size_t i = 1; i < roc.size(); ++i) {
    EXPECT_LT(roc[i][0] - roc[i - 1][0], 2.5 / 198);
    EXPECT_EQ(roc[i][0], roc[i][1]);
  }
}

}  // namespace
}  // namespace cohort::eval

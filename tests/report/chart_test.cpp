#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "report/plot.h"
#include "report/scores.h"
#include "report/svg.h"

namespace cohort::report {
namespace {

TEST(NiceTicks, AreRoundAndEnclose) {
  EXPECT_EQ(nice_ticks(0.0, 10.0, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(nice_ticks(-1.0, 1.0, 4), (std::vector<double>{-1, -0.5, 0, 0.5, 1}));
  EXPECT_EQ(nice_ticks(0.0, 480.0, 6), (std::vector<double>{0, 100, 200, 300, 400, 500}));
}

TEST(NiceTicks, WorkForEveryMagnitude) {
  for (double low = -1e9; low < 1e10; low += 3.3e8) {
    for (double span = 1e-3; span < 1e9; span *= 3.7) {
      if (span < 1e-6 * std::abs(low)) continue;
      const std::vector<double> ticks = nice_ticks(low, low + span, 5);
      ASSERT_GE(ticks.size(), 3U);
      ASSERT_LE(ticks.size(), 11U);
      EXPECT_LE(ticks.front(), low + span * 1e-6);
      EXPECT_GE(ticks.back(), low + span * (1 - 1e-6));
    }
  }
}

TEST(NiceTicks, EqualEndsHaveRoom) {
  for (const double value : {0.0, 0.5, -3.0, 1e-5, 1e17}) {
    const std::vector<double> ticks = nice_ticks(value, value, 5);
    EXPECT_GE(ticks.size(), 2U);
    EXPECT_LE(ticks.front(), value);
    EXPECT_GT(ticks.back(), value);
  }
}

TEST(NiceTicks, NearlyEqualLargeEndsEnd) {
  EXPECT_LE(nice_ticks(1e16, 1e16 + 2, 5).size(), 11U);
}

TEST(Escaped, LeavesNoMarkup) {
  EXPECT_EQ(escaped("a<b>&\"c'\x01\n"), "a&lt;b&gt;&amp;&quot;c&#39;\n");
}

std::size_t points_in(const std::string& svg) {
  return static_cast<std::size_t>(std::count(svg.begin(), svg.end(), ','));
}

TEST(LineChart, ThinsLongCurvesButKeepsTheirExtremes) {
  Series points;
  for (int i = 0; i < 100000; ++i) points.emplace_back(i, i == 54321 ? 5.0 : 1.0 + 0.1 * std::sin(i));
  const Curve curve{"run", 0, points, false};

  const std::string svg = line_chart({"loss", "", false, false}, std::span(&curve, 1));

  EXPECT_LT(points_in(svg), 700U);
  EXPECT_NE(svg.find(",34.0 "), std::string::npos) << "the peak must reach the upper edge";
}

TEST(LineChart, WritesSmallValuesWithAPowerOfTen) {
  const Curve curve{"run", 0, {{0, 0.0}, {100, 5e-4}}, false};

  const std::string svg = line_chart({"learning rate", "", true, false}, std::span(&curve, 1));

  EXPECT_NE(svg.find("× 10<tspan class=\"power\" dy=\"-4\">-4</tspan>"), std::string::npos) << svg;
  EXPECT_NE(svg.find(">5</text>"), std::string::npos) << svg;
}

TEST(LineChart, ASinglePointIsDrawn) {
  const Curve curve{"a<b", 0, {{7, 0.25}}, false};

  const std::string svg = line_chart({"accuracy", "on test", false, true}, std::span(&curve, 1));

  EXPECT_NE(svg.find("<title>a&lt;b, step 7: 0.25</title>"), std::string::npos) << svg;
  EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
  EXPECT_EQ(svg.find("inf"), std::string::npos) << svg;
}

TEST(LineChart, MarksSayWhatGoesAcross) {
  const Curve curve{"busbw", 0, {{10, 1.0}, {20, 3.0}}, false};

  const std::string svg = line_chart({"speed", "GB/s", true, false, "size", {{10, "1 KiB"}, {20, "1 MiB"}}},
                                     std::span(&curve, 1));

  EXPECT_NE(svg.find("x=\"56.0\" y=\"247.0\" text-anchor=\"middle\">1 KiB</text>"), std::string::npos) << svg;
  EXPECT_NE(svg.find("x=\"546.0\" y=\"247.0\" text-anchor=\"middle\">1 MiB</text>"), std::string::npos)
      << svg;
  EXPECT_NE(svg.find("<title>busbw, size 1 MiB: 3</title>"), std::string::npos) << svg;
}

TEST(Plot, DrawsPointsWhereTheyAre) {
  const Curve curve{"a<b", 1, {{0, 0}, {0, 0.5}, {1, 1}}};

  const std::string svg = plot({"ROC", "x", "y", true, true}, std::span(&curve, 1));

  EXPECT_NE(svg.find("points=\"52.0,288.0 52.0,159.0 346.0,30.0 \""), std::string::npos) << svg;
  EXPECT_NE(svg.find("<title>a&lt;b: 1, 1</title>"), std::string::npos) << svg;
  EXPECT_NE(svg.find("d=\"M52.0 288.0L346.0 30.0\""), std::string::npos) << "chance";
}

TEST(Plot, AHistogramHasABarForEachPoint) {
  const Curve curve{"run", 0, {{0.25, 1}, {0.75, 4}}};

  const std::string svg = plot({"", "confidence", "images", false, false, true}, std::span(&curve, 1));

  EXPECT_EQ(svg.find("polyline"), std::string::npos);
  EXPECT_NE(svg.find("height=\"258.0\"><title>run: 0.75, 4"), std::string::npos) << svg;
  EXPECT_NE(svg.find("height=\"64.5\"><title>run: 0.25, 1"), std::string::npos) << svg;
}

TEST(Plot, HugeValuesStayNumbers) {
  const Curve curve{"run", 0, {{-1e308, -1e308}, {1e308, 1e308}}};

  const std::string svg = plot({"", "x", "y"}, std::span(&curve, 1));

  EXPECT_EQ(svg.find("inf"), std::string::npos) << svg;
  EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
}

TEST(Headings, StandInTwoLinesWithTheArrowAtItsWord) {
  EXPECT_EQ(heading_of("accuracy ↑"), (Heading{"accuracy ↑", ""}));
  EXPECT_EQ(heading_of("balanced accuracy ↑"), (Heading{"balanced", "accuracy ↑"}));
  EXPECT_EQ(heading_of("PSNR ↑, dB"), (Heading{"PSNR ↑", "dB"}));
  EXPECT_EQ(shown_title({"f1_macro"}), "F1 macro ↑");
  EXPECT_EQ(shown_title({"tpr_at_fpr_0.01"}), "TPR at FPR 0.01 ↑");
}

TEST(ShownValue, HasThreeDigitsOrMore) {
  EXPECT_EQ(shown_value({"accuracy", 0.8125}), "81.2 %");
  EXPECT_EQ(shown_value({"iou", 0.8125}), "0.812");
  EXPECT_EQ(shown_value({"psnr", 31.4159}), "31.42");
  EXPECT_EQ(shown_value({"rank", 1234.5678}), "1234.6");
  EXPECT_EQ(shown_value({"loss", 1e308}), "1.000e+308");
  EXPECT_EQ(shown_value({"dice"}), "–");
}

TEST(SmoothedCurves, OfAConstantIsThatConstant) {
  report::Run run;
  run.name = "run";
  for (int i = 0; i < 500; ++i) run.series["loss"].emplace_back(i, 0.5);

  const std::vector<Curve> curves = smoothed_curves(std::span(&run, 1), "loss");

  ASSERT_EQ(curves.size(), 2U);
  EXPECT_TRUE(curves[0].faint);
  for (const auto& [step, value] : curves[1].points) EXPECT_NEAR(value, 0.5, 1e-12);
}

}  // namespace
}  // namespace cohort::report

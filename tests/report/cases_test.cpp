// Images to be looked at, and curves of measurements, on the page.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "page.h"
#include "report/case_pictures.h"
#include "run_folder.h"

namespace cohort::report {
namespace {

using testing::TemporaryFolder;

/// An evaluation with `count` cases and a curve of a kind.
std::string line_with_cases(const std::string& split, int count, const std::string& kind = "roc",
                            bool has_ids = true) {
  std::string cases;
  for (int i = 0; i < count; ++i)
    cases += fmt::format(R"({}{{"row":{},"id":"{}","score":0.9,"what":"age: {}, said to be <2>"}})",
                         i == 0 ? "" : ",", i, has_ids ? fmt::format("image & {}", i) : "", i);
  const auto curve = [&](const char* of) {
    return fmt::format(
        R"({{"kind":"{}","of":"{}","x":"true","y":"predicted","points":[[40,41],[50,52.5],[90,80]]}})", kind,
        of);
  };
  return fmt::format(
      R"({{"kind":"evaluation","step":1,"epoch":1,"split":"{}","classifier":"knn k=5","task":"regression","images":9,)"
      R"("context_key":"","scores":[{{"name":"mae","value":1.5,"better":"lower"}}],"curves":[{},{}],"cases":[{}]}})"
      "\n",
      split, curve("age"), curve("weight"), cases);
}

TEST(Cases, HavePicturesSeveralInARowWhereTheseAreAtHand) {
  const TemporaryFolder folder;
  const Paths runs{write_run(folder, "run", line_with_cases("test", 24))};
  const auto even = [&](const EvaluatedImage& image) {
    EXPECT_EQ(image.run, runs.front());
    EXPECT_EQ(image.split, "test") << "of the dataset, without the classifier";
    EXPECT_EQ(image.id, fmt::format("image & {}", image.row));
    return image.row % 2 == 0 ? std::string("jpeg") : std::string();
  };

  const std::string html = html_of(folder, runs, even);

  EXPECT_EQ(first_imbalance(html), "");
  EXPECT_EQ(count(html, "<div class=\"gallery\">"), 1U);
  EXPECT_EQ(count(html, "<figure><img alt=\"image &amp; "), 10U);
  EXPECT_EQ(count(html, "src=\"data:image/jpeg;base64,anBlZw==\""), 10U);
  EXPECT_EQ(count(html, "<figcaption>"), kMostCases);
  EXPECT_NE(html.find("<figcaption>image &amp; 1<br/>age: 1, said to be &lt;2&gt;</figcaption>"),
            std::string::npos);
  EXPECT_NE(html.find("4 more are not shown"), std::string::npos);
}

TEST(Cases, AreATableWithoutPictures) {
  const TemporaryFolder folder;
  const Paths runs{write_run(folder, "run", line_with_cases("test", 3))};
  for (const PictureOf& none : {PictureOf(), PictureOf([](const EvaluatedImage&) { return ""; })}) {
    const std::string html = html_of(folder, runs, none);
    EXPECT_EQ(html.find("class=\"gallery\""), std::string::npos);
    EXPECT_NE(html.find("<td class=\"left\">image &amp; 2</td>"), std::string::npos);
  }
}

TEST(Cases, WithoutAnIdMayBeOfAnotherDataset) {
  const TemporaryFolder folder;
  const Paths runs{write_run(folder, "run", line_with_cases("test", 3, "roc", false))};
  EXPECT_EQ(html_of(folder, runs, [](const EvaluatedImage&) { return "jpeg"; }).find("image/jpeg"),
            std::string::npos);
}

TEST(Cases, PicturesOfAllGalleriesStayBelowTheLimit) {
  const TemporaryFolder folder;
  std::string metrics;
  for (int split = 0; split < 100; ++split) metrics += line_with_cases(fmt::format("split_{}", split), 20);
  const Paths runs{write_run(folder, "a", metrics), write_run(folder, "b", metrics)};
  const std::string picture(5000, 'x');

  const std::string html = html_of(folder, runs, [&](const EvaluatedImage&) { return picture; });

  EXPECT_LT(html.size(), 5'000'000U);
  EXPECT_EQ(count(html, "image/jpeg"), kMostCasePictures / picture.size());
  EXPECT_EQ(count(html, "class=\"gallery\""), 200U) << "the first case of each comes first";
}

TEST(Curves, OfMeasurementsArePointsOnAxesOfTheirOwn) {
  const TemporaryFolder folder;

  const std::string html =
      html_of(folder, {write_run(folder, "run", line_with_cases("test", 1, "predicted"))});

  EXPECT_EQ(first_imbalance(html), "");
  EXPECT_EQ(count(html, "<svg class=\"plot\""), 2U) << "a chart of each measurement";
  EXPECT_EQ(count(html, "<path class=\"majority\""), 2U) << "where both are equal";
  EXPECT_EQ(count(html, "<path class=\"points c"), 2U);
  EXPECT_EQ(html.find("<polyline"), std::string::npos);
  EXPECT_NE(html.find(">predicted and true<"), std::string::npos);
  EXPECT_EQ(count(html, ">40</text>"), 4U) << "both axes begin where values do";
  EXPECT_EQ(html.find(">0</text>"), std::string::npos);
}

TEST(Curves, OfResidualsShowZero) {
  const TemporaryFolder folder;

  const std::string html =
      html_of(folder, {write_run(folder, "run", line_with_cases("test", 1, "residuals"))});

  EXPECT_EQ(count(html, "<path class=\"points c"), 2U);
  EXPECT_EQ(count(html, "text-anchor=\"end\">0</text>"), 2U) << "the vertical axis alone";
  EXPECT_EQ(html.find("<path class=\"majority\""), std::string::npos);
}

}  // namespace
}  // namespace cohort::report

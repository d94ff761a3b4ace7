// Tables of a study: means with intervals, and differences over the same seeds.
#include "jobs/study_table.h"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::jobs {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Study two_encoders() {
  Study study;
  study.encoders = {{"plain", "/runs/plain", ""}, {"context", "/runs/context", "slide, mean"}};
  study.tasks = {{"a_b", "val/auc", "test/auc", 1}};
  study.modes = {StudyMode::frozen};
  study.runs = 3;
  return study;
}

std::vector<GroupResult> results(const RunScores& plain, const RunScores& context) {
  return {{{0, 0, StudyMode::frozen}, "1e-3", false, plain},
          {{1, 0, StudyMode::frozen}, "3e-4", false, context}};
}

// 0.5, 0.6, 0.7: s = 0.1, 1.96 s / √3 = 0.1131607 …
const RunScores kPlain{{{0, 0}, 0.5}, {{1, 0}, 0.6}, {{2, 0}, 0.7}},
    kContext{{{0, 0}, 0.55}, {{1, 0}, 0.66}, {{2, 0}, 0.77}};

TEST(StudyTable, HasMeanAndIntervalOfEachEncoder) {
  const std::string text = study_markdown(two_encoders(), results(kPlain, kContext));
  EXPECT_TRUE(has(text, "| encoder | contexts | a_b, frozen (test/auc) |")) << text;
  EXPECT_TRUE(has(text, "| plain | none | 0.6000 ± 0.1132 |")) << text;
  EXPECT_TRUE(has(text, "| context | slide, mean | **0.6600 ± 0.1245** |")) << text;
  EXPECT_TRUE(has(text, "a_b/context/frozen: learning rate 3e-4")) << text;
  EXPECT_FALSE(has(text, "Not all runs")) << text;
}

TEST(StudyTable, LessIsBetterWhereItIs) {
  auto both = results(kPlain, kContext);
  both[0].lower_is_better = both[1].lower_is_better = true;
  EXPECT_TRUE(has(study_markdown(two_encoders(), both), "| plain | none | **0.6000"));
}

// -0.05, -0.06, -0.07: the mean is -0.06, and 1.96 · 0.01 / √3 = 0.0113.
TEST(StudyTable, DifferencesAreOfTheSameSeeds) {
  const Study study = two_encoders();
  const auto differences = differences_of(study, results(kPlain, kContext));
  ASSERT_EQ(differences.size(), 1U);
  EXPECT_NEAR(differences[0].interval.mean, -0.06, 1e-12);
  EXPECT_NEAR(differences[0].interval.half_width, 1.96 * 0.01 / std::sqrt(3.0), 1e-12);
  EXPECT_TRUE(differences[0].is_clear());
  EXPECT_TRUE(has(study_markdown(study, results(kPlain, kContext)),
                  "| plain − context | a_b, frozen (test/auc) | 3 | -0.0600 ± 0.0113 * |"));
  // A run without a partner says nothing; one pair alone is not clear, nor is what cancels.
  const auto one =
      differences_of(study, results({{{0, 0}, 0.5}, {{1, 0}, 0.6}}, {{{1, 0}, 0.9}, {{2, 0}, 0.1}}));
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].interval.runs, 1);
  EXPECT_FALSE(one[0].is_clear());
  EXPECT_FALSE(
      differences_of(study, results(kPlain, {{{0, 0}, 0.7}, {{1, 0}, 0.6}, {{2, 0}, 0.5}}))[0].is_clear());
  EXPECT_TRUE(differences_of(study, results(kPlain, {})).empty());
}

TEST(StudyTable, SaysWhatHasNotEnded) {
  const Study study = two_encoders();
  const auto partly = results({{{0, 0}, 0.5}}, {});
  const std::string text = study_markdown(study, partly);
  EXPECT_TRUE(has(text, "| plain | none | **0.5000** |\n| context | slide, mean | – |")) << text;
  EXPECT_TRUE(has(text, "a_b/plain/frozen: 1 of 3 runs")) << text;
  EXPECT_TRUE(differences_of(study, partly).empty());
  EXPECT_TRUE(has(study_picture(study, partly), "no run has ended"));
}

TEST(StudyTable, IsWrittenForPrograms) {
  const Study study = two_encoders();
  EXPECT_EQ(scores_csv(study, results(kPlain, {})),
            "task,mode,encoder,contexts,score,rate,runs,mean,deviation,half_width\n"
            "a_b,frozen,plain,,test/auc,1e-3,3,0.6,0.1,0.113160653\n"
            "a_b,frozen,context,\"slide, mean\",test/auc,3e-4,0,,,\n");
  EXPECT_EQ(differences_csv(study, results(kPlain, kContext)),
            "task,mode,first,second,score,runs,mean,deviation,half_width,beyond\n"
            "a_b,frozen,plain,context,test/auc,3,-0.06,0.01,0.0113160653,yes\n");
}

TEST(StudyTable, IsWrittenForPapers) {
  const std::string text = study_latex(two_encoders(), results(kPlain, {}));
  EXPECT_TRUE(has(text, "encoder & contexts & a\\_b, frozen (test/auc) \\\\")) << text;
  EXPECT_TRUE(has(text, "plain & none & \\textbf{0.6000 $\\pm$ 0.1132} \\\\")) << text;
  EXPECT_TRUE(has(text, "context & slide, mean & -- \\\\")) << text;
}

TEST(StudyPicture, HasABarWithItsIntervalForEachEncoder) {
  Study study = two_encoders();
  study.encoders[0].name = "<plain>";
  const std::string svg = study_picture(study, results(kPlain, kContext));
  EXPECT_TRUE(has(svg, "&lt;plain&gt;") && has(svg, "0.6000 ± 0.1132") && has(svg, "0.6600 ± 0.1245")) << svg;
  // From x = 190 to 620 for 0 … 1.
  EXPECT_TRUE(has(svg, "width=\"258.0\"")) << svg;
  EXPECT_TRUE(has(svg, "M399.3 ")) << svg;  // 190 + 430 · (0.6 - 0.11316)
}

}  // namespace
}  // namespace cohort::jobs

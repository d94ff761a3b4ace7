#include "cohort/core/error.h"

#include <gtest/gtest.h>

namespace cohort {
namespace {

TEST(ErrorTest, ReadsAsThreeLines) {
  const UsageError error({"unknown key 'optimiser.lr'", "configs/x.yaml:12", "did you mean 'optimizer.lr'?"});

  EXPECT_STREQ(error.what(),
               "unknown key 'optimiser.lr'\n"
               "  where: configs/x.yaml:12\n"
               "  fix:   did you mean 'optimizer.lr'?");
}

TEST(ErrorTest, LeavesOutEmptyParts) {
  EXPECT_STREQ(DataError({"no images", "", ""}).what(), "no images");
  EXPECT_STREQ(DataError({"no images", "a.h5", ""}).what(), "no images\n  where: a.h5");
  EXPECT_STREQ(DataError({"no images", "", "convert it again"}).what(),
               "no images\n  fix:   convert it again");
}

TEST(ErrorTest, CarriesItsExitCode) {
  EXPECT_EQ(static_cast<int>(UsageError({}).exit_code()), 2);
  EXPECT_EQ(static_cast<int>(DataError({}).exit_code()), 3);
  EXPECT_EQ(static_cast<int>(NumericalError({}).exit_code()), 4);
  EXPECT_EQ(static_cast<int>(RankError({}).exit_code()), 5);
  EXPECT_EQ(static_cast<int>(ExitCode::stopped), 75);
}

TEST(Check, PassesSilentlyWithoutBuildingItsMessage) {
  int built = 0;
  const auto count = [&] { return ++built; };

  COHORT_CHECK(built == 0, "{}", count());

  EXPECT_EQ(built, 0);
}

TEST(Check, ThrowsABugWithExpressionValuesAndLine) {
  const int groups = 3;
  try {
    COHORT_CHECK(groups % 2 == 0, "{} groups on {} ranks", groups, 2);
    FAIL();
  } catch (const Bug& bug) {
    const std::string text = bug.what();
    EXPECT_TRUE(text.starts_with("3 groups on 2 ranks [check 'groups % 2 == 0' failed at ")) << text;
    EXPECT_NE(text.find("error_test.cpp:"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace cohort

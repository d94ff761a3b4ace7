// Which score of a run a study shows.
#include "jobs/run_scores.h"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "support/temporary_folder.h"

namespace cohort::jobs {
namespace {

constexpr const char* kRecords =
    R"({"kind":"step","step":1,"loss":0.5}
{"kind":"evaluation","step":2,"split":"val","accuracy":0.5,"loss":1.5,"contexts":[{"context":"a","accuracy":0.25},{"context":"b","accuracy":0.75}]}
{"kind":"evaluation","step":2,"split":"test","accuracy":0.625,"loss":1.25,"scores":[{"name":"dice","value":0.875,"better":"higher"},{"name":"error","value":3.5,"better":"lower"},{"name":"auc","value":null}]}
{"kind":"evaluation","step":2,"split":"test","classifier":"knn k=20 of slide","accuracy":0.375}
{"kind":"best","step":2,"by":"val/accuracy","score":0.5}
{"kind":"evaluation","step":4,"split":"val","accuracy":0.25}
{"kind":"evaluation","step":4,"split":"test","accuracy":0.75}
{"kind":"end","step":4}
{"kind":"evaluation","step":6,"spl)";

class RunScoresOf : public ::testing::Test {
 protected:
  std::optional<RunScore> best(const std::string& name, const std::string& records = kRecords) {
    return best_score_of_run(folder.write("metrics.jsonl", records), name);
  }
  testing::TemporaryFolder folder;
};

TEST_F(RunScoresOf, AreThoseOfTheBestEvaluation) {
  ASSERT_TRUE(best("test/accuracy"));
  EXPECT_EQ(best("test/accuracy")->value, 0.625);
  EXPECT_EQ(best("val/accuracy")->value, 0.5);
  EXPECT_EQ(best("test/knn_20/accuracy")->value, 0.375);
  EXPECT_EQ(best("val/worst_context")->value, 0.25);
}

TEST_F(RunScoresOf, AreFoundInTheListAsWell) {
  EXPECT_EQ(best("test/dice")->value, 0.875);
  EXPECT_FALSE(best("test/dice")->lower_is_better);
  EXPECT_TRUE(best("test/error")->lower_is_better);
  EXPECT_TRUE(best("test/loss")->lower_is_better);
}

TEST_F(RunScoresOf, MayBeMissing) {
  EXPECT_FALSE(best("test/auc"));
  EXPECT_FALSE(best("elsewhere/accuracy"));
  EXPECT_FALSE(best("test/accuracy", ""));
  EXPECT_FALSE(best_score_of_run(folder.path() / "nothing", "test/accuracy"));
}

// A better evaluation without the score does not take that of an earlier one.
TEST_F(RunScoresOf, AreNotThoseOfAnEarlierEvaluation) {
  const std::string later = R"({"kind":"evaluation","step":2,"split":"test","auc":0.5}
{"kind":"best","step":2}
{"kind":"evaluation","step":4,"split":"test","accuracy":0.5}
{"kind":"best","step":4}
)";
  EXPECT_FALSE(best("test/auc", later));
  EXPECT_TRUE(best("test/accuracy", later));
}

TEST_F(RunScoresOf, OfAProbeAreThoseOfItsClassifier) {
  const auto file = folder.write(
      "probe.jsonl",
      R"({"kind":"evaluation","step":0,"split":"test","classifier":"linear probe","accuracy":0.5})"
      "\n");
  EXPECT_EQ(score_of_probe(file, "test/accuracy")->value, 0.5);
  EXPECT_FALSE(score_of_probe(file, "val/accuracy"));
}

}  // namespace
}  // namespace cohort::jobs

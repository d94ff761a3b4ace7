#include "cohort/train/metrics.h"

#include <string>
#include <sys/stat.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "support/temporary_folder.h"

namespace cohort::train {
namespace {

const std::string kStep1 = R"({"kind":"step","step":1,"loss":0.7,"seconds":0.25})";
const std::string kStep2 = R"({"kind":"step","step":2,"loss":0.6,"seconds":0.5})";
const std::string kEvaluation2 = R"({"kind":"evaluation","step":2,"split":"test"})";
const std::string kStep3 = R"({"kind":"step","step":3,"loss":0.5,"seconds":0.5})";
const std::string kEnd = R"({"kind":"end","step":3})";

TEST(Metrics, AStepLineHasTheKeysThatToolsRead) {
  StepRecord record{12,  0, 0.69314718055994531, 1e-3, 1.2, 0.31, 810.2, 0.02, 0.05, 0.01, 0.08,
                    123, 0, {{"accuracy", 0.5}}};

  EXPECT_EQ(
      step_json(record),
      R"({"kind":"step","step":12,"epoch":0,"loss":0.693147181,"lr":0.001,"grad_norm":1.2,"images_per_second":810.2,)"
      R"("seconds":0.31,"data_wait":0.02,"comm_wait":0.05,"read_seconds":0.01,"view_seconds":0.08,"memory_bytes":123,"accuracy":0.5})");
  record.device_memory_bytes = 456;
  EXPECT_NE(step_json(record).find(R"("memory_bytes":123,"device_memory_bytes":456,)"), std::string::npos);
  EXPECT_EQ(
      end_json({480, 118.2, 812.0, 2, 812345}),
      R"({"kind":"end","step":480,"seconds":118.2,"images_per_second":812.0,"ranks":2,"parameters":812345})");
}

TEST(Metrics, TrimmingDropsLaterStepsTheEndAndHalfALine) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("metrics.jsonl", kStep1 + "\n" + kStep2 + "\n" + kEvaluation2 + "\n" +
                                                      kStep3 + "\n" + kEnd + "\n{\"kin");

  const KeptMetrics kept = trim_metrics(file, 2, false);

  EXPECT_EQ(read_file(file), kStep1 + "\n" + kStep2 + "\n" + kEvaluation2 + "\n");
  EXPECT_EQ(kept.steps, 2);
  EXPECT_DOUBLE_EQ(kept.seconds, 0.75);
}

TEST(Metrics, TrimmingDropsEvaluationsThatAreMadeAgain) {
  const testing::TemporaryFolder folder;
  const std::string features = features_json({0.04, 7.5}, 2, 0) + "\n";
  const auto file =
      folder.write("metrics.jsonl", kStep1 + "\n" + kStep2 + "\n" + features + kEvaluation2 + "\n");

  trim_metrics(file, 2, true);

  EXPECT_EQ(read_file(file), kStep1 + "\n" + kStep2 + "\n");
}

TEST(Metrics, AnEvaluationIsFoundByItsStep) {
  const testing::TemporaryFolder folder;
  const std::string features = features_json({0.04, 7.5}, 3, 0) + "\n";

  EXPECT_FALSE(has_evaluation(folder.path() / "metrics.jsonl", 2));
  const auto file = folder.write("metrics.jsonl", kStep1 + "\n" + kEvaluation2 + "\n" + features);
  EXPECT_FALSE(has_evaluation(file, 1));
  EXPECT_TRUE(has_evaluation(file, 2));
  EXPECT_TRUE(has_evaluation(file, 3));
}

TEST(Metrics, OnlyAnEndLineEndsARun) {
  const testing::TemporaryFolder folder;

  EXPECT_FALSE(end_of_run(folder.path() / "metrics.jsonl"));
  EXPECT_FALSE(end_of_run(folder.write("a.jsonl", kEnd + "\n" + kStep3 + "\n")));
  EXPECT_TRUE(end_of_run(folder.write("b.jsonl", kStep3 + "\n" + kEnd + "\n")));
}

TEST(Metrics, ADamagedLineIsNamed) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("metrics.jsonl", kStep1 + "\nnonsense\n");

  try {
    trim_metrics(file, 2, false);
    FAIL() << "a damaged line was accepted";
  } catch (const DataError& error) {
    EXPECT_EQ(error.text().where, file.string() + ":2");
  }
}

// Written in blocks of 1 MiB.
TEST(Metrics, OfALongRunAreTrimmedLineByLine) {
  const testing::TemporaryFolder folder;
  const auto line = [](int step) {
    return fmt::format(R"({{"kind":"step","step":{},"seconds":0.5}})", step);
  };
  std::string kept, rest;
  for (int step = 1; step <= 60'000; ++step) (step <= 50'000 ? kept : rest) += line(step) + "\n";
  const auto file = folder.write("metrics.jsonl", kept + rest + R"({"kind":"st)");

  const KeptMetrics found = trim_metrics(file, 50'000, false);

  EXPECT_EQ(found.steps, 50'000);
  EXPECT_EQ(found.seconds, 25'000);
  EXPECT_TRUE(read_file(file) == kept);
}

TEST(Metrics, AFileThatCannotBeOpenedIsRefused) {
  const testing::TemporaryFolder folder;
  EXPECT_THROW(MetricsFile(folder.path() / "missing" / "metrics.jsonl"), DataError);
}

TEST(Metrics, AreReadAndWrittenThroughNoLinkOrFifo) {
  const testing::TemporaryFolder folder;
  const auto secret = folder.write("secret", kStep1 + "\n"), link = folder.path() / "link",
             fifo = folder.path() / "fifo";
  std::filesystem::create_symlink(secret, link);
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);

  for (const auto& file : {link, fifo}) {
    EXPECT_THROW((void)MetricsFile(file), DataError);
    EXPECT_THROW((void)trim_metrics(file, 1, false), DataError);
    EXPECT_THROW((void)end_of_run(file), DataError);
  }
}

TEST(Metrics, ThatAreRemovedOrReplacedMeanwhileAreNoticedBeforeACheckpoint) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  MetricsFile file(path);
  file.write(kStep1);
  EXPECT_NO_THROW(file.sync());

  std::filesystem::rename(path, folder.path() / "moved");
  EXPECT_THROW(file.sync(), DataError);
  folder.write("metrics.jsonl", kStep1 + "\n");
  EXPECT_THROW(file.sync(), DataError);
}

TEST(Metrics, LinesOfOtherTypesAreRefused) {
  const testing::TemporaryFolder folder;
  for (const char* line : {R"({"kind":1,"step":1})", R"({"kind":"step","step":"1"})",
                           R"({"kind":"step","step":1,"seconds":"x"})", "[]", "null"}) {
    const auto file = folder.write("metrics.jsonl", std::string(line) + "\n");
    EXPECT_THROW((void)trim_metrics(file, 1, false), DataError) << line;
    EXPECT_THROW((void)end_of_run(file), DataError) << line;
  }
}

}  // namespace
}  // namespace cohort::train

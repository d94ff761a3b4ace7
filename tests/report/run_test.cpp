#include "report/run.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "run_folder.h"

namespace cohort::report {
namespace {

using testing::TemporaryFolder;

Split classified(const std::string& split) {
  return {"classification", split};
}

class ReadRun : public ::testing::Test {
 protected:
  report::Run read(const std::string& metrics) { return read_run(write_run(folder, "run", metrics)); }

  void expect_refused(const std::string& metrics, const std::string& what, int line) {
    try {
      read(metrics);
      ADD_FAILURE() << "accepted: " << metrics;
    } catch (const DataError& error) {
      EXPECT_EQ(error.text().what, what);
      EXPECT_EQ(error.text().where,
                fmt::format("{}:{}", (folder.path() / "run" / "metrics.jsonl").string(), line));
      EXPECT_EQ(error.text().fix, "restore the file, or remove the line");
    }
  }

  TemporaryFolder folder;
};

TEST_F(ReadRun, ReadsSeriesEvaluationsAndEnd) {
  const report::Run run =
      read(step_line(0, 0.7) + step_line(1, 0.6) + evaluation_line(2, "test", 0.75) + end_line());

  EXPECT_EQ(run.name, "run");
  EXPECT_EQ(run.steps(), 2);
  EXPECT_EQ(run.series.at("loss"), (Series{{0, 0.7}, {1, 0.6}}));
  EXPECT_EQ(run.series.at("accuracy").size(), 2U);
  EXPECT_FALSE(run.series.contains("kind"));
  ASSERT_NE(run.last(classified("test")), nullptr);
  EXPECT_EQ(run.last(classified("test"))->worst()->name, "module_b");
  EXPECT_EQ(run.last(classified("none")), nullptr);
  EXPECT_EQ(run.end->parameters, 812345);
  EXPECT_EQ(run.images_per_second(), 1812.4);
}

TEST_F(ReadRun, StepsRepeatedAfterAResumeReplaceTheFirstOnes) {
  const report::Run run =
      read(step_line(0, 0.7) + step_line(1, 0.6) + step_line(2, 0.5) + evaluation_line(3, "test", 0.5) +
           step_line(1, 0.61) + step_line(2, 0.51) + evaluation_line(3, "test", 0.6));

  EXPECT_EQ(run.series.at("loss"), (Series{{0, 0.7}, {1, 0.61}, {2, 0.51}}));
  EXPECT_EQ(run.evaluations.size(), 1U);
  EXPECT_EQ(run.last(classified("test"))->find("accuracy")->value, 0.6);
}

TEST_F(ReadRun, OfALongRunItKeepsAFixedNumberOfPoints) {
  constexpr int kSteps = 40'000;
  std::string metrics;
  for (int step = 0; step < kSteps; ++step)
    metrics += step_line(step, step == 12'345 ? 99 : 1.0 / (1 + step)) +
               (step == 9 ? evaluation_line(10, "test", 0.5) : "");
  const report::Run run = read(metrics + evaluation_line(kSteps, "test", 0.75));

  EXPECT_EQ(run.steps(), kSteps);
  const Series& loss = run.series.at("loss");
  EXPECT_LE(loss.size(), 2 * ThinnedSeries::kStretches + 1);
  EXPECT_EQ(loss.back(), (std::pair{kSteps - 1.0, 1.0 / kSteps}));
  EXPECT_TRUE(std::find(loss.begin(), loss.end(), std::pair{12345.0, 99.0}) != loss.end());
  EXPECT_NEAR(*run.images_per_second(), 800 + kSteps / 2, 5) << "the median";
  ASSERT_EQ(run.evaluations.size(), 2U);
  EXPECT_TRUE(run.evaluations.front().contexts.empty()) << "contexts are shown of the last one alone";
  EXPECT_EQ(run.evaluations.front().scores.size(), kFirstScores);
  EXPECT_EQ(run.last(classified("test"))->contexts.front().groups.size(), 2U);
}

TEST_F(ReadRun, ARunThatWentOnAfterItsEndHasNotEnded) {
  EXPECT_FALSE(read(step_line(0, 0.7) + end_line() + step_line(1, 0.6)).end);
}

TEST_F(ReadRun, NullIsNoNumber) {
  const report::Run run = read(R"({"kind":"step","step":0,"loss":null,"lr":0.1})"
                               "\n");

  EXPECT_FALSE(run.series.contains("loss"));
  EXPECT_EQ(run.series.at("lr").size(), 1U);
}

TEST_F(ReadRun, LinesOfOtherKindsAreLeftOut) {
  EXPECT_TRUE(read("{\"kind\":\"note\"}\n").series.empty());
}

TEST_F(ReadRun, EveryHalfWrittenLastLineIsLeftOut) {
  const std::string last = step_line(1, 0.6);
  for (std::size_t size = 1; size + 2 < last.size(); ++size) {
    EXPECT_EQ(read(step_line(0, 0.7) + last.substr(0, size)).steps(), 1) << size;
  }
  EXPECT_EQ(read(step_line(0, 0.7) + last.substr(0, last.size() - 1)).steps(), 2)
      << "only the end of the line is missing";
}

TEST_F(ReadRun, RefusesDamageElsewhere) {
  expect_refused(step_line(0, 0.7) + "{\"kind\":\"st\n" + step_line(1, 0.6),
                 "the metrics are damaged: the line is not JSON", 2);
  expect_refused(step_line(0, 0.7) + "\n" + step_line(1, 0.6),
                 "the metrics are damaged: the line is not JSON", 2);
  expect_refused("{\"kind\":\"st\n", "the metrics are damaged: the line is not JSON", 1);
  expect_refused("[1]\n", "the metrics are damaged: 'kind' is missing", 1);
  expect_refused("{\"kind\":1}\n", "the metrics are damaged: 'kind' is not text", 1);
  expect_refused("{\"kind\":\"step\",\"step\":\"a\"}\n", "the metrics are damaged: 'step' is not an integer",
                 1);
  expect_refused("{\"kind\":\"evaluation\",\"step\":1,\"split\":\"a\",\"images\":2}\n",
                 "the metrics are damaged: 'accuracy' is missing", 1);
  expect_refused("{\"kind\":\"end\",\"seconds\":\"long\"}\n",
                 "the metrics are damaged: 'seconds' is not a number", 1);
}

TEST_F(ReadRun, RefusesAFolderThatIsNoRun) {
  folder.write("other/config.yaml", "seed: 1\n");
  for (const auto& [name, missing] :
       {std::pair{"none", "config.yaml"}, std::pair{"other", "metrics.jsonl"}}) {
    try {
      read_run(folder.path() / name);
      ADD_FAILURE();
    } catch (const DataError& error) {
      EXPECT_EQ(error.text().what, fmt::format("not the folder of a run: {} is missing", missing));
      EXPECT_EQ(error.text().where, (folder.path() / name).string());
      EXPECT_EQ(error.text().fix, "give a folder that 'cohort train' wrote, runs/<name>");
    }
  }
}

TEST_F(ReadRun, RefusesADamagedConfiguration) {
  try {
    read_run(write_run(folder, "run", "", "a: [1\n"));
    ADD_FAILURE();
  } catch (const DataError& error) {
    EXPECT_TRUE(error.text().where.ends_with("config.yaml:2")) << error.text().where;
  }
}

TEST_F(ReadRun, FlattensTheConfiguration) {
  const report::Run run =
      read_run(write_run(folder, "run", "", "seed: 1\ncontext:\n  keys: [a, b]\n  deep: {x: 2}\n"));

  EXPECT_EQ(run.config, (std::map<std::string, std::string>{
                            {"seed", "1"}, {"context.keys", "[a, b]"}, {"context.deep.x", "2"}}));
}

TEST_F(ReadRun, FoldersOfOneNameAreToldApart) {
  const std::vector<std::filesystem::path> folders{
      write_run(folder, "a/run", ""), write_run(folder, "b/run", ""), write_run(folder, "vit", "") / ""};

  const std::vector<report::Run> runs = read_runs(folders);

  EXPECT_EQ(runs[0].name, folders[0].string());
  EXPECT_EQ(runs[1].name, folders[1].string());
  EXPECT_EQ(runs[2].name, "vit");
}

TEST(RunFiles, JudgementsOfFeaturesStandBesideTheEvaluationsOfTheHead) {
  const TemporaryFolder folder;
  const auto judged = [](int step, double accuracy, const std::string& classifier) {
    std::string line = evaluation_line(step, "test", accuracy);
    return line.insert(1, fmt::format(R"("classifier":"{}",)", classifier));
  };
  const auto run = write_run(folder, "run",
                             step_line(1, 0.5) + judged(1, 0.5, "knn k=5") + step_line(2, 0.4) +
                                 evaluation_line(2, "test", 0.7) + judged(2, 0.6, "knn k=5"));
  folder.write("run/knn.jsonl", judged(1, 0.55, "knn k=5") + judged(2, 0.65, "knn k=20"));
  folder.write("run/linear_probe.jsonl", judged(2, 0.8, "linear probe"));

  const report::Run read = read_run(run);

  const auto splits = splits_of(std::span(&read, 1));
  EXPECT_EQ(splits, (std::vector<Split>{classified("test, knn k=5"), classified("test"),
                                        classified("test, knn k=20"), classified("test, linear probe")}));
  EXPECT_EQ(read.last(classified("test, knn k=5"))->find("accuracy")->value, 0.6)
      << "an older judgement does not replace a newer one";
  EXPECT_EQ(read.evaluations.front().find("accuracy")->value, 0.55) << "one of the same step does";
  EXPECT_EQ(read.last(classified("test"))->find("accuracy")->value, 0.7);
  EXPECT_EQ(read.last(classified("test, linear probe"))->find("accuracy")->value, 0.8);
}

TEST(RunFiles, ConfusionsAndIntervalsAreReadAndDamageIsNamed) {
  const TemporaryFolder folder;
  const auto with = [](const std::string& extra) {
    std::string line = evaluation_line(1, "test", 0.7);
    return line.insert(1, extra + ",");
  };
  const std::string good =
      R"("confusion":[[3,1],[2,4]],"accuracy_interval":[0.6,0.8],"auc_interval":[0.5,0.9])";

  const report::Run run = read_run(write_run(folder, "good", with(good)));

  EXPECT_EQ(run.evaluations.front().confusion, (std::vector<std::vector<double>>{{3, 1}, {2, 4}}));
  EXPECT_EQ(run.evaluations.front().find("accuracy")->range->high, 0.8);
  EXPECT_EQ(run.evaluations.front().find("auc")->range->low, 0.5);
  EXPECT_FALSE(run.evaluations.front().find("loss")->higher_is_better);
  for (const char* bad : {R"("confusion":[[3,1]])", R"("confusion":[[3,1],[2]])", R"("confusion":[3,1])",
                          R"("accuracy_interval":[0.6])", R"("confusion":[["a",1],[2,3]])"})
    EXPECT_THROW(read_run(write_run(folder, "bad", with(bad))), DataError) << bad;
}

const std::string kDetections =
    R"({"kind":"evaluation","step":2,"epoch":1,"task":"detection","split":"test","label":"findings","images":9,)"
    R"("context_key":"site","scores":[{"name":"map","value":0.5,"low":0.4,"high":0.6,"better":"higher"},)"
    R"({"name":"distance","value":null,"better":"lower","unit":"pixels"}],)"
    R"("contexts_by":[{"key":"site","contexts":[)"
    R"({"name":"a","samples":4,"scores":[{"name":"map","value":0.75,"better":"higher"}]},)"
    R"({"name":"b","samples":4,"scores":[{"name":"map","value":0.25,"low":0.125,"high":0.5,"better":"higher"}]},)"
    R"({"name":"c","samples":1,"scores":[{"name":"map","value":null,"better":"higher"}]}]},)"
    R"({"key":"year","contexts":[{"name":"1","samples":9,"scores":[{"name":"map","value":0.5,"better":"higher"}]}]}],)"
    R"("class_scores":[{"name":"mass","samples":3,"scores":[{"name":"ap","value":0.5,"better":"higher"}]}],)"
    R"("curves":[{"kind":"froc","of":"","x":"false positives per image","y":"sensitivity","points":[[0.5,0.25],[4,1]]}],)"
    R"("cases":[{"row":7,"score":0.998,"what":"no <mass>, said to be one"}]})"
    "\n";

TEST_F(ReadRun, AnEvaluationOfAnyTaskIsReadWhole) {
  const report::Run run = read(evaluation_line(1, "test", 0.75) + kDetections);

  const Evaluation* found = run.last({"detection", "test"});
  ASSERT_NE(found, nullptr);
  EXPECT_NE(run.last(classified("test")), nullptr) << "of another task";
  EXPECT_EQ(found->find("map")->range->high, 0.6);
  EXPECT_TRUE(std::isnan(found->find("distance")->value));
  EXPECT_FALSE(found->find("distance")->higher_is_better);
  EXPECT_EQ(found->find("distance")->unit, "pixels");
  EXPECT_EQ(found->find("accuracy"), nullptr);
  ASSERT_EQ(found->contexts.size(), 2U);
  ASSERT_EQ(found->contexts[0].groups.size(), 2U) << "one without a score is left out";
  EXPECT_EQ(found->worst()->name, "b");
  EXPECT_EQ(found->worst()->scores.front().range->low, 0.125);
  EXPECT_EQ(found->classes.front().scores.front().name, "ap");
  EXPECT_EQ(found->curves.front().points, (Series{{0.5, 0.25}, {4, 1}}));
  EXPECT_EQ(found->cases.front().row, 7);
}

TEST_F(ReadRun, OfScoresToldLowTheWorstContextIsTheHighest) {
  std::string lower = kDetections;
  for (std::size_t at = 0; (at = lower.find("higher", at)) != std::string::npos;)
    lower.replace(at, 6, "lower");

  EXPECT_EQ(read(lower).last({"detection", "test"})->worst()->name, "a");
}

TEST_F(ReadRun, DamagedScorecardsAreNamed) {
  const auto with = [](const std::string& what, const std::string& instead) {
    std::string line = kDetections;
    return line.replace(line.find(what), what.size(), instead);
  };
  for (const auto& [line, what] :
       {std::pair{with("[4,1]", "[4]"), "'points' is not 2 numbers"},
        std::pair{with(R"("name":"map",)", ""), "'name' is missing"},
        std::pair{with(R"("value":0.5)", R"("value":"0.5")"), "'value' is not a number"},
        std::pair{with(R"("row":7)", R"("row":7.5)"), "'row' is not an integer"},
        std::pair{with(R"("samples":4)", R"("samples":"4")"), "'samples' is not an integer"}})
    expect_refused(line, std::string("the metrics are damaged: ") + what, 1);
}

TEST(Run, KnowsWhereTheTimeOfTheRanksWent) {
  const testing::TemporaryFolder folder;
  const std::string columns =
      R"("busy":[0.1,0.2],"waiting":[0.1,0],"data":[0,0.1],"forward":[0.1,0.1],"backward":[0,0],"optimizer":[0,0],"other":[0,0]})";
  const auto path = write_run(
      folder, "r",
      step_line(100, 0.5) + R"({"kind":"ranks","step":100,"steps":99,"hosts":["n1","n2"],)" + columns + "\n");

  const auto run = read_run(path);

  ASSERT_TRUE(run.rank_times);
  EXPECT_EQ(run.rank_times->steps, 99);
  EXPECT_EQ(run.rank_times->hosts, (std::vector<std::string>{"n1", "n2"}));
  EXPECT_EQ(run.rank_times->columns.front().second, (std::vector{0.1, 0.2}));
  EXPECT_EQ(run.rank_times->columns.at(1).first, "data");
  EXPECT_EQ(run.rank_times->columns.size(), 7U);

  const std::string newer = R"("copy":[0.1,0.2],"ema":[0,0.1],)" + columns;
  const auto with_more = write_run(
      folder, "more",
      step_line(100, 0.5) + R"({"kind":"ranks","step":100,"steps":99,"hosts":["n1","n2"],)" + newer + "\n");
  const auto more = read_run(with_more).rank_times->columns;
  ASSERT_EQ(more.size(), 9U);
  EXPECT_EQ(more.at(2).first, "copy");
  EXPECT_EQ(more.at(6).first, "ema");
}

// Each line doubles what the one before stands for.
TEST_F(ReadRun, AliasesOfAliasesEnd) {
  std::string lists = "l0: &l0 [a, b]\n", maps = "m0: &m0 {a: 1, b: 2}\n";
  for (int i = 1; i < 40; ++i) {
    lists += fmt::format("l{0}: &l{0} [*l{1}, *l{1}]\n", i, i - 1);
    maps += fmt::format("m{0}: &m{0} {{a: *m{1}, b: *m{1}}}\n", i, i - 1);
  }

  EXPECT_EQ(read_run(write_run(folder, "lists", "", lists)).config.at("l39"), "[]");
  EXPECT_THROW(read_run(write_run(folder, "maps", "", maps)), DataError);
}

}  // namespace
}  // namespace cohort::report

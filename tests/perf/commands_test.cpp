// The commands of cohort-perf as users start them, small: what they print, and that their checks can fail.
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/core/file.h"

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

using Json = nlohmann::json;
using test::Outcome;

const std::string kConfig = std::string(COHORT_TEST_DATA) + "/../configs/tests/nuclei.yaml";

/// Lines of JSON of one kind and benchmark.
std::vector<Json> lines_of(const Outcome& outcome, const std::string& kind, const std::string& benchmark) {
  std::vector<Json> found;
  std::istringstream lines(outcome.output);
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_object() && json.at("kind") == kind && json.at("benchmark") == benchmark)
      found.push_back(json);
  }
  return found;
}

class PerfCommand : public ::testing::Test {
 protected:
  Outcome run(int ranks, const std::string& arguments) {
    const std::string command = fmt::format("{} {}", COHORT_PERF_PROGRAM, arguments);
    return ranks == 0 ? test::spawn(command, 180) : test::spawn_ranks(COHORT_MPIEXEC, ranks, command, 180);
  }
  testing::TemporaryFolder folder_;
};

TEST_F(PerfCommand, FeaturesComeBackAsTheyWereWritten) {
  const Outcome outcome = run(3, fmt::format("features --images 1000 --width 24 --rounds 2 --json --dir {}",
                                             folder_.path().string()));

  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const auto rows = lines_of(outcome, "row", "features");
  ASSERT_EQ(rows.size(), 1U) << outcome.output;
  EXPECT_EQ(rows[0].at("images"), 1000);
  EXPECT_EQ(rows[0].at("wrong"), 0);
  EXPECT_GT(rows[0].at("all_ranks_MB_s").get<double>(), 0);
}

TEST_F(PerfCommand, CollectivesAreRightInAllTypesAndPlaces) {
  const auto page = folder_.path() / "page.html";
  const Outcome outcome =
      run(3, fmt::format("collectives --dtype f32 bf16 f64 --place both --min 3K --max 600K "
                         "--factor 200 --seconds 1e-3 --json --html {}",
                         page.string()));

  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const auto headers = lines_of(outcome, "header", "collectives"),
             rows = lines_of(outcome, "row", "collectives");
  ASSERT_EQ(headers.size(), 1U) << outcome.output;
  for (const char* fact :
       {"host", "processor", "commit", "version", "mpi", "libtorch", "compiler", "date", "load"})
    EXPECT_TRUE(headers[0].contains(fact)) << fact;
  EXPECT_EQ(headers[0].at("ranks"), 3);
  EXPECT_EQ(headers[0].at("measured"), "time_p50_us");
  ASSERT_EQ(rows.size(), 2U * 3 * 7);  // sizes, types, operations with a place
  for (const Json& row : rows) {
    EXPECT_EQ(row.at("wrong"), 0) << row;
    EXPECT_GE(row.at("samples").size(), 5U) << row;
    EXPECT_EQ(row.at("mpi_p50_us").is_null(), row.at("type") == "bf16" && row.at("redop") == "sum") << row;
    const double factor = row.at("op") == "all_reduce" ? 4.0 / 3 : row.at("op") == "broadcast" ? 1 : 2.0 / 3;
    EXPECT_NEAR(row.at("busbw_GB_s").get<double>() / row.at("algbw_GB_s").get<double>(), factor, 1e-5) << row;
  }
  Outcome html;
  html.output = read_file(page);
  EXPECT_EQ(html.occurrences("<tr><td>all_reduce</td>"), 12);
  EXPECT_TRUE(html.says("<svg class=\"chart\"")) << html.output;
  EXPECT_TRUE(html.says("#wrong")) << html.output;
}

TEST_F(PerfCommand, StepTellsWhereTheTimeGoes) {
  const Outcome outcome = run(2, fmt::format("step {} --synthetic 32x32x2 --steps 4 --peak 1 --dir {} --json",
                                             kConfig, folder_.path().string()));

  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  std::string stages;
  double sum = 0, whole = 0, most = 0;
  for (const Json& row : lines_of(outcome, "row", "step")) {
    const std::string stage = row.at("stage");
    stages += stage + ",";
    if (stage == "whole step") whole = row.at("time_p50_ms"), most = row.at("memory_MiB");
    if (stage != "whole step" && stage != "checkpoint") sum += row.at("time_p50_ms").get<double>();
    const bool is_never_free = stage == "forward" || stage == "backward" || stage == "checkpoint";
    EXPECT_GE(row.at("time_p50_ms"), is_never_free ? 1e-6 : 0) << row;
  }
  EXPECT_EQ(stages,
            "data,copy,forward,backward,exposed communication,optimizer,ema,other,checkpoint,whole step,");
  EXPECT_GT(sum, 0.3 * whole);  // medians of the parts, not the median's parts
  EXPECT_GT(most, 0.1);
  const auto summary = lines_of(outcome, "row", "step summary");
  ASSERT_EQ(summary.size(), 1U);
  EXPECT_EQ(summary[0].at("images_a_step"), 48);
  EXPECT_DOUBLE_EQ(summary[0].at("peak_TFLOP_s"), 2);  // of both ranks
  EXPECT_EQ(summary[0].at("samples").size(), 4U);
  // 2 patches squared of 16 x 16 x 2 values, width 48, 2 blocks: some 10^6 FLOP an image and pass.
  EXPECT_GT(summary[0].at("model_GFLOP_image"), 1e-3);
  EXPECT_LT(summary[0].at("model_GFLOP_image"), 1e-1);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(PerfCommand, StepCountsTheFlopOfEveryMethod) {
  const Outcome outcome =
      run(1, fmt::format("step {} --synthetic 32x32x2 --steps 1 --warmup 1 --peak 1 --dir {} "
                         "--json method=simclr simclr.hidden=8 simclr.outputs=8",
                         kConfig, folder_.path().string()));

  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const auto summary = lines_of(outcome, "row", "step summary");
  ASSERT_EQ(summary.size(), 1U);
  EXPECT_EQ(summary[0].at("images_a_step"), 48);
  // Two views of what a step above has one of, and a small head.
  EXPECT_GT(summary[0].at("model_GFLOP_image"), 2e-3);
  EXPECT_LT(summary[0].at("model_GFLOP_image"), 2e-1);
  EXPECT_GT(summary[0].at("MFU"), 0.0);
}

TEST_F(PerfCommand, ScalingStartsTheRanksItself) {
  const std::string common = fmt::format(
      "scaling {} --synthetic 32x32x1 --steps 2 --repeats 2 --peak 1 --dir {} --launcher {} --json", kConfig,
      folder_.path().string(), COHORT_MPIEXEC);
  const Outcome weak = run(0, common + " --ranks 2,1 --mode weak");

  ASSERT_EQ(weak.exit_code, 0) << weak.output;
  const auto rows = lines_of(weak, "row", "scaling");
  ASSERT_EQ(rows.size(), 2U) << weak.output;
  EXPECT_EQ(rows[0].at("ranks"), 1);
  EXPECT_EQ(rows[0].at("images_a_step"), 48);
  EXPECT_EQ(rows[1].at("images_a_step"), 96);
  EXPECT_EQ(rows[1].at("samples").size(), 2U);
  EXPECT_LE(rows[1].at("at_least"), rows[1].at("efficiency"));
  EXPECT_EQ(lines_of(weak, "row", "scaling fit").size(), 3U);

  const Outcome uneven = run(0, common + " --ranks 5");
  EXPECT_EQ(uneven.exit_code, 2);
  EXPECT_TRUE(uneven.says("5 ranks cannot share 12 groups evenly")) << uneven.output;
  const Outcome bad = run(0, common + " --ranks 1 model.heads=7");
  EXPECT_EQ(bad.exit_code, 5);
  EXPECT_TRUE(bad.says("the run on 1 ranks ended with code 2")) << bad.output;
}

TEST_F(PerfCommand, TheContextExchangeSendsWhatTheFormulaSays) {
  const Outcome outcome =
      run(3, "context --images 2 --patches 4 --width 8 --keys 2 --values 3 --seconds 1e-3 --json");

  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const auto rows = lines_of(outcome, "row", "context");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].at("sent_B"), 0);
  EXPECT_EQ(rows[0].at("collectives"), 0);
  EXPECT_EQ(rows[1].at("sent_B"), 2 * 4 * 2 * 3 * (8 + 1));
  EXPECT_GE(rows[2].at("sent_B"), (1 + 3) * 4 * 2 * 4 * 8);
  for (const Json& row : rows) EXPECT_EQ(row.at("wrong"), 0) << row;
}

TEST_F(PerfCommand, TheGateFailsWhenARatioIsWorse) {
  const std::string small =
      fmt::format(" --dir {} --seconds 0.02 --attempts 2 --json", folder_.path().string());
  const std::string none = folder_.write("none.json", "{}").string(),
                    all = (folder_.path() / "all.json").string();

  const Outcome first = run(2, "gate " + none + small);
  ASSERT_EQ(first.exit_code, 0) << first.output;
  const auto ratios = lines_of(first, "row", "gate");
  ASSERT_EQ(ratios.size(), 6U);
  for (const Json& row : ratios) EXPECT_EQ(row.at("verdict"), "no baseline") << row;

  std::string runs;  // one of the ratios was a thousand times as good, the others far worse
  for (int i = 0; i < 5; ++i) {
    for (Json row : ratios) {
      const double factor = row.at("ratio_of") == "fp32 step over LibTorch's products" ? 1e3 : 1e-3;
      row["ratio"] = row.at("ratio").get<double>() * factor * (1 + 0.01 * i);
      runs += row.dump() + "\n";
    }
  }
  ASSERT_EQ(run(0, fmt::format("baseline {} {}", folder_.write("runs", runs).string(), all)).exit_code, 0);
  const Outcome worse = run(2, "gate " + all + small);
  EXPECT_EQ(worse.exit_code, 1) << worse.output;
  for (const Json& row : lines_of(worse, "row", "gate")) {
    const bool is_worse = row.at("ratio_of") == "fp32 step over LibTorch's products";
    EXPECT_EQ(row.at("verdict"), is_worse ? "WORSE" : "passed") << row;
    EXPECT_EQ(row.at("attempts"), is_worse ? 2 : 1) << row;
  }

  EXPECT_EQ(
      run(0, fmt::format("baseline {} {}", folder_.write("few", ratios[0].dump()).string(), all)).exit_code,
      2);
  EXPECT_EQ(run(1, "gate " + folder_.write("bad.json", "[]").string() + small).exit_code, 3);
}

/// Runs of a benchmark with one case, whose medians are `times`.
std::string runs(const std::vector<double>& times) {
  std::string text;
  for (const double time : times) {
    text +=
        R"({"kind":"header","benchmark":"b","ranks":2,"host":"n1","keys":["op"],"measured":"time","better":"lower"})"
        "\n";
    text += fmt::format(R"({{"kind":"row","benchmark":"b","op":"x","time":{0},"samples":[{0},{1}]}})", time,
                        time * 1.001) +
            "\n";
  }
  return text;
}

TEST_F(PerfCommand, CompareTellsDifferencesFromNoise) {
  const std::string old = folder_.write("old", runs({10, 11, 10.5, 10.2})).string(),
                    same = folder_.write("same", runs({10.8, 10.1, 10.4, 10.6})).string(),
                    slow = folder_.write("slow", runs({14, 14.5, 13.8, 14.2})).string(),
                    once = folder_.write("once", runs({14})).string();

  const Outcome equal = run(0, fmt::format("compare {} {} --fail-if-slower", old, same));
  EXPECT_EQ(equal.exit_code, 0) << equal.output;
  EXPECT_TRUE(equal.says("no difference")) << equal.output;

  const Outcome worse = run(0, fmt::format("compare {} {} --fail-if-slower", old, slow));
  EXPECT_EQ(worse.exit_code, 1) << worse.output;
  EXPECT_TRUE(worse.says("b x, 2 ranks")) << worse.output;
  EXPECT_TRUE(worse.says(" slower\n")) << worse.output;
  EXPECT_EQ(run(0, fmt::format("compare {} {}", old, slow)).exit_code, 0);
  EXPECT_EQ(run(0, fmt::format("compare {} {} --fail-if-slower --tolerance 0.6", old, slow)).exit_code, 0);

  const Outcome better = run(0, fmt::format("compare {} {} --fail-if-slower", slow, old));
  EXPECT_EQ(better.exit_code, 0) << better.output;
  EXPECT_TRUE(better.says(" faster\n")) << better.output;
  EXPECT_TRUE(run(0, fmt::format("compare {} {}", old, once)).says(" slower?\n"));

  EXPECT_EQ(run(0, fmt::format("compare {} {}", old, folder_.write("bad", "{}\n").string())).exit_code, 3);
  EXPECT_EQ(run(0, fmt::format("compare {} {}", old, folder_.write("none", "").string())).exit_code, 2);
}

}  // namespace
}  // namespace cohort

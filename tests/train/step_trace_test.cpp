// The trace of a run: valid, whole, in order, and without influence on what is trained.
#include "train/step_trace.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/train/trainer.h"

#include "support/ranks.h"
#include "tiny_run.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Span {
  std::string name, kind;
  int rank = 0;
  std::string lane;
  std::int64_t begin = 0, end = 0;  // nanoseconds
};

std::int64_t nanoseconds(const Json& microseconds) {
  return std::llround(microseconds.get<double>() * 1000);
}

class StepTraceTest : public ::testing::Test {
 protected:
  StepTraceTest() { testing::write_tiny_dataset(folder.path() / "tiny", world); }

  RunConfig traced_run(const std::string& name, std::vector<std::int64_t> steps) {
    RunConfig config = tiny_run(folder.path(), name);
    config.sharding.strategy = shard::Strategy::full;
    config.train.max_steps = 5;
    config.train.trace.steps = std::move(steps);
    return config;
  }

  void run(const RunConfig& config) {
    EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
    world.barrier();
  }

  static std::vector<Span> spans_of(const RunConfig& config) {
    std::ifstream file(config.run_dir / "trace.json");
    const Json json = Json::parse(file);
    std::map<std::pair<int, int>, std::string> lanes;
    std::vector<Span> spans;
    for (const Json& event : json.at("traceEvents")) {
      const int rank = event.at("pid"), lane = event.at("tid");
      if (event.at("name") == "thread_name") lanes[{rank, lane}] = event.at("args").at("name");
      if (event.at("ph") != "X") continue;
      const std::int64_t begin = nanoseconds(event.at("ts"));
      spans.push_back({event.at("name"), event.at("cat"), rank, lanes.at({rank, lane}), begin,
                       begin + nanoseconds(event.at("dur"))});
    }
    return spans;
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

std::vector<Span> of_kind(const std::vector<Span>& spans, const std::string& kind, int rank) {
  std::vector<Span> found;
  for (const Span& span : spans) {
    if (span.kind == kind && span.rank == rank) found.push_back(span);
  }
  return found;
}

std::vector<std::string> traced_steps_of(const std::vector<Span>& spans, int rank) {
  std::vector<std::string> names;
  for (const Span& step : of_kind(spans, "step", rank)) names.push_back(step.name);
  return names;
}

bool within(const Span& inner, const Span& outer) {
  return outer.begin <= inner.begin && inner.end <= outer.end;
}

using Steps = std::vector<std::string>;

// Each rank's clock runs an hour behind that of the rank before.
TEST_F(StepTraceTest, FindsHowClocksOfOtherHostsDiffer) {
  using namespace std::chrono_literals;
  const auto shift = world.rank() * 1h;
  const auto now = [] { return std::chrono::steady_clock::now().time_since_epoch(); };

  const ClockOffset same = measure_clock(world, now);
  const ClockOffset other = measure_clock(world, [&] { return now() - shift; });

  EXPECT_EQ(same.offset, 0ns) << "the ranks of a host have one clock";
  EXPECT_LE(std::chrono::abs(other.offset - shift), other.uncertainty);
}

TEST_F(StepTraceTest, HasTheStepsOfTheWindowOnEveryRank) {
  const RunConfig config = traced_run("run", {2, 3});
  run(config);

  const auto spans = spans_of(config);

  for (int rank = 0; rank < world.size(); ++rank) {
    EXPECT_EQ(traced_steps_of(spans, rank), (Steps{"step 2", "step 3"}));
    // Two blocks and the whole passes, in each step.
    EXPECT_EQ(of_kind(spans, "forward", rank).size(), 6U);
    EXPECT_EQ(of_kind(spans, "backward", rank).size(), 6U);
    EXPECT_EQ(of_kind(spans, "optimizer", rank).size(), 6U);
    EXPECT_EQ(of_kind(spans, "communication", rank).empty(), world.size() == 1);
  }
  EXPECT_EQ(traced_steps_of(spans, world.size()), Steps{});
}

TEST_F(StepTraceTest, EveryCollectiveLiesWithinAStep) {
  const RunConfig config = traced_run("run", {2, 3});
  run(config);

  const auto spans = spans_of(config);

  for (int rank = 0; rank < world.size(); ++rank) {
    const auto steps = of_kind(spans, "step", rank);
    for (const Span& span : of_kind(spans, "communication", rank)) {
      EXPECT_TRUE(within(span, steps.at(0)) || within(span, steps.at(1))) << span.lane << ": " << span.name;
    }
  }
}

TEST_F(StepTraceTest, SpansOfALaneNestOrFollowEachOther) {
  RunConfig config = traced_run("run", {1, 5});
  config.checkpoint.every_steps = 2;
  config.train.micro_batches = world.size() == 3 ? 2 : 3;
  config.sharding.activation_checkpointing = true;
  config.optimizer.clip_norm = 1.0;
  run(config);

  std::map<std::pair<int, std::string>, std::vector<Span>> open;  // in the order of the file: by begin
  for (const Span& span : spans_of(config)) {
    auto& outer = open[{span.rank, span.lane}];
    while (!outer.empty() && outer.back().end <= span.begin) outer.pop_back();
    if (outer.empty()) {
      outer.push_back(span);
      continue;
    }
    EXPECT_TRUE(within(span, outer.back())) << span.lane << ": " << span.name << " and " << outer.back().name;
    EXPECT_FALSE(span.lane.starts_with("communication")) << "two collectives at one time: " << span.name;
    outer.push_back(span);
  }
}

TEST_F(StepTraceTest, ChangesNoBitOfTheTraining) {
  const RunConfig traced = traced_run("traced", {1, 5}), plain = traced_run("plain", {});
  run(traced);
  run(plain);

  const auto expected = lines_of(plain.run_dir, "step"), actual = lines_of(traced.run_dir, "step");

  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t step = 0; step < expected.size(); ++step) {
    EXPECT_EQ(actual[step].at("loss"), expected[step].at("loss"));
    EXPECT_EQ(actual[step].at("grad_norm"), expected[step].at("grad_norm"));
  }
  EXPECT_FALSE(fs::exists(plain.run_dir / "trace.json"));
}

TEST_F(StepTraceTest, WritesWhatThereIsWhenTheRunEndsEarlier) {
  const RunConfig config = traced_run("run", {4, 100});
  run(config);

  EXPECT_EQ(traced_steps_of(spans_of(config), 0), (Steps{"step 4", "step 5"}));
}

TEST_F(StepTraceTest, ARunResumedPastTheWindowLeavesTheFileAlone) {
  RunConfig config = traced_run("run", {2, 3});
  run(config);
  const auto before = spans_of(config).size();
  config.train.max_steps = 6;
  run(config);
  EXPECT_EQ(spans_of(config).size(), before);
}

}  // namespace
}  // namespace cohort::train

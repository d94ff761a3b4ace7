// The schedule that cohort-perf plan replays against what ranks of a real run record: every collective of a
// step, by communicator, with its bytes and in its order.
#include <algorithm>
#include <map>
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

using ByCommunicator = std::map<std::string, std::vector<std::string>>;

constexpr const char* kDino =
    "method=dino dino.prototypes=96 dino.hidden=32 dino.bottleneck=16 augment.preset=cell_dino "
    "augment.multi_crop.global_size=32 augment.multi_crop.local_size=16 augment.multi_crop.local_crops=2 ";

/// 0 where ranks may call with different numbers.
std::int64_t bytes_of(const nlohmann::json& event) {
  return event.contains("args") ? event["args"].value("bytes", std::int64_t{0}) : 0;
}

/// Of rank 0 in the only step of a trace.
ByCommunicator recorded(const std::filesystem::path& file) {
  const auto events = nlohmann::json::parse(read_file(file))["traceEvents"];
  std::map<int, std::string> lanes;
  for (const auto& event : events) {
    if (event["ph"] == "M" && event["name"] == "thread_name" && event["pid"] == 0)
      lanes[event["tid"].get<int>()] = event["args"]["name"];
  }
  std::vector<std::tuple<double, std::string, std::string>> collectives;
  for (const auto& event : events) {
    if (event["ph"] != "X" || event["cat"] != "communication" || event["pid"] != 0) continue;
    const std::string lane = lanes.at(event["tid"].get<int>());
    collectives.emplace_back(event["ts"].get<double>(), lane.substr(lane.find(": ") + 2),
                             fmt::format("{} {}", event["name"].get<std::string>(), bytes_of(event)));
  }
  std::sort(collectives.begin(), collectives.end());
  ByCommunicator result;
  for (const auto& [time, communicator, collective] : collectives) result[communicator].push_back(collective);
  return result;
}

ByCommunicator planned(const std::string& lines) {
  ByCommunicator result;
  std::istringstream text(lines);
  for (std::string line; std::getline(text, line);) {
    const std::size_t space = line.find(' ');
    result[line.substr(0, space)].push_back(line.substr(space + 1));
  }
  return result;
}

struct Case {
  int ranks;
  std::string name, options;
};

class PlannedSchedule : public ::testing::TestWithParam<Case> {};

TEST_P(PlannedSchedule, IsThatOfARealRun) {
  testing::TemporaryFolder folder;
  const std::string options =
      fmt::format("{}/configs/tests/nuclei.yaml data.path={}/tests/data/nuclei train.max_steps=2 {}",
                  COHORT_ROOT, COHORT_ROOT, GetParam().options);
  const auto run = test::spawn_ranks(
      COHORT_MPIEXEC, GetParam().ranks,
      fmt::format(
          "{} train {} run_dir={} train.trace.steps=[2,2] checkpoint.every_steps=0 train.tensorboard=false",
          COHORT_PROGRAM, options, (folder.path() / "run").string()),
      60);
  ASSERT_EQ(run.exit_code, 0) << run.output;

  const auto plan = test::spawn(fmt::format("{} plan {} --gpus-per-node {} --schedule", COHORT_PERF_PROGRAM,
                                            options, GetParam().ranks));

  ASSERT_EQ(plan.exit_code, 0) << plan.output;
  EXPECT_EQ(planned(plan.output), recorded(folder.path() / "run" / "trace.json"));
}

INSTANTIATE_TEST_SUITE_P(
    Engine, PlannedSchedule,
    ::testing::Values(
        Case{2, "replicate", "sharding.strategy=replicate"},
        Case{3, "optimizer", "sharding.strategy=optimizer"},
        Case{2, "full_micro_batches", "sharding.strategy=full train.micro_batches=3"},
        Case{2, "every_micro_batch",
             "sharding.strategy=full train.micro_batches=3 train.reduce_every_micro_batch=true"},
        Case{4, "hybrid_layerwise",
             "sharding.strategy=hybrid sharding.shard_size=2 context.amortization=mean_linear_layer "
             "model.registers=2"},
        Case{
            2, "kept_bf16",
            "sharding.strategy=full sharding.reshard_after_forward=false precision=bf16 sharding.gather=bf16 "
            "sharding.reduce=bf16"},
        Case{2, "global_context",
             "sharding.strategy=full context.scope=global context.amortization=mean_linear_layer "
             "model.depth=3 "
             "supervised.class_weights=balanced"},
        Case{2, "global_context_at_the_input",
             std::string(kDino) + "context.scope=global context.amortization=mean"},
        Case{4, "reproducible", "sharding.strategy=hybrid sharding.shard_size=2 reproducible=true"},
        Case{2, "dino_checkpointing",
             std::string(kDino) +
                 "sharding.strategy=full model.depth=3 sharding.activation_checkpointing=true"},
        Case{2, "mae",
             "method=mae mae.decoder_width=16 mae.decoder_depth=2 mae.decoder_heads=2 "
             "sharding.strategy=full"},
        Case{3, "simclr_on_resnet",
             "method=simclr model.name=resnet18 model.resnet.width=4 model.resnet.stem=small context.keys=[] "
             "sampler.group_by=context simclr.hidden=16 simclr.outputs=8 sharding.strategy=optimizer"},
        Case{2, "byol", "method=byol byol.hidden=16 byol.outputs=8 sharding.strategy=full"},
        Case{4, "dino_hybrid", std::string(kDino) + "sharding.strategy=hybrid sharding.shard_size=2"}),
    [](const ::testing::TestParamInfo<Case>& one) { return one.param.name; });

}  // namespace
}  // namespace cohort

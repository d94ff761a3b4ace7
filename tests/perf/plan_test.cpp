// What cohort-perf plan is made of, on cases that can be summed by hand, and its refusals.
#include "plan/plan.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/core/error.h"

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort::perf {
namespace {

using test::Outcome;

Cluster gpus(int nodes, int per_node) {
  const Hardware hardware = read_hardware("");
  return {hardware.processor("h100"), hardware.network("infiniband-ndr400"), nodes, per_node};
}

Cluster cpus(int ranks, int cores) {
  Processor processor{.name = "this", .bf16 = 1e12, .fp32 = 1e12, .memory_bytes = 1e12, .memory = 1e12};
  processor.cores = cores;
  processor.collectives["all_reduce"] = {0, 1e9};
  processor.collectives["reduce_scatter"] = {1e-3, 2e9};
  return {processor, {.name = "none", .bandwidth = 1}, 1, ranks};
}

TEST(CollectiveTime, OfNcclWithinANodeIsTheShortestOfItsProtocols) {
  const Cluster cluster = gpus(1, 8);
  const RankGroup group = row_group(cluster, 8);

  // 1 GB: Simple on a ring: 8.4 us, 7 steps of 3.4 us, 7/8 of the bytes at 0.8 x 450 GB/s.
  EXPECT_NEAR(collective_time("all_gather", 1e9, group, cluster).total(),
              8.4e-6 + 7 * 3.4e-6 + 0.875e9 / 360e9, 1e-9);
  // 8 bytes, all-reduce: LL on a ring: 6.6 us and 2 x 7 steps of 0.6 us.
  EXPECT_NEAR(collective_time("all_reduce", 8, group, cluster).total(), 6.6e-6 + 14 * 0.6e-6, 1e-9);
  EXPECT_EQ(collective_time("all_reduce", 1e9, {1, 1}, cluster).total(), 0);
}

TEST(CollectiveTime, BetweenNodesGoesThroughTheGroupsShareOfAdapters) {
  const Cluster cluster = gpus(4, 8);

  // All ranks: 8 adapters of 50 GB/s are faster than the link of 360 GB/s on its way; 28 steps in nodes, 3
  // between.
  EXPECT_NEAR(collective_time("all_gather", 1e10, world_group(cluster), cluster).transfer,
              1e10 * 31 / 32 / std::min(360e9, 0.8 * 400e9), 1e-6);
  // A column has one rank on each node, and one adapter.
  const RankGroup column = column_group(cluster, 8);
  EXPECT_EQ(column.ranks, 4);
  EXPECT_EQ(column.nodes(), 4);
  EXPECT_NEAR(collective_time("all_reduce", 1e10, column, cluster).transfer, 2e10 * 3 / 4 / 40e9, 1e-6);
}

TEST(CollectiveTime, OfCpusIsAsMeasured) {
  const Cluster cluster = cpus(2, 2);
  EXPECT_DOUBLE_EQ(collective_time("reduce_scatter", 4e9, {2, 2}, cluster).total(), 1e-3 + 1.0);
}

/// An all-reduce of 1 GB on 2 ranks, which takes 1 s at the measured 1 GB/s, beside two computations.
Rehearsal overlapping() {
  Rehearsal step;
  step.collectives.push_back({Lane::world, "all_reduce f32", 1e9, 1e9});
  step.actions = {{.kind = Action::Kind::compute, .pass = Pass::forward},
                  {.kind = Action::Kind::start},
                  {.kind = Action::Kind::compute, .pass = Pass::backward},
                  {.kind = Action::Kind::wait}};
  return step;
}

SimulatedStep run_overlapping(const Cluster& cluster, double forward, double backward) {
  return simulate(overlapping(), cluster, {2, 1},
                  [&](const Action& action) { return action.pass == Pass::forward ? forward : backward; });
}

TEST(Simulation, ACoreIsSharedByComputingAndCommunicating) {
  // Half of the core each: the collective takes 2 s, in which 1 s of computing is done; 2 s more.
  const SimulatedStep step = run_overlapping(cpus(2, 2), 1, 3);

  EXPECT_NEAR(step.seconds, 5, 1e-9);
  EXPECT_NEAR(step.forward, 1, 1e-9);
  EXPECT_NEAR(step.backward, 4, 1e-9);
  EXPECT_NEAR(step.waiting, 0, 1e-9);
  EXPECT_NEAR(step.busy[static_cast<std::size_t>(Lane::world)], 2, 1e-9);
}

TEST(Simulation, RanksThatOutnumberCoresHaveAPartOfOne) {
  EXPECT_NEAR(run_overlapping(cpus(2, 1), 1, 3).seconds, 10, 1e-9);
}

TEST(Simulation, AGpuComputesWhileItCommunicatesAndWaitsForTheRest) {
  const Cluster cluster = gpus(1, 2);
  const double collective = collective_time("all_reduce", 1e9, {2, 2}, cluster).total();

  const SimulatedStep hidden = run_overlapping(cluster, 1, 3), exposed = run_overlapping(cluster, 1, 0.001);

  EXPECT_NEAR(hidden.seconds, 4, 1e-9);
  EXPECT_NEAR(exposed.seconds, 1 + collective, 1e-9);
  EXPECT_NEAR(exposed.waiting, collective - 0.001, 1e-9);
}

TEST(Simulation, CollectivesOfTwoCommunicatorsShareTheLinks) {
  Rehearsal step;
  step.collectives = {{Lane::parameters, "all_gather f32", 1e9, 2e9},
                      {Lane::gradients, "reduce_scatter f32", 2e9, 2e9}};
  step.actions = {{.kind = Action::Kind::start, .collective = 0},
                  {.kind = Action::Kind::start, .collective = 1},
                  {.kind = Action::Kind::wait, .collective = 0},
                  {.kind = Action::Kind::wait, .collective = 1}};
  const Cluster cluster = gpus(1, 2);
  const CollectiveTime one = collective_time("all_gather", 2e9, {2, 2}, cluster);

  const SimulatedStep simulated = simulate(step, cluster, {2, 2}, [](const Action&) { return 0.0; });

  EXPECT_NEAR(simulated.seconds, one.latency + 2 * one.transfer, 1e-9);
}

TEST(OperatorSeconds, AreTheLongestOfFlopsBytesAndLaunches) {
  const Processor processor{.name = "p",
                            .bf16 = 100,
                            .fp32 = 10,
                            .memory_bytes = 1,
                            .memory = 50,
                            .product_part = 0.5,
                            .memory_part = 0.1,
                            .launch = 1,
                            .shortest = 0.5};
  const auto times = [](int count, double flops, double bytes) {
    return std::vector<Operator>(static_cast<std::size_t>(count),
                                 {"", OperatorKind::product, flops, flops, bytes});
  };

  EXPECT_DOUBLE_EQ(operator_seconds(times(1, 500, 1), processor, true), 10);    // 100 x 0.5 FLOP/s
  EXPECT_DOUBLE_EQ(operator_seconds(times(1, 500, 1), processor, false), 100);  // 10 x 0.5
  EXPECT_DOUBLE_EQ(operator_seconds(times(1, 1, 50), processor, true), 10);     // 50 x 0.1 bytes/s
  EXPECT_DOUBLE_EQ(operator_seconds(times(4, 1, 1), processor, true), 4);       // launches, one after another
}

TEST(CheckpointInterval, IsYoungsAndDalys) {
  // 2 minutes to write, a failure every 24 hours: sqrt(2 x 120 x 86400) = 4553.7 s.
  EXPECT_NEAR(young_interval(120, 86400), 4553.7, 0.1);
  // Daly: 4553.7 (1 + sqrt(120/172800)/3 + (120/172800)/9) - 120
  EXPECT_NEAR(daly_interval(120, 86400), 4553.7 * (1 + 0.026352 / 3 + 0.00069444 / 9) - 120, 0.1);
  EXPECT_DOUBLE_EQ(daly_interval(300, 100), 100);
}

TEST(Hardware, FilesAddToTheTableAndComeBackAsTheyWereWritten) {
  Processor processor = cpus(2, 2).processor;
  processor.product_part = 0.5;
  processor.memory_part = 0.25;
  testing::TemporaryFolder folder;

  const Hardware hardware = read_hardware(folder.write("this.yaml", hardware_file(processor)).string());
  const Processor& read = hardware.processor("this");

  EXPECT_EQ(read.cores, 2);
  EXPECT_NEAR(read.fp32, 1e12, 1);
  EXPECT_NEAR(read.memory_part, 0.25, 1e-9);
  EXPECT_NEAR(read.collectives.at("reduce_scatter").bandwidth, 2e9, 1);
  EXPECT_EQ(hardware.processors.count("h100"), 1U);

  processor.collectives.clear();  // measured on one rank
  const Hardware alone = read_hardware(folder.write("alone.yaml", hardware_file(processor)).string());
  EXPECT_TRUE(alone.processor("this").collectives.empty());
}

TEST(Hardware, RefusesWhatItDoesNotUnderstand) {
  testing::TemporaryFolder folder;
  for (const char* text : {"processors: [a]", "networks: {x: {gb_s: fast}}", "networks: {x: {gbs: 1}}",
                           "machines: {}", "networks: {x: {}}", "processors: {x: {cores: 2}}", "a: [", "7"}) {
    EXPECT_THROW((void)read_hardware(folder.write("h.yaml", text).string()), UsageError) << text;
  }
}

TEST(Published, PredictionsAreNearThoseWithoutRecomputation) {
  for (const PublishedComparison& one : compare_published()) {
    const double error = one.predicted / one.published - 1;
    EXPECT_LT(std::abs(error), one.source == "llm-foundry" ? 0.2 : 0.3) << one.what;
  }
}

class PlanCommand : public ::testing::Test {
 protected:
  Outcome run(const std::string& arguments) {
    return test::spawn(
        fmt::format("{} plan {}/configs/base.yaml data.path=/nowhere --image 3,224,224 --images 1281167 {}",
                    COHORT_PERF_PROGRAM, COHORT_ROOT, arguments));
  }
  nlohmann::json json(const std::string& arguments) {
    const Outcome outcome = run(arguments + " --json");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return nlohmann::json::parse(outcome.output);
  }
};

TEST_F(PlanCommand, PlansForTensOfThousandsOfRanksInSeconds) {
  const auto plan = json("--nodes 2048 --gpus-per-node 8 --scale-batch precision=bf16");

  EXPECT_EQ(plan["ranks"], 16384);
  EXPECT_EQ(plan["global_batch"], 16384 * 32);
  EXPECT_TRUE(plan["prediction"]);
  EXPECT_FALSE(plan["facts"]["commit"].empty());
  EXPECT_GT(plan["efficiency_of_one_node"], 0.0);
  EXPECT_LE(plan["efficiency_of_one_node"], 1.0);
}

TEST_F(PlanCommand, NumbersOfARunFollowFromThoseOfAStep) {
  const auto plan = json("--gpu h100 --gpus-per-node 8 train.epochs=2");
  const double step = plan["recommended"]["step_seconds"], steps = 2 * (1281167 / 512);

  EXPECT_DOUBLE_EQ(plan["steps"], steps);
  EXPECT_NEAR(plan["hours"], steps * step / 3600, 1e-9);
  EXPECT_NEAR(plan["device_hours"], 8 * steps * step / 3600, 1e-9);
  EXPECT_NEAR(plan["images_per_second"], 512 / step, 1e-6);
  EXPECT_NEAR(plan["storage_bytes_per_second"], 512 / step * 3 * 224 * 224, 1);
}

TEST_F(PlanCommand, WhatDoesNotFitIsDividedMore) {
  const std::string large =
      "model.name=vit_huge sampler.groups_per_step=8 sampler.images_per_group=256 --gpus-per-node 8 ";
  const auto plan = json(large);

  EXPECT_FALSE(plan["configured"]["fits"]);
  ASSERT_FALSE(plan["recommended"].is_null());
  EXPECT_TRUE(plan["recommended"]["fits"]);
  EXPECT_TRUE(plan["recommended"]["activation_checkpointing"]);
  EXPECT_TRUE(run(large + "sampler.images_per_group=8192 --strategy replicate").says("nothing fits"));
}

TEST_F(PlanCommand, MemoryOfStrategiesByHand) {
  // AdamW in fp32: values, gradients and two moments; the head has 1,000 classes.
  const auto whole =
      json("--gpus-per-node 4 sharding.strategy=replicate")["configured"]["memory_bytes_by_part"];
  const auto full = json("--gpus-per-node 4 sharding.strategy=full")["configured"]["memory_bytes_by_part"];
  constexpr double kParameters = 22050664;  // timm's vit_small_patch16_224

  EXPECT_NEAR(whole["parameters"].get<double>() / (4 * kParameters), 1, 0.002);  // padding
  EXPECT_EQ(whole["gradients"], whole["parameters"]);
  EXPECT_EQ(whole["optimizer state"].get<double>(), 2 * whole["parameters"].get<double>());
  EXPECT_DOUBLE_EQ(full["parameters"].get<double>(), whole["parameters"].get<double>() / 4);
}

TEST_F(PlanCommand, KnowsEveryMethodAndEncoder) {
  for (const std::string options :
       {"method=mae", "method=simclr model.name=resnet50 context.keys=[]", "method=byol",
        "method=barlow_twins", "method=simsiam", "method=dino", "model.name=vit_giant context.keys=[]"}) {
    const auto plan = json("--gpus-per-node 8 --micro-batches 1 --strategy full " + options);
    EXPECT_GT(plan["configured"]["step_seconds"], 0.0) << options;
    EXPECT_GT(plan["model_flops_utilization"], 0.05) << options;
    EXPECT_LT(plan["model_flops_utilization"], 0.7) << options;
  }
}

TEST_F(PlanCommand, RefusesWithOneMessage) {
  const auto refuses = [&](const std::string& arguments, const std::string& what) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_TRUE(outcome.says(what)) << outcome.output;
  };
  refuses("--gpu h10", "unknown processor 'h10'");
  refuses("--gpu h10", "did you mean");
  refuses("--network infiniband-ndr40", "unknown network");
  refuses("--nodes 3 --gpus-per-node 8", "24 ranks cannot share the 16 groups of a step equally");
  refuses("--strategy ful", "unknown strategy 'ful'");
  refuses("--gpus-per-node 4 --micro-batches 3", "3 micro-batches cannot share the 4 groups of a rank");
  refuses("optimiser.lr=1", "unknown key 'optimiser.lr'");

  const Outcome nothing = test::spawn(
      fmt::format("{} plan {}/configs/base.yaml data.path=/nowhere", COHORT_PERF_PROGRAM, COHORT_ROOT));
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_TRUE(nothing.says("there is no dataset at '/nowhere' to plan for")) << nothing.output;
  EXPECT_TRUE(nothing.says("--image 3,224,224"));
}

TEST_F(PlanCommand, NeedsNoPathOfADatasetUnderAStandIn) {
  const std::string program = fmt::format("{} plan {}/configs/base.yaml --image 3,224,224 --images 1281167",
                                          COHORT_PERF_PROGRAM, COHORT_ROOT);

  const Outcome without = test::spawn(program + " --json"), with = run("--json");

  ASSERT_EQ(without.exit_code, 0) << without.output;
  EXPECT_EQ(nlohmann::json::parse(without.output)["recommended"],
            nlohmann::json::parse(with.output)["recommended"]);
}

TEST_F(PlanCommand, PlansForTheCpusThatWereCalibrated) {
  testing::TemporaryFolder folder;
  const std::string file = (folder.path() / "this.yaml").string();
  const Outcome calibrated =
      test::spawn(fmt::format("{} calibrate --seconds 0.01 --out {}", COHORT_PERF_PROGRAM, file));
  ASSERT_EQ(calibrated.exit_code, 0) << calibrated.output;
  const std::string machine = fmt::format("--hardware {} --gpu this sampler.groups_per_step=4 ", file);

  const auto plan = json(machine + "--gpus-per-node 1");
  const Outcome ranks = run(machine + "--gpus-per-node 2");

  EXPECT_GT(plan["recommended"]["step_seconds"], 0.0);
  EXPECT_EQ(ranks.exit_code, 2);
  EXPECT_TRUE(ranks.says("of 'this' no collectives were measured")) << ranks.output;
}

TEST_F(PlanCommand, ListsOperatorsWithTheirSums) {
  const Outcome outcome = run("--kernels precision=bf16 --gpus-per-node 8");

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(outcome.says("addmm")) << outcome.output;
  EXPECT_TRUE(outcome.says("A prediction")) << outcome.output;
}

}  // namespace
}  // namespace cohort::perf

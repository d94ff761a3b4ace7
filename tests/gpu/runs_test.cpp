// Whole runs on the device: the losses of the CPU, and checkpoints that go from one to the other.
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/train/trainer.h"

#include "support/ranks.h"
#include "support/temporary_folder.h"
#include "train/tiny_run.h"

namespace cohort::train {
namespace {

const std::filesystem::path kTests = COHORT_TEST_DATA;

class GpuRun : public ::testing::Test {
 protected:
  RunConfig configuration(const std::string& name, Device device) const {
    RunConfig config =
        load_run_config(kTests / ".." / "configs" / "tests" / "nuclei.yaml",
                        std::vector<std::string>{"data.path=" + (kTests / "data" / "nuclei").string()});
    config.run_dir = folder.path() / name;
    config.device = device;
    config.train.max_steps = 20;
    config.checkpoint.every_steps = 10;
    return config;
  }

  std::vector<double> losses_of(const RunConfig& config) {
    EXPECT_EQ(Trainer(config, world).run(), ExitCode::done);
    std::vector<double> losses;
    for (const auto& line : lines_of(config.run_dir, "step")) losses.push_back(line.at("loss"));
    return losses;
  }

  static void expect_close(const std::vector<double>& actual, const std::vector<double>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i)
      EXPECT_NEAR(actual[i], expected[i], 1e-3 * std::abs(expected[i])) << "step " << i + 1;
  }

  comm::Communicator world = test::world();
  testing::TemporaryFolder folder;
};

TEST_F(GpuRun, HasTheLossesOfTheCpuInBothContextScopes) {
  for (const nn::Scope scope : {nn::Scope::group, nn::Scope::global}) {
    const std::string name(config::enum_name(scope));
    RunConfig on_cpu = configuration(name + "_cpu", Device::cpu),
              on_gpu = configuration(name + "_gpu", Device::cuda);
    on_cpu.context.scope = on_gpu.context.scope = scope;
    expect_close(losses_of(on_gpu), losses_of(on_cpu));
  }
}

TEST_F(GpuRun, MakesViewsOnTheDeviceWithoutChangingTheLosses) {
  RunConfig threads = configuration("threads", Device::cuda), device = configuration("device", Device::cuda);
  for (RunConfig* config : {&threads, &device}) {
    config->augment.whole.flip_horizontal = true;
    config->augment.whole.crop_scale_min = 0.5;
  }
  device.augment.on_device = true;
  expect_close(losses_of(device), losses_of(threads));
}

TEST_F(GpuRun, GoesOnFromACheckpointOfTheOtherDevice) {
  const RunConfig whole = configuration("whole", Device::cpu);
  const std::vector<double> losses = losses_of(whole);
  RunConfig rest = configuration("rest", Device::cuda);
  rest.resume = (whole.run_dir / "checkpoints" / "step-00000010").string();
  const std::vector<double> on_gpu = losses_of(rest);
  expect_close(on_gpu, {losses.begin() + 10, losses.end()});

  RunConfig back = configuration("back", Device::cpu);
  back.resume = (rest.run_dir / "checkpoints" / "step-00000020").string();
  back.train.max_steps = 22;
  EXPECT_EQ(losses_of(back).size(), 2U);
}

}  // namespace
}  // namespace cohort::train

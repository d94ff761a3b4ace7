// The best checkpoint of a run and its early end, also when the run was killed on the way.
#include <filesystem>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/export.h"
#include "cohort/checkpoint/safetensors.h"
#include "cohort/train/trainer.h"

#include "same_weights.h"
#include "support/ranks.h"
#include "tiny_run.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;

// The loss of the held-out images falls for some evaluations and rises then.
class BestCheckpoint : public ::testing::Test {
 protected:
  BestCheckpoint() { testing::write_tiny_dataset(folder.path() / "tiny", world); }

  RunConfig run(const std::string& name, std::int64_t patience = 2) {
    RunConfig config = tiny_run(folder.path(), name);
    config.reproducible = true;
    config.optimizer.lr = 2e-2;
    config.train.max_steps = 60;
    config.train.early_stopping.patience = patience;
    config.eval.every_epochs = 1;
    config.checkpoint = {.every_steps = 5, .keep_last = 1, .best_by = "test/loss"};
    return config;
  }
  ExitCode train(const RunConfig& config) {
    const ExitCode code = Trainer(config, world).run();
    world.barrier();
    return code;
  }
  [[nodiscard]] checkpoint::Store store(const RunConfig& config) {
    return {config.run_dir / "checkpoints", world};
  }
  void on_first_rank(const std::function<void()>& action) {
    world.barrier();
    if (world.rank() == 0) action();
    world.barrier();
  }
  /// Everything of the metrics that a decision shows in.
  static std::string course(const RunConfig& config) {
    std::string text;
    for (const char* kind : {"evaluation", "best"}) {
      for (const auto& line : lines_of(config.run_dir, kind)) {
        const auto& score = line.contains("score") ? line.at("score") : line.at("loss");
        text += std::string(kind) + " " + line.at("step").dump() + " " + score.dump() + "\n";
      }
    }
    for (const auto& line : lines_of(config.run_dir, "end"))
      text += "end " + line.at("step").dump() + " " + line.at("reason").get<std::string>() + "\n";
    return text;
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

TEST_F(BestCheckpoint, IsKeptAndTheRunEndsEarly) {
  const RunConfig config = run("run");
  ASSERT_EQ(train(config), ExitCode::done);

  const auto evaluations = lines_of(config.run_dir, "evaluation");
  std::size_t best = 0;
  for (std::size_t i = 1; i < evaluations.size(); ++i) {
    if (evaluations[i].at("loss") < evaluations[best].at("loss")) best = i;
  }
  ASSERT_GT(best, 0U);
  ASSERT_EQ(evaluations.size(), best + 3);  // patience
  const std::int64_t step = evaluations[best].at("step"), last = evaluations.back().at("step");
  ASSERT_LT(last, config.train.max_steps);
  EXPECT_EQ(lines_of(config.run_dir, "best").back().at("step"), step);
  EXPECT_EQ(lines_of(config.run_dir, "best").back().at("by"), "test/loss");
  EXPECT_EQ(lines_of(config.run_dir, "end").at(0).at("step"), last);
  EXPECT_EQ(store(config).best(), step);
  EXPECT_EQ(store(config).steps(), (std::vector<std::int64_t>{last, step}));  // keep_last=1
  const fs::path exported = folder.path() / "best.safetensors";
  on_first_rank([&] {
    const auto location = checkpoint::locate(config.run_dir / "checkpoints" / "best");
    ASSERT_TRUE(location);
    EXPECT_EQ(location->step, step);
    checkpoint::export_safetensors(*location, "/model/", exported);
  });
  expect_same_weights(exported, config.run_dir / "weights_best.safetensors");

  const std::string before = course(config);
  EXPECT_EQ(train(config), ExitCode::done);  // the same command does nothing
  EXPECT_EQ(course(config), before);
  EXPECT_EQ(lines_of(config.run_dir, "start").size(), 1U);
  world.barrier();

  RunConfig longer = config;  // and another one goes on
  longer.train.early_stopping.patience = 3;
  ASSERT_EQ(train(longer), ExitCode::done);
  const RunConfig calm = run("calm", 3);
  ASSERT_EQ(train(calm), ExitCode::done);
  EXPECT_EQ(course(longer), course(calm));
}

std::vector<double> rates_of(const fs::path& run) {
  std::vector<double> rates;
  for (const auto& line : lines_of(run, "step")) rates.push_back(line.at("lr"));
  return rates;
}

// With the checkpoint of each of some steps as the newest, before and behind the evaluations that lower it.
TEST_F(BestCheckpoint, TheLearningRateOfAPlateauIsTheSameWhereverTheRunWasKilled) {
  RunConfig calm = run("calm", 0);
  calm.train.max_steps = 24;
  // Nothing is twice as good as what was, so that the rate falls whatever the run learns.
  calm.schedule.plateau = {.patience = 1, .factor = 0.25, .threshold = 1.0, .min_lr = 1e-3};
  calm.checkpoint.every_steps = 1;
  calm.checkpoint.keep_last = 99;
  ASSERT_EQ(train(calm), ExitCode::done);
  const std::vector<double> rates = rates_of(calm.run_dir);
  ASSERT_EQ(rates.size(), 24U);
  EXPECT_EQ(rates[3], 2e-2);  // behind the warm-up there is no cosine
  EXPECT_EQ(rates.back(), 1e-3);
  const std::set<double> different(rates.begin() + 3, rates.end());
  EXPECT_EQ(different, (std::set<double>{1e-3, 1.25e-3, 5e-3, 2e-2}));
  for (const std::int64_t step : {5, 10, 12, 13, 18, 20}) {
    SCOPED_TRACE(step);
    RunConfig killed = calm;
    killed.run_dir += fmt::format("_{}", step);
    on_first_rank([&] {
      fs::copy(calm.run_dir, killed.run_dir, fs::copy_options::recursive);
      for (std::int64_t later = step + 1; later <= 24; ++later) fs::remove_all(store(killed).path_of(later));
    });
    ASSERT_EQ(train(killed), ExitCode::done);
    EXPECT_EQ(rates_of(killed.run_dir), rates);
    expect_same_weights(calm.run_dir / "weights.safetensors", killed.run_dir / "weights.safetensors");
    world.barrier();
  }
}

// As if the run had been killed with the checkpoint of each of its steps as the newest, before or after
// `best` was written for it.
TEST_F(BestCheckpoint, IsTheSameWhereverTheRunWasKilled) {
  RunConfig calm = run("calm");
  calm.checkpoint.every_steps = 1;
  calm.checkpoint.keep_last = 99;
  ASSERT_EQ(train(calm), ExitCode::done);
  const std::int64_t best = store(calm).best().value_or(0), end = store(calm).latest().value_or(0);
  ASSERT_GT(best, 2);
  for (const std::int64_t step : {best - 1, best, best + 1, end - 1, end}) {
    for (const bool is_named : {true, false}) {
      SCOPED_TRACE(fmt::format("step {}, best {}", step, is_named ? "named" : "not named"));
      RunConfig killed = calm;
      killed.run_dir += fmt::format("_{}_{}", step, is_named);
      on_first_rank([&] {
        fs::copy(calm.run_dir, killed.run_dir, fs::copy_options::recursive);
        for (std::int64_t later = step + 1; later <= end; ++later)
          fs::remove_all(store(killed).path_of(later));
        if (!is_named) fs::remove(killed.run_dir / "checkpoints" / "best");
        if (step == end) fs::resize_file(killed.run_dir / "metrics.jsonl", 0);
      });
      ASSERT_EQ(train(killed), ExitCode::done);
      EXPECT_EQ(store(killed).best(), best);
      EXPECT_EQ(lines_of(killed.run_dir, "end").at(0).at("step"), end);
      if (step < end) {
        EXPECT_EQ(course(killed), course(calm));
      }
      for (const char* weights : {"weights.safetensors", "weights_best.safetensors"})
        expect_same_weights(calm.run_dir / weights, killed.run_dir / weights);
    }
  }
}

/// Whether `best` in the metrics and among the checkpoints is that of the evaluations, in their order.
bool is_right(const RunConfig& config, const checkpoint::Store& store) {
  double least = std::numeric_limits<double>::infinity();
  std::string steps;
  std::int64_t best = 0;
  for (const auto& line : lines_of(config.run_dir, "evaluation")) {
    if (line.at("loss").get<double>() >= least) continue;
    least = line.at("loss");
    best = line.at("step");
    steps += line.at("step").dump() + " ";
  }
  return steps_of(config.run_dir, "best") == steps && store.best() == best;
}

// Its last evaluation, which the checkpoint knows nothing of, is due in the shorter run alone; the best one
// before it is gone.
TEST_F(BestCheckpoint, IsThatOfTheLastEvaluationWhenACompleteRunIsExtended) {
  RunConfig config = run("run");
  config.train.max_steps = 3;
  config.optimizer.lr = 1e-3;  // falls to the end
  ASSERT_EQ(train(config), ExitCode::done);
  ASSERT_EQ(store(config).best(), 3);
  ASSERT_EQ(train(config), ExitCode::done);  // does nothing
  EXPECT_EQ(store(config).best(), 3);
  world.barrier();
  config.train.max_steps = 4;
  config.optimizer.lr = 1e-30;  // the next evaluation is the same
  config.schedule.lr_end = 0.0;
  on_first_rank([&] { fs::remove_all(store(config).path_of(2)); });
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(train(config), ExitCode::done);
  EXPECT_EQ(::testing::internal::GetCapturedStderr().find("not there any more"), std::string::npos);
  EXPECT_EQ(steps_of(config.run_dir, "evaluation"), "2 3 4 ");
  EXPECT_TRUE(is_right(config, store(config)));
}

// What a run that begins from another's checkpoint has is no better than nothing of its own.
TEST_F(BestCheckpoint, IsOfTheRunItself) {
  RunConfig config = run("run");
  config.train.max_steps = 4;
  ASSERT_EQ(train(config), ExitCode::done);
  RunConfig other = config;
  other.run_dir = folder.path() / "other";
  other.resume = (config.run_dir / "checkpoints/step-00000004").string();
  other.train.max_steps = 7;
  other.optimizer.lr = 1.0;  // far worse
  ASSERT_EQ(train(other), ExitCode::done);
  EXPECT_TRUE(is_right(other, store(other)));
}

// Steps that are undone do not undo evaluations, nor what is known of the best.
TEST_F(BestCheckpoint, StaysKnownWhenARunGoesBack) {
  RunConfig config = run("run", 0);
  config.train.max_steps = 20;
  config.checkpoint.every_steps = 0;  // to the best one, which knew nothing of its own evaluation
  // Every gradient is bad, as soon as there are 16 to compare with.
  config.numerics = {.on_trouble = OnTrouble::rollback, .spike = 1e-3, .most_in_a_row = 99};
  ASSERT_EQ(train(config), ExitCode::done);
  ASSERT_FALSE(lines_of(config.run_dir, "trouble").empty());
  EXPECT_TRUE(is_right(config, store(config)));
}

TEST_F(BestCheckpoint, AnUnknownScoreIsRefusedBeforeAnythingIsRemoved) {
  RunConfig config = run("run");
  config.train.max_steps = 2;
  ASSERT_EQ(train(config), ExitCode::done);
  config.checkpoint.best_by = "test/los";
  try {
    const Trainer trainer(config, world, true);
    ADD_FAILURE();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().fix, "did you mean 'test/loss'?");
  }
  EXPECT_TRUE(fs::exists(config.run_dir / "metrics.jsonl"));
  world.barrier();
}

}  // namespace
}  // namespace cohort::train

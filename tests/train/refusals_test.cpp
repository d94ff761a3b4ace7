// Runs that cannot be: one message, the same on every rank, before anything is trained.
#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/train/trainer.h"

#include "support/options.h"
#include "support/ranks.h"
#include "tiny_run.h"

namespace cohort::train {
namespace {

class Refusals : public ::testing::Test {
 protected:
  Refusals() { testing::write_tiny_dataset(folder.path() / "tiny", world); }

  /// The message of the refusal; empty when the run was accepted.
  std::string refusal(ExitCode code, const std::function<void(RunConfig&)>& change, bool overwrite = false) {
    RunConfig config = tiny_run(folder.path(), "run");
    config.train.max_steps = 1;
    change(config);
    try {
      Trainer(config, world, overwrite).run();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), code) << error.what();
      return error.what();
    }
    return "";
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

void expect_has(const std::string& message, const std::string& text) {
  EXPECT_NE(message.find(text), std::string::npos) << "'" << text << "' is not in: " << message;
}

TEST_F(Refusals, OfTheDataset) {
  expect_has(refusal(ExitCode::data, [&](RunConfig& c) { c.data.path = folder.path() / "none"; }), "none");
  expect_has(refusal(ExitCode::usage, [](RunConfig& c) { c.data.train_split = "trian"; }), "train");
  expect_has(refusal(ExitCode::usage, [](RunConfig& c) { c.data.label = "corne"; }), "corner");
  expect_has(refusal(ExitCode::usage, [](RunConfig& c) { c.context.keys = {"sight"}; }), "site");
}

TEST_F(Refusals, OfMeanAndDeviationOfAnotherSplit) {
  const auto train_on_test = [](RunConfig& c) { c.data.train_split = "test"; };
  expect_has(refusal(ExitCode::usage, train_on_test),
             "mean and deviation of the dataset are those of split 'train', not of data.train_split, 'test'");
  const auto with_its_own = [](RunConfig& c) {
    c.data.train_split = "test";
    c.data.normalisation = augment::Normalisation::image;
  };
  expect_has(refusal(ExitCode::data, with_its_own), "fewer than the 12 groups of one step");
}

TEST_F(Refusals, OfContextsAndGroups) {
  expect_has(refusal(ExitCode::data,
                     [](RunConfig& c) {
                       c.data.contexts = {"a", "e"};
                     }),
             "context 'e' has no images in split 'train'");
  expect_has(refusal(ExitCode::usage, [](RunConfig& c) { c.data.contexts = {"zz"}; }), "'zz'");
  expect_has(refusal(ExitCode::data, [](RunConfig& c) { c.sampler.images_per_group = 25; }), "25");
  if (world.size() > 1) {
    expect_has(refusal(ExitCode::usage, [](RunConfig& c) { c.sampler.groups_per_step = 5; }), "5");
  }
}

TEST_F(Refusals, OfViewsThatTheImagesCannotGive) {
  const std::string gray = refusal(ExitCode::usage, [](RunConfig& c) {
    c.method.choose("dino");
    c.augment.preset = "camelyon_dino";
  });
  expect_has(gray, "preset camelyon_dino needs 8-bit RGB images");
  expect_has(
      refusal(ExitCode::usage, [](RunConfig& c) { c.data.normalisation = augment::Normalisation::imagenet; }),
      "ImageNet's statistics are for 8-bit RGB images");
}

TEST_F(Refusals, OfMethodsThatDoNotGoWithTheRest) {
  const auto message = [&](const std::vector<std::string>& options) {
    return refusal(ExitCode::usage, [&](RunConfig& c) { testing::set_options(c, options); });
  };
  expect_has(
      message({"method=mae", "model.name=resnet18", "model.resnet.width=4", "context.keys=[]",
               "model.patch_size=16", "model.width=0", "model.depth=0", "model.heads=0", "model.dropout=0"}),
      "mae removes patches");
  expect_has(message({"method=mae", "mae.mask_ratio=0.99"}), "leaves 0 of an image's 4 patches");
}

TEST_F(Refusals, OfADictionaryThatMeetsNewContexts) {
  const auto dictionary = [](RunConfig& c) { c.context.amortization = nn::Amortization::dictionary; };
  const auto named = [&](RunConfig& c) {
    dictionary(c);
    c.eval.splits = {"test"};
  };

  expect_has(refusal(ExitCode::usage, named), "site 'e'");
  EXPECT_EQ(refusal(ExitCode::usage, dictionary), "");
}

// Before anything is trained.
TEST_F(Refusals, OfASplitWithoutLabelsThatIsToBeScored) {
  data::Description description = testing::tiny_description();
  std::vector<data::Row> rows = testing::tiny_rows();
  for (data::Row& row : rows) {
    if (row.split == 1) row.labels = {-1};
  }
  description.splits.push_back({"empty", {}});
  const auto pixels = [](std::int64_t index, std::span<std::byte> out) {
    std::fill(out.begin(), out.end(), static_cast<std::byte>(index));
  };
  (void)data::write_dataset(folder.path() / "unlabelled", description, rows, pixels, {}, world);
  const auto unlabelled = [&](RunConfig& c) { c.data.path = folder.path() / "unlabelled"; };

  expect_has(refusal(ExitCode::usage, [&](RunConfig& c) { unlabelled(c), c.eval.splits = {"test"}; }),
             "split 'test' has no image with a label 'corner'");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "run"));
  EXPECT_EQ(refusal(ExitCode::usage, [&](RunConfig& c) { unlabelled(c), c.eval.splits = {"empty"}; }), "");
  EXPECT_EQ(refusal(ExitCode::usage, [&](RunConfig& c) { unlabelled(c), c.run_dir /= "default"; }), "");
}

TEST_F(Refusals, OfARunFolderThatCannotBeWritten) {
  if (world.rank() == 0) std::ofstream(folder.path() / "file") << "in the way";
  world.barrier();

  expect_has(refusal(ExitCode::data, [&](RunConfig& c) { c.run_dir = folder.path() / "file" / "run"; }),
             "file");
}

TEST_F(Refusals, OfFilesInTheRunFolderThatAreNoFiles) {
  const auto run = folder.path() / "run", secret = folder.path() / "secret";
  if (world.rank() == 0) {
    std::filesystem::create_directory(run);
    std::filesystem::create_directory(folder.path() / "elsewhere");
    std::ofstream(secret) << "old";
  }
  constexpr std::array kNames{"metrics.jsonl", "log.txt", "checkpoints", "tensorboard"};
  for (const char* name : kNames) {
    SCOPED_TRACE(name);
    const bool is_folder = std::string_view(name).find('.') == std::string_view::npos;
    world.barrier();
    if (world.rank() == 0)
      std::filesystem::create_symlink(is_folder ? folder.path() / "elsewhere" : secret, run / name);
    world.barrier();
    const std::string message = refusal(ExitCode::data, [](RunConfig&) {});
    expect_has(message, is_folder ? "not a regular folder, but a link" : "not a regular file, but a link");
    expect_has(message, name);
    world.barrier();
    if (world.rank() == 0) std::filesystem::remove(run / name);
  }
  for (const char* name : kNames) {
    if (world.rank() != 0) break;
    ASSERT_EQ(::mkfifo((run / name).c_str(), 0600), 0);
  }
  world.barrier();
  expect_has(refusal(ExitCode::data, [](RunConfig&) {}), "but a FIFO");
  EXPECT_EQ(refusal(
                ExitCode::data, [](RunConfig&) {}, true),
            "")
      << "--overwrite removes them";
  if (world.rank() == 0) {
    EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "elsewhere"));
  }
}

TEST_F(Refusals, OfAResumeThatDoesNotFit) {
  ASSERT_EQ(refusal(ExitCode::usage, [](RunConfig&) {}), "");
  const auto longer = [](RunConfig& c) { c.train.max_steps = 2; };
  const std::string seed =
      refusal(ExitCode::usage, [&](RunConfig& c) { longer(c), c.seed = 9, c.model.depth = 3; });
  expect_has(seed, "seed: 1 -> 9");
  expect_has(seed, "model.depth: 2 -> 3");
  const std::string rule =
      refusal(ExitCode::usage, [&](RunConfig& c) { longer(c), c.optimizer.name = "sgd"; });
  expect_has(rule, "does not fit the checkpoint: optimizer.name: adamw -> sgd");
  expect_has(refusal(ExitCode::usage, [](RunConfig& c) { c.resume = "never"; }), "already holds a run");
  expect_has(refusal(ExitCode::usage, [](RunConfig& c) { c.resume = "nowhere", c.run_dir /= "new"; }),
             "nowhere");
  EXPECT_EQ(refusal(ExitCode::usage, [&](RunConfig& c) { longer(c), c.optimizer.lr = 1e-3; }), "");
  EXPECT_EQ(refusal(
                ExitCode::usage, [](RunConfig& c) { c.resume = "never"; }, true),
            "");
}

}  // namespace
}  // namespace cohort::train

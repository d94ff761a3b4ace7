#include "cohort/train/run_config.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/config/recipes.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/method/registry.h"
#include "cohort/nn/encoders.h"

#include "support/options.h"
#include "support/temporary_folder.h"
#include "train/run_folder.h"

namespace cohort::train {
namespace {

using Overrides = std::vector<std::string>;

TEST(RunConfig, TheRunFolderIsNamedAfterTheFile) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("small_run.yaml", "data: {path: data/x}\n");

  EXPECT_EQ(load_run_config(file).run_dir, "runs/small_run");
  EXPECT_EQ(load_run_config(file, Overrides{"run_dir=elsewhere"}).run_dir, "elsewhere");
}

TEST(RunConfig, DumpReadsBackToTheSame) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write(
      "a.yaml", "data: {path: data/x, contexts: [a, \"b, c\"]}\ncontext: {keys: [site]}\nprecision: bf16\n");
  const RunConfig config = load_run_config(file, Overrides{"optimizer.lr=0.00123", "comm.timeout=90s"});

  const RunConfig again = load_run_config(folder.write("b.yaml", dump_run_config(config)));

  EXPECT_EQ(dump_run_config(again), dump_run_config(config));
  EXPECT_EQ(again.data.contexts, (Overrides{"a", "b, c"}));
  EXPECT_EQ(again.precision, Precision::bf16);
  EXPECT_EQ(again.comm.timeout.count(), 90);
}

TEST(RunConfig, ContradictionsAreRefused) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("a.yaml", "data: {path: data/x}\n");

  EXPECT_THROW(load_run_config(file, Overrides{"data.path="}), UsageError);
  EXPECT_THROW(load_run_config(file, Overrides{"schedule.lr_end=1e-2", "optimizer.lr=1e-3"}), UsageError);
  EXPECT_THROW(load_run_config(file, Overrides{"context.keys=site", "sampler.group_by=none"}), UsageError);
  for (const char* steps : {"[5]", "[7,5]", "[1,2,3]", "[0,2]", "[-1,2]"}) {
    EXPECT_THROW(load_run_config(file, Overrides{fmt::format("train.trace.steps={}", steps)}), UsageError)
        << steps;
  }
  EXPECT_NO_THROW(load_run_config(file, Overrides{"train.trace.steps=[5,5]"}));
  EXPECT_THROW(load_run_config(file, Overrides{"train.stop.signals=[TERM,KILL]"}), UsageError);
  EXPECT_THROW(load_run_config(file, Overrides{"eval.neighbours_of=site"}), UsageError);
  EXPECT_NO_THROW(load_run_config(file, Overrides{"eval.neighbours_of=site", "eval.neighbours=[5]"}));
  EXPECT_NO_THROW(load_run_config(file, Overrides{"train.stop.signals=[TERM,USR1,INT,HUP,XCPU]"}));
  EXPECT_NO_THROW(
      load_run_config(file, Overrides{"context.keys=site", "sampler.group_by=none", "context.scope=global"}));
  EXPECT_NO_THROW(load_run_config(
      file, Overrides{"context.keys=site", "sampler.group_by=none", "context.amortization=dictionary"}));
}

TEST(RunConfig, GroupsFollowTheFirstContextKey) {
  RunConfig config;
  EXPECT_EQ(training_group_key(config), "");
  config.context.keys = {"site", "plate"};
  EXPECT_EQ(training_group_key(config), "site");
  config.sampler.group_by = "plate";
  EXPECT_EQ(training_group_key(config), "plate");
  config.sampler.group_by = "none";
  EXPECT_EQ(training_group_key(config), "");
}

TEST(RunConfig, DifferencesTellWhatAResumeMayChange) {
  RunConfig before, now;
  now.seed = 2;
  now.model.depth = 3;
  now.optimizer.lr = 0.25;
  now.run_dir = "elsewhere";
  now.model.weights = "w.safetensors";

  const Differences found = differences(before, now);

  EXPECT_EQ(found.forbidden, (Overrides{"seed: 1 -> 2", "model.depth: 0 -> 3"}));
  EXPECT_EQ(found.allowed, Overrides{"optimizer.lr: 0.0005 -> 0.25"});
}

TEST(RunConfig, DifferencesInOptionsOfTheChosenMethodCountAsItSays) {
  const auto found = [](const std::string& method) {
    RunConfig before;
    testing::set_options(before, {"method=" + method});
    RunConfig now = before;
    testing::set_options(now, {"dino.hidden=7", "supervised.label_smoothing=0.25", "supervised.hidden=7"});
    return differences(before, now);
  };
  const Differences dino = found("dino"), supervised = found("supervised"), mae = found("mae");

  EXPECT_EQ(dino.forbidden, Overrides{"dino.hidden: 2048 -> 7"});
  EXPECT_EQ(dino.allowed, Overrides{});
  EXPECT_EQ(supervised.forbidden, Overrides{"supervised.hidden: 512 -> 7"}) << "shapes depend on it";
  EXPECT_EQ(supervised.allowed, Overrides{"supervised.label_smoothing: 0 -> 0.25"});
  EXPECT_EQ(mae.forbidden, Overrides{});
  EXPECT_EQ(mae.allowed, Overrides{});
}

// A program that lacks a method reads the runs of one that has it, but for those of that method.
TEST(RunConfig, RecordsHoldTheOptionsOfTheChosenMethodAlone) {
  const testing::TemporaryFolder folder;
  RunConfig config;
  testing::set_options(
      config, {"run_dir=runs/a", "data.path=x", "method=dino", "dino.hidden=7", "mae.mask_ratio=0.5"});

  const std::string record = dump_with_absolute_paths(config);

  EXPECT_NE(record.find("\ndino:"), std::string::npos) << record;
  for (const method::Entry& entry : method::registry()) {
    if (entry.name == "dino") continue;
    EXPECT_EQ(record.find(fmt::format("\n{}:", entry.name)), std::string::npos) << record;
  }
  const RunConfig again = load_run_config(folder.write("record.yaml", record));
  EXPECT_EQ(testing::number_of(again, "dino.hidden"), 7);
  EXPECT_EQ(dump_with_absolute_paths(again), record);
  const Differences found = differences(again, config);
  EXPECT_TRUE(found.forbidden.empty() && found.allowed.empty()) << "a resume";
}

// Whatever a configuration chooses, it may hold options of other methods, as those in old checkpoints do.
TEST(RunConfig, OptionsOfMethodsThatAreNotChosenAreKept) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write(
      "a.yaml", "data: {path: x}\nmethod: supervised\ndino: {hidden: 7}\nsupervised: {mixup: 0.5}\n");
  const RunConfig config = load_run_config(file);
  EXPECT_EQ(config.method.name(), "supervised");
  const RunConfig again = load_run_config(folder.write("b.yaml", dump_run_config(config)));
  EXPECT_EQ(testing::number_of(again, "dino.hidden"), 7);
  EXPECT_EQ(testing::number_of(again, "supervised.mixup"), 0.5);
}

TEST(RunConfig, AnUnknownMethodIsRefusedWithTheNearest) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("a.yaml", "data: {path: x}\nmethod: dnio\n");
  try {
    (void)load_run_config(file);
    FAIL() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_TRUE(error.text().what.starts_with("method must be one of dino, ") &&
                error.text().what.ends_with(", not 'dnio'"))
        << error.text().what;
    EXPECT_EQ(error.text().where, file.string() + ":2");
    EXPECT_EQ(error.text().fix, "did you mean 'dino'?");
  }
}

TEST(RunConfig, CropsAreForMethodsThatTakeThem) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("a.yaml", "data: {path: x}\naugment: {preset: cell_dino}\n");
  EXPECT_THROW((void)load_run_config(file), UsageError);
  EXPECT_NO_THROW((void)load_run_config(file, Overrides{"method=dino"}));
}

TEST(RunConfig, AResumeMayChangeHowLongHowOftenAndOnHowManyRanks) {
  RunConfig before, now;
  now.train.max_steps = 7;
  now.data.loader.prefetch += 1;
  now.checkpoint = {.async = !before.checkpoint.async,
                    .every_steps = 5,
                    .every = std::chrono::minutes(3),
                    .keep_last = 4,
                    .keep_every = 10};
  now.optimizer.weight_decay = 0.25;
  now.comm.timeout = std::chrono::seconds(9);
  now.train.trace.steps = {2, 3};

  const Differences found = differences(before, now);

  EXPECT_TRUE(found.forbidden.empty());
  EXPECT_EQ(found.allowed.size(), 9U);
}

TEST(RunConfig, EveryRecipeLoads) {
  const auto recipes = config::recipes(COHORT_TEST_DATA "/../configs");
  for (const config::Recipe& recipe : recipes) {
    // Parts of recipes name no dataset.
    EXPECT_NO_THROW(load_run_config(recipe.file, Overrides{"data.path=data/any"})) << recipe.file;
    EXPECT_TRUE(recipe.about.ends_with('.')) << recipe.name << " has no sentence in its first line";
  }
  EXPECT_GT(recipes.size(), 20U);
}

class PresetOfAFile : public ::testing::Test {
 protected:
  std::filesystem::path written(const std::string& name, const std::string& text) const {
    write_file_atomically(folder_.path() / name, text);
    return folder_.path() / name;
  }
  /// Of a run whose configuration is `text`.
  RunConfig loaded(const std::string& text, const Overrides& more = {}) const {
    Overrides overrides{"data.path=x"};
    overrides.insert(overrides.end(), more.begin(), more.end());
    return load_run_config(written("run.yaml", text), overrides);
  }
  std::string refusal(const std::string& text, const Overrides& more = {}) const {
    try {
      (void)loaded(text, more);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  }

  testing::TemporaryFolder folder_;
  const std::filesystem::path table_ = written("table.yaml",
                                               "# A table.\nmethod: dino\naugment:\n"
                                               "  preset: cell_dino\n"
                                               "  multi_crop: {global_size: 40, local_size: 24}\n"
                                               "  policy:\n"
                                               "    global:\n      - crop area=[0.4, 1]\n      - flip\n"
                                               "    local: [crop]\n");
};

TEST_F(PresetOfAFile, GivesWhatTheConfigurationLeavesOpen) {
  const std::string preset = "augment.preset=" + table_.string();
  const RunConfig plain = loaded("method: dino\n", {preset}),
                  changed = loaded("method: dino\naugment: {multi_crop: {local_size: 16}}\n",
                                   {preset, "augment.policy.local=[]"});

  EXPECT_EQ(plain.augment.policy.global, (std::vector<std::string>{"crop area=[0.4, 1]", "flip"}));
  EXPECT_EQ(plain.augment.policy.local, std::vector<std::string>{"crop"});
  EXPECT_EQ(plain.augment.multi_crop.global_size, 40);
  EXPECT_EQ(changed.augment.multi_crop.local_size, 16);
  EXPECT_TRUE(changed.augment.policy.local.empty());
  EXPECT_EQ(plain.augment.preset, table_.string());
}

TEST_F(PresetOfAFile, ANameStandsBeforeAFileThatIsCalledLikeIt) {
  const auto recipes = config::recipes();
  const auto table = std::find_if(recipes.begin(), recipes.end(),
                                  [](const auto& recipe) { return recipe.name == "augment/simclr"; });
  ASSERT_NE(table, recipes.end());
  const RunConfig known = loaded("method: dino\n", {"augment.preset=" + table->file.string()});
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(table_.parent_path());
  std::filesystem::copy_file(table_, "simclr");
  const RunConfig by_name = loaded("method: dino\n", {"augment.preset=simclr"}),
                  by_file = loaded("method: dino\n", {"augment.preset=./simclr"});
  std::filesystem::current_path(before);
  EXPECT_EQ(by_name.augment.policy.global, known.augment.policy.global);
  EXPECT_EQ(by_file.augment.policy.global, (std::vector<std::string>{"crop area=[0.4, 1]", "flip"}));
}

TEST_F(PresetOfAFile, IsKeptByTheRun) {
  const RunConfig plain = loaded("method: dino\n", {"augment.preset=" + table_.string()});
  std::filesystem::remove(table_);
  const RunConfig again = load_run_config(written("config.yaml", dump_run_config(plain)), Overrides{});
  EXPECT_EQ(again.augment.policy.global, plain.augment.policy.global);
  EXPECT_EQ(again.augment.policy.local, plain.augment.policy.local);
  EXPECT_EQ(again.augment.multi_crop.global_size, 40);
}

TEST_F(PresetOfAFile, IsRefusedWhereThereIsNoneOrItIsBad) {
  const auto expect_has = [](const std::string& message, std::initializer_list<std::string> parts) {
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect_has(refusal("augment: {preset: camelyon_dion}\n"),
             {"neither a preset nor a file", "run.yaml:1", "did you mean 'camelyon_dino'?"});
  const auto empty = written("empty.yaml", "# Nothing.\nmethod: dino\n");
  expect_has(refusal("", {"augment.preset=" + empty.string()}),
             {"has no augment.policy.global", "command line"});
  const auto unknown = written("unknown.yaml", "augment: {policies: {}}\n");
  expect_has(refusal("", {"augment.preset=" + unknown.string()}),
             {"unknown key 'augment.policies'", "unknown.yaml:1"});
  const auto wrong = written("wrong.yaml", "augment: {policy: {global: [flop]}}\n");
  expect_has(refusal("", {"augment.preset=" + wrong.string()}),
             {"there is no operation 'flop'", "did you mean 'flip'?"});
  expect_has(refusal("method: supervised\n", {"augment.preset=" + table_.string()}),
             {"whose crops method=supervised does not take"});
  EXPECT_EQ(refusal("method: supervised\n", {"augment.preset=" + table_.string(), "augment.policy.local=[]"}),
            "accepted")
      << "one view of the whole table";
  expect_has(refusal("method: simclr\n", {"augment.preset=" + table_.string()}),
             {"learns from 2 views of an image", "makes 10"});
}

TEST(RunConfig, MethodsRefuseWhatTheyCannotDo) {
  const auto refusal = [](std::vector<std::string> options) {
    RunConfig config;
    options.emplace_back("data.path=x");
    testing::set_options(config, options);
    try {
      validate(config, "here");
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const auto expect_refused = [&](const std::vector<std::string>& options, const std::string& text) {
    EXPECT_NE(refusal(options).find(text), std::string::npos) << refusal(options);
  };
  for (const method::Entry& entry : method::registry())
    EXPECT_EQ(refusal({"method=" + std::string(entry.name)}), "accepted");
  expect_refused({"method=dino", "dino.batch_norm=true", "reproducible=true"},
                 "dino.batch_norm needs all images");
  expect_refused({"method=dino", "model.channel_sampling=true"}, "model.channel_sampling and method=dino");
  expect_refused({"method=dino", "eval.splits=[test]"}, "eval.splits");
  expect_refused({"method=mae", "model.channel_sampling=true"}, "model.channel_sampling and method=mae");
  expect_refused(
      {"method=byol", "byol.batch_norm=all", "train.micro_batches=2"},
      "byol.batch_norm=all needs all images of a step at once, but train.micro_batches divides them");
  expect_refused({"method=simclr", "simclr.batch_norm=all", "reproducible=true"},
                 "needs all images of a step at once, but reproducible makes each group a micro-batch");
  expect_refused({"method=byol", "byol.batch_norm=group", "sampler.images_per_group=1"},
                 "byol.batch_norm=group needs two images of a group or more");
  expect_refused({"sampler.order=cells", "sampler.balance=0.5"}, "but sampler.balance is set");
}

TEST(RunConfig, EncodersWithStatisticsOfAllImagesNeedAStepAtOnce) {
  std::size_t refused = 0;
  for (const nn::EncoderFamily& family : nn::encoder_families()) {
    const std::string key = fmt::format("model.{}.batch_norm", family.section);
    RunConfig config;
    const config::Fields fields(config);
    if (std::none_of(fields.list().begin(), fields.list().end(),
                     [&](const config::Field& field) { return field.key == key; }))
      continue;
    ++refused;
    testing::set_options(config, {"data.path=x", "model.name=" + family.names().front(), key + "=all"});
    EXPECT_NO_THROW(validate(config, "here"));
    config.reproducible = true;
    try {
      validate(config, "here");
      ADD_FAILURE() << key;
    } catch (const UsageError& error) {
      EXPECT_TRUE(error.text().what.starts_with(key + "=all needs all images of a step")) << error.what();
    }
  }
  EXPECT_GE(refused, 1U);
}

TEST(RunConfig, TheDocumentListsTheKeysOfTheCode) {
  EXPECT_EQ(read_file(COHORT_TEST_DATA "/../docs/config.md"), config_document())
      << "run: cohort docs config > docs/config.md";
}

}  // namespace
}  // namespace cohort::train

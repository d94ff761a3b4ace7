// A model on a dataset other than its own: what is matched by name, what is refused, whose statistics count.
#include "jobs/trained_model.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/checkpoint/store.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/random.h"
#include "cohort/data/dataset_writer.h"
#include "cohort/data/image_codec.h"
#include "cohort/eval/evaluation.h"
#include "cohort/nn/vit.h"
#include "cohort/train/import.h"
#include "cohort/train/model.h"
#include "cohort/train/trainer.h"

#include "checkpoint/catalogue.h"
#include "jobs/features.h"
#include "jobs/image_files.h"
#include "support/prediction.h"
#include "support/ranks.h"
#include "support/tiny_dataset.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

/// The words of a dataset. Its images are always the same ones.
struct Words {
  Names classes{"dark", "bright"}, sites{"a", "b", "c"}, channels{"dna", "actin"};
  std::int64_t height = 8, width = 8, light = 0;
  std::string split = "test";
  bool has_labels = true;  ///< in that split
};

std::int32_t place(const Names& names, const std::string& name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) throw std::runtime_error("the words lack " + name);
  return static_cast<std::int32_t>(found - names.begin());
}

/// Sites a, b and c with eight images to train on and four to test; bright ones have a bright first channel.
void write_dataset_in(const Words& words, const fs::path& folder, comm::Communicator& ranks) {
  data::Description description;
  description.name = folder.filename();
  description.channels = words.channels;
  description.images = {data::PixelType::u8, std::ssize(words.channels), words.height, words.width};
  description.labels = {{"corner", words.classes}};
  description.contexts = {{"site", words.sites}};
  description.splits = {{"train", {}}, {words.split, {}}, {"empty", {}}};
  std::vector<data::Row> rows;
  for (const std::int32_t split : {0, 1}) {
    for (const std::string site : {"a", "b", "c"}) {
      for (int i = 0; i < (split == 0 ? 8 : 4); ++i) {
        const bool has_label = split == 0 || words.has_labels;
        const std::int32_t label = place(words.classes, i % 2 == 0 ? "dark" : "bright");
        rows.push_back({fmt::format("{}-{}-{}", split, site, i),
                        split,
                        {has_label ? label : -1},
                        {place(words.sites, site)}});
      }
    }
  }
  const auto pixels = [&](std::int64_t index, std::span<std::byte> out) {
    const bool bright = index % 2 == 1;
    const auto size = static_cast<std::size_t>(words.height * words.width);
    for (std::size_t c = 0; c < words.channels.size(); ++c) {
      const bool first = words.channels[c] == "dna";
      RandomStream random({.seed = first ? 7U : 8U, .purpose = Purpose::synthetic, .sample = index});
      for (std::size_t i = 0; i < size; ++i)
        out[c * size + i] = static_cast<std::byte>(random.below(60) + (first && bright ? 150 : 20) +
                                                   static_cast<std::uint64_t>(words.light));
    }
  };
  (void)data::write_dataset(folder, description, rows, pixels, {}, ranks);
}

class OtherDataset : public ::testing::Test {
 protected:
  OtherDataset() { write_dataset_in({}, folder.path() / "own", world); }

  train::RunConfig config(const std::string& name) const {
    train::RunConfig config;
    config.run_dir = folder.path() / name;
    config.data.path = folder.path() / "own";
    config.sampler.groups_per_step = 6;
    config.sampler.images_per_group = 4;
    config.model = {.name = "vit_tiny", .patch_size = 4, .width = 16, .depth = 1, .heads = 2};
    config.context.keys = {"site"};
    config.context.amortization = nn::Amortization::dictionary;
    config.optimizer.lr = 1e-2;
    config.train.max_steps = 20;
    config.eval.context_images = 4;
    return config;
  }

  std::string trained_run(const train::RunConfig& config) {
    EXPECT_EQ(train::Trainer(config, world).run(), ExitCode::done);
    world.barrier();
    return config.run_dir.string();
  }

  fs::path other(const Words& words, const std::string& name) {
    write_dataset_in(words, folder.path() / name, world);
    return folder.path() / name;
  }

  TrainedModel load(const std::string& run, const fs::path& data, Head head = Head::needed) {
    return load_trained_model({.run = run, .data = data.string()}, head, world);
  }

  /// The logits of each image of a split, by id.
  std::map<std::string, at::Tensor> answers(const TrainedModel& trained, const std::string& split) {
    return answers(trained, open_split(trained, split, {"corner"}, world));
  }
  std::map<std::string, at::Tensor> answers(const TrainedModel& trained, const data::Dataset& dataset) {
    const testing::Prediction prediction =
        testing::predict(*trained.model, dataset, "site", trained.config.eval,
                         trained.config.data.normalisation, false, world);
    std::map<std::string, at::Tensor> answers;
    for (std::int64_t i = 0; i < dataset.rows(); ++i)
      answers[fs::path(dataset.ids()[static_cast<std::size_t>(i)]).stem()] = prediction.logits[i];
    return answers;
  }

  double accuracy(const TrainedModel& trained, const std::string& split) {
    const data::Dataset dataset = open_split(trained, split, {"corner"}, world);
    data::ColumnReader reader = columns_of(trained, split, world);
    return eval::evaluate(*trained.model, dataset, reader, {"corner", "site", trained.signature.classes},
                          trained.config.eval, trained.config.data.normalisation, false, world)
        .scores.accuracy;
  }

  std::string refusal(ExitCode code, const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), code) << error.what();
      return error.what();
    }
    return "";
  }

  void on_first_rank(const std::function<void()>& action) {
    world.barrier();
    if (world.rank() == 0) action();
    world.barrier();
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

void expect_same(const std::map<std::string, at::Tensor>& a, const std::map<std::string, at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [id, logits] : a) EXPECT_TRUE(at::allclose(logits, b.at(id), 1e-4, 1e-5)) << id;
}

void expect_has(const std::string& message, const Names& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
}

const Words kPermuted{.classes = {"other", "bright", "dark"},
                      .sites = {"c", "new", "a", "b"},
                      .channels = {"actin", "dna"},
                      .split = "judged"};

TEST_F(OtherDataset, TheBestCheckpointIsNamed) {
  train::RunConfig own = config("best");
  own.checkpoint = {.every_steps = 10, .keep_last = 9};
  const std::string run = trained_run(own);
  const ModelSource best{.run = run, .data = own.data.path.string(), .step = "best"};
  EXPECT_NE(refusal(ExitCode::data, [&] { (void)load_trained_model(best, Head::needed, world); })
                .find("the run keeps no best checkpoint"),
            std::string::npos);
  on_first_rank([&] { checkpoint::Store(own.run_dir / "checkpoints", world).keep_best(10); });

  EXPECT_EQ(load_trained_model(best, Head::needed, world).step, 10);
  EXPECT_EQ(load(run, own.data.path).step, 20);
}

TEST_F(OtherDataset, ClassesContextsAndChannelsAreMatchedByName) {
  for (const nn::Family family : {nn::Family::vit, nn::Family::channelvit}) {
    train::RunConfig own = config(fmt::format("run{}", static_cast<int>(family)));
    own.model.family = family;
    const std::string run = trained_run(own);
    const TrainedModel here = load(run, {});
    ASSERT_EQ(accuracy(here, "test"), 1.0) << "the model has not learnt enough to tell";

    const TrainedModel there =
        load(run, other(kPermuted, fmt::format("permuted{}", static_cast<int>(family))));

    expect_same(answers(here, "test"), answers(there, "judged"));
    EXPECT_EQ(accuracy(there, "judged"), 1.0);
    EXPECT_EQ(there.signature.classes, (Names{"dark", "bright"}));
  }
}

TEST_F(OtherDataset, TrainingOnChosenChannelsIsTrainingOnADatasetOfThem) {
  train::RunConfig chosen = config("chosen"), whole = config("whole");
  chosen.data.path = other({.channels = {"er", "dna", "actin"}}, "three");
  chosen.data.channels = {"actin", "dna"};
  whole.data.path = other({.channels = {"actin", "dna"}}, "two");

  const auto of_chosen = checkpoint::read_safetensors(fs::path(trained_run(chosen)) / "weights.safetensors"),
             of_whole = checkpoint::read_safetensors(fs::path(trained_run(whole)) / "weights.safetensors");

  for (const auto& [name, values] : of_whole.tensors)
    EXPECT_TRUE(at::equal(values, *of_chosen.find(name))) << name;
  EXPECT_EQ(of_chosen.metadata, of_whole.metadata);
  chosen.data.channels = {"dna", "actin"};
  expect_has(refusal(ExitCode::usage, [&] { train::Trainer(chosen, world).run(); }), {"data.channels"});
}

TEST_F(OtherDataset, AModelTakesItsChannelsFromAnyDatasetThatHasThem) {
  train::RunConfig own = config("run");
  own.data.channels = {"dna"};
  const std::string run = trained_run(own);
  const TrainedModel here = load(run, {});
  ASSERT_EQ(accuracy(here, "test"), 1.0) << "the model has not learnt enough to tell";
  const TrainedModel there = load(run, other({.channels = {"er", "actin", "dna"}}, "three"));

  EXPECT_EQ(there.channels, (Names{"dna"}));
  expect_same(answers(here, "test"), answers(there, "test"));
  const fs::path weights = fs::path(run) / "weights.safetensors", gray = other({.channels = {"er"}}, "er");
  train::RunConfig plain = own;
  plain.data.channels = {};  // as exported weights may come with a configuration of others
  on_first_rank([&] { write_file_atomically(folder.path() / "plain.yaml", train::dump_run_config(plain)); });
  const TrainedModel by_name = load_trained_model({.weights = weights.string(),
                                                   .config = (folder.path() / "plain.yaml").string(),
                                                   .data = (folder.path() / "three").string()},
                                                  Head::needed, world);
  expect_same(answers(here, "test"), answers(by_name, "test"));
  expect_has(refusal(ExitCode::usage, [&] { load(run, gray); }), {"dna", "er"});
}

TEST_F(OtherDataset, AChannelVitDoesWithoutSomeOfItsChannels) {
  train::RunConfig own = config("run");
  own.model.family = nn::Family::channelvit;
  own.model.channel_sampling = true;
  own.train.max_steps = 40;
  const std::string run = trained_run(own);
  const TrainedModel there = load(run, other({.channels = {"er", "dna"}}, "dna")),
                     asked = load_trained_model({.run = run, .overrides = {"data.channels=[dna]"}},
                                                Head::needed, world);

  EXPECT_EQ(there.channels, (Names{"dna"}));
  EXPECT_EQ(dynamic_cast<nn::VisionTransformer&>(*there.model).shape().channels, 1);
  EXPECT_EQ(accuracy(there, "test"), 1.0);
  expect_same(answers(there, "test"), answers(asked, "test"));
}

TEST_F(OtherDataset, ImagesThatAreNoDatasetAreSeenInTheChannelsOfTheModel) {
  train::RunConfig own = config("run");
  own.data.path = other({.channels = {"red", "green", "blue"}}, "colours");
  own.data.channels = {"blue", "red"};
  own.train.max_steps = 2;
  const std::string run = trained_run(own);
  const data::Dataset dataset = data::Dataset::open(own.data.path, "test");
  on_first_rank([&] {
    std::vector<std::byte> pixels(static_cast<std::size_t>(dataset.description().images.bytes()));
    for (std::int64_t row = 0; row < dataset.rows(); ++row) {
      dataset.read(row, pixels);
      const auto file = data::encode_image(data::Codec::png, dataset.description().images, 0, pixels);
      const fs::path place = folder.path() / "photos" / dataset.id(row).substr(2, 1);
      fs::create_directories(place);
      write_file_atomically(place / (dataset.id(row) + ".png"),
                            {reinterpret_cast<const char*>(file.data()), file.size()});
    }
  });

  std::optional<ImageFiles> files;
  const auto describe = [&](const data::Signature& trained_on, bool chosen_channels) {
    files.emplace(ImageOptions{.paths = {(folder.path() / "photos").string()}}, trained_on, chosen_channels,
                  world);
    return files->description();
  };
  const TrainedModel trained = load_trained_model({.run = run}, Head::needed, world, describe);
  data::Dataset images = files->open("images");
  make_fit(trained, images);

  expect_same(answers(trained, images), answers(load(run, {}), "test"));
}

TEST_F(OtherDataset, FeaturesAreJudgedByAContextToo) {
  FeatureOptions options;
  options.model.run = trained_run(config("run"));
  options.of = "site";
  const JudgedFeatures judged = compute_features(options, world);

  EXPECT_EQ(judged.columns.label, "site");
  ASSERT_EQ(judged.tests.size(), 1U);
  EXPECT_EQ(judged.tests[0].dataset.column("site").size(), 12U);
  const auto refuse = [](const train::SplitCounts& train, std::span<const data::Dataset> tests) {
    throw UsageError(
        {fmt::format("not {} by {} of {}", tests.front().split(), train.all(), train.split), "", ""});
  };
  expect_has(
      refusal(ExitCode::usage, [&] { compute_features(options, world, refuse); }),
      {fmt::format("not test by {} of {}", judged.train.dataset.rows(), judged.train.dataset.split())});
  options.of = "sit";
  expect_has(refusal(ExitCode::usage, [&] { compute_features(options, world); }), {"did you mean 'site'?"});
  const fs::path bare = other({}, "bare");
  on_first_rank([&] {
    data::Description description = data::Description::read(bare);
    description.labels.clear();
    description.write(bare);
  });
  options.model.data = bare.string();
  options.of = "";
  expect_has(refusal(ExitCode::usage, [&] { compute_features(options, world); }),
             {"no label to judge features by", "--of", "site"});
}

TEST_F(OtherDataset, ErrorsOfFeaturesNameTheOptionsOfTheCommandLine) {
  FeatureOptions options;
  options.model.run = trained_run(config("run"));
  const fs::path many = other({}, "many"), alone = other({}, "alone");
  on_first_rank([&] {
    data::Description description = data::Description::read(many);
    for (int i = 0; i < 2000; ++i) description.contexts.front().values.push_back("other" + std::to_string(i));
    description.write(many);
    description = data::Description::read(alone);
    description.splits.resize(1);
    description.write(alone);
  });
  options.of = "site";
  options.model.data = many.string();
  expect_has(refusal(ExitCode::usage, [&] { compute_features(options, world); }),
             {"judged by at most 2,000", "--of\n"});
  options.model.data = alone.string();
  EXPECT_TRUE(compute_features(options, world).tests.empty());
}

// A run that is at work may have another checkpoint for every rank that looks.
TEST_F(OtherDataset, TheFirstRankChoosesTheCheckpoint) {
  ModelSource source{.run = trained_run(config("run"))};
  if (world.rank() > 0) source.step = "best";  // which there is not
  EXPECT_EQ(load_trained_model(source, Head::needed, world).step, 20);
}

TEST_F(OtherDataset, TheTrainingDataMayBeGone) {
  const std::string run = trained_run(config("run"));
  const fs::path there = other({}, "there");
  const auto before = answers(load(run, {}), "test");
  on_first_rank([&] { fs::remove_all(folder.path() / "own"); });

  expect_same(before, answers(load(run, there), "test"));
}

TEST_F(OtherDataset, StatisticsAreThoseOfTheModelUnlessThoseOfTheDataAreAskedFor) {
  const std::string run = trained_run(config("run"));
  const auto own = data::Description::read(folder.path() / "own");
  Words lighter;
  lighter.channels = {"actin", "dna"};
  lighter.light = 30;
  const fs::path there = other(lighter, "lighter");

  const TrainedModel with_own = load(run, there),
                     with_other = load_trained_model(
                         {.run = run, .data = there.string(), .normalisation = "data"}, Head::needed, world);

  EXPECT_EQ(open_split(with_own, "test", {}, world).description().mean,
            (std::vector<double>{own.mean[1], own.mean[0]}));
  EXPECT_EQ(open_split(with_own, "test", {}, world).description().deviation,
            (std::vector<double>{own.deviation[1], own.deviation[0]}));
  EXPECT_EQ(open_split(with_other, "test", {}, world).description().mean,
            data::Description::read(there).mean);
}

TEST_F(OtherDataset, WhatTheModelDoesNotKnowIsRefusedWithBothLists) {
  const std::string run = trained_run(config("run"));
  Words gray, german;
  gray.channels = {"gray"};
  german.classes = {"dunkel", "dark", "bright"};
  const fs::path other_channels = other(gray, "gray");

  expect_has(refusal(ExitCode::usage, [&] { load(run, other_channels); }), {"dna, actin", "gray"});

  const TrainedModel trained = load(run, other(german, "german"));
  const data::Dataset dataset = open_split(trained, "test", {"corner"}, world);
  const Names of_model{"dark", "hell"};
  expect_has(refusal(ExitCode::usage,
                     [&] { (void)data::ClassNumbers(dataset.description(), "test", "corner", of_model)(2); }),
             {"'bright'", "dark, hell", "dunkel, dark, bright"});
}

TEST_F(OtherDataset, ADictionaryHasNoTokenForAContextThatTrainingNeverSaw) {
  train::RunConfig own = config("run");
  own.data.contexts = {};
  const std::string run = trained_run(own);
  Words renamed;
  renamed.sites = {"a", "b", "c"};
  const fs::path there = other(renamed, "renamed");
  on_first_rank([&] {  // the same images of a site that is called otherwise
    std::string text = read_file(there / "dataset.json");
    text.replace(text.find("\"c\""), 3, "\"z\"");
    write_file_atomically(there / "dataset.json", text);
  });
  const TrainedModel trained = load(run, there);

  expect_has(refusal(ExitCode::usage, [&] { open_split(trained, "test", {}, world); }), {"site 'z'"});
  expect_has(refusal(ExitCode::usage, [&] { open_scored_splits(trained, {}, "train", "corner", world); }),
             {"no split to score"});
}

TEST_F(OtherDataset, SplitsThatCannotBeScoredArePassedOver) {
  const std::string run = trained_run(config("run"));
  const TrainedModel trained = load(run, {});

  const auto splits = open_scored_splits(trained, {}, "train", "corner", world);

  ASSERT_EQ(splits.size(), 1U);
  EXPECT_EQ(splits.front().dataset.split(), "test");
  EXPECT_EQ(splits.front().counts.all(), splits.front().dataset.rows());
  EXPECT_EQ(open_scored_splits(trained, {"empty", "test"}, "train", "corner", world).size(), 1U);
  expect_has(refusal(ExitCode::usage, [&] { open_split(trained, "empty", {}, world); }),
             {"split 'empty' has no images"});
  Words unlabelled;
  unlabelled.has_labels = false;
  const TrainedModel other_data = load(run, other(unlabelled, "unlabelled"));
  expect_has(
      refusal(ExitCode::usage, [&] { open_scored_splits(other_data, {"test"}, "train", "corner", world); }),
      {"split 'test' has no image with a label 'corner'"});
}

TEST_F(OtherDataset, ImagesOfAnotherSizeHaveAnotherGrid) {
  const std::string run = trained_run(config("run"));
  Words wide, odd;
  wide.width = 32;
  odd.width = 10;

  const TrainedModel trained = load(run, other(wide, "wide"));
  const auto found = answers(trained, "test");

  EXPECT_EQ(dynamic_cast<nn::VisionTransformer&>(*trained.model).shape().width, 8)
      << "the table is of the grid that it was trained for";
  for (const auto& [id, logits] : found) EXPECT_TRUE(logits.isfinite().all().item<bool>()) << id;
  const fs::path there = other(odd, "odd");
  expect_has(refusal(ExitCode::usage, [&] { load(run, there); }),
             {"patches of 4 x 4 pixels do not divide images of 8 x 10"});
}

TEST_F(OtherDataset, FeaturesThatAreNotFiniteAreRefusedWithTheImage) {
  const data::Dataset dataset = data::Dataset::open(folder.path() / "own", "test");
  at::Tensor features = at::zeros({dataset.rows(), 4});
  NotFinite none, some;
  const at::Tensor rows = at::arange(dataset.rows());
  EXPECT_TRUE(none.look(rows, features));
  EXPECT_FALSE(none.add_up(world));
  features[3][1] = NAN;
  features[5][0] = INFINITY;
  const bool is_first = world.rank() == 0;
  EXPECT_EQ(some.look(is_first ? rows : rows.narrow(0, 0, 0), is_first ? features : features.narrow(0, 0, 0)),
            !is_first);

  EXPECT_TRUE(some.add_up(world));

  expect_has(refusal(ExitCode::numerical, [&] { some.refuse(dataset); }),
             {"2 of 12 images", "'" + dataset.ids()[3] + "'"});
}

TEST_F(OtherDataset, ExportedWeightsCarryTheNames) {
  const train::RunConfig own = config("run");
  const std::string run = trained_run(own), weights = run + "/weights.safetensors",
                    model = (folder.path() / "model.yaml").string();
  on_first_rank([&] { write_file_atomically(model, train::dump_run_config(own)); });
  const fs::path there = other(kPermuted, "permuted");

  const TrainedModel trained =
      load_trained_model({.weights = weights, .config = model, .data = there.string()}, Head::needed, world);

  expect_same(answers(load(run, {}), "test"), answers(trained, "judged"));
}

TEST_F(OtherDataset, ACheckpointOfAnOlderProgramIsReadByPosition) {
  const std::string run = trained_run(config("run"));
  const auto before = answers(load(run, {}), "test");
  on_first_rank([&] {
    checkpoint::Store store(fs::path(run) / "checkpoints", world);
    const std::int64_t step = store.latest().value();
    checkpoint::Contents contents = store.contents(step);
    contents.meta.trained_on.clear();
    write_file_atomically(store.path_of(step) / "meta.json", checkpoint::meta_text(contents));
  });

  expect_same(before, answers(load(run, {}), "test"));
  const fs::path there = other({}, "there");
  expect_same(before, answers(load(run, there), "test"));
  on_first_rank([&] { fs::remove_all(folder.path() / "own"); });
  expect_same(before, answers(load(run, there), "test"));
}

// A learning rate of 0 shows what training starts from.
TEST_F(OtherDataset, FinetuningMovesHeadAndDictionaryByName) {
  const std::string run = trained_run(config("run"));
  train::RunConfig next = config("next");
  Words others = kPermuted;
  others.classes = {"bright", "dark"};
  next.data.path = other(others, "permuted");
  next.model.weights = run + "/weights.safetensors";
  next.optimizer.lr = next.schedule.lr_end = 0.0;
  next.train.max_steps = 1;
  next.context.keys = {"site"};

  trained_run(next);

  const auto before = checkpoint::read_safetensors(run + "/weights.safetensors"),
             after = checkpoint::read_safetensors(next.run_dir / "weights.safetensors");
  const auto rows = [&](const std::string& name, std::vector<std::int64_t> places) {
    return std::pair(before.find(name)->index_select(0, at::tensor(places, at::kLong)), *after.find(name));
  };
  const auto [head, new_head] = rows("head.weight", {1, 0});
  EXPECT_TRUE(at::equal(head, new_head));
  const auto [sites, new_sites] = rows("cin.model.site.weight", {2, 0, 1});
  EXPECT_TRUE(at::equal(sites, new_sites.index_select(0, at::tensor({0, 2, 3}, at::kLong))));
  EXPECT_EQ(new_sites[1].abs().max().item<double>(), 0.0) << "new";
  EXPECT_TRUE(
      at::equal(before.find("patch_embed.proj.weight")->flip(1), *after.find("patch_embed.proj.weight")));
}

// Options without parameters, and names, change values or columns as well as weights do.
TEST_F(OtherDataset, FeaturesOfOtherOptionsOrNamesAreOthers) {
  TrainedModel trained = load_trained_model({.run = trained_run(config("run"))}, Head::needed, world);
  const data::Dataset dataset = open_split(trained, "test", {}, world);
  const auto identity = [&] { return Computation{trained, dataset, "site"}.identity(); };
  const std::string before = identity();
  EXPECT_EQ(identity(), before);

  trained.config.model.heads = 4;
  const std::string with_heads = identity();
  trained.config.context.amortization = nn::Amortization::mean;
  const std::string with_means = identity();
  trained.signature.classes.front() = "dull";

  EXPECT_NE(with_heads, before);
  EXPECT_NE(with_means, with_heads);
  EXPECT_NE(identity(), with_means);
}

TEST_F(OtherDataset, FinetuningForOtherClassesBeginsWithANewHead) {
  const std::string run = trained_run(config("run"));
  const fs::path there = other({}, "renamed");
  on_first_rank([&] {
    std::string text = read_file(there / "dataset.json");
    text.replace(text.find("\"dark\""), 6, "\"dull\"");
    write_file_atomically(there / "dataset.json", text);
  });
  train::RunConfig next = config("next");
  next.data.path = there;
  next.model.weights = run + "/weights.safetensors";
  next.optimizer.lr = next.schedule.lr_end = 0.0;
  next.train.max_steps = 1;

  trained_run(next);

  const auto before = checkpoint::read_safetensors(run + "/weights.safetensors"),
             after = checkpoint::read_safetensors(next.run_dir / "weights.safetensors");
  EXPECT_FALSE(at::equal(*before.find("head.weight"), *after.find("head.weight")));
  EXPECT_TRUE(at::equal(*before.find("cls_token"), *after.find("cls_token")));
}

}  // namespace
}  // namespace cohort::jobs

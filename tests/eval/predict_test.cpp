#include "cohort/eval/predict.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/batch.h"
#include "cohort/data/context_sampler.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/feature_file.h"
#include "cohort/nn/explain.h"

#include "support/hdf5.h"
#include "support/prediction.h"
#include "support/ranks.h"
#include "support/small_model.h"
#include "support/tiny_dataset.h"

namespace cohort::eval {
namespace {

using testing::predict;
using testing::Prediction;

nn::VitShape shape_for_tiny_dataset(bool contextual) {
  nn::VitShape shape = testing::small_shape();
  if (contextual) shape = testing::small_shape({"site"}, nn::Amortization::mean_linear, {6});
  shape.classes = 2;
  return shape;
}

EvalConfig groups_of(std::int64_t images) {
  EvalConfig config;
  config.context_images = images;
  return config;
}

Prediction predict_test_split(nn::VisionTransformer& model, const data::Dataset& dataset,
                              comm::Communicator& ranks) {
  return predict(model, dataset, "site", groups_of(3), augment::Normalisation::dataset, false, ranks);
}

// Seven images a context in groups of three: 3, 3, 1.
TEST(Predict, DoesNotDependOnTheNumberOfRanks) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  testing::write_tiny_dataset(folder.path() / "tiny", world);
  const data::Dataset dataset = data::Dataset::open(folder.path() / "tiny", "test");
  comm::Communicator alone = world.split(world.rank(), "alone");
  for (const bool contextual : {true, false}) {
    nn::VisionTransformer model(shape_for_tiny_dataset(contextual), 5);

    const Prediction together = predict_test_split(model, dataset, world);
    const Prediction single = predict_test_split(model, dataset, alone);

    ASSERT_EQ(together.logits.sizes(), (at::IntArrayRef{testing::kTinyTest, 2}));
    EXPECT_TRUE(at::equal(together.logits, single.logits));
    EXPECT_TRUE(at::equal(together.features, single.features));
    EXPECT_EQ(together.context.defined(), contextual);
    if (contextual) {
      EXPECT_TRUE(at::equal(together.context, single.context));
    }
  }
}

TEST(Predict, FeaturesOfAnyLayerAndOfPatchesDoNotDependOnRanks) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  testing::write_tiny_dataset(folder.path() / "tiny", world);
  const data::Dataset dataset = data::Dataset::open(folder.path() / "tiny", "test");
  nn::VisionTransformer model(shape_for_tiny_dataset(true), 5);
  const std::vector<data::Group> group{{1, 0, {0, 1, 2}}};
  (void)dataset.context_runs("site");
  const auto view = augment::evaluation_view(dataset.description(), augment::Normalisation::dataset);
  Workers workers(1);
  const data::Batch batch = data::make_batch(dataset, group, {{"site"}, ""}, *view, workers);
  const at::NoGradGuard no_gradients;
  const nn::Conditions conditions{.context = batch.context, .group = batch.group, .sample = batch.sample};
  const nn::Trail trail = nn::encode_with_trail(model, batch.views.front(), conditions);
  const at::Tensor behind = testing::encode(model, batch.views.front(), conditions).tokens;
  for (const std::int64_t layer : {-1, 0, 2}) {
    const at::Tensor& tokens = layer < 0 ? behind : trail.inputs[static_cast<std::size_t>(layer)];

    const Prediction prediction =
        predict(model, dataset, "site", groups_of(3), augment::Normalisation::dataset, false, world,
                {.layer = layer, .patches = true});

    EXPECT_EQ(prediction.patches.sizes(), (at::IntArrayRef{testing::kTinyTest, 4, 24}));
    EXPECT_TRUE(at::allclose(prediction.features.narrow(0, 0, 3), tokens.select(1, 0), 1e-5, 1e-6));
    EXPECT_TRUE(at::allclose(prediction.patches.narrow(0, 0, 3), tokens.narrow(1, 2, 4), 1e-5, 1e-6));
  }
}

TEST(Predict, RowsAreInDatasetOrderAndGroupsShareATokenOfTheirOwn) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  testing::write_tiny_dataset(folder.path() / "tiny", world);
  const data::Dataset dataset = data::Dataset::open(folder.path() / "tiny", "test");
  nn::VisionTransformer model(shape_for_tiny_dataset(true), 5);

  const Prediction prediction = predict_test_split(model, dataset, world);

  // Rows 0 1 2 of the first context alone, as one group: the same numbers.
  const std::vector<data::Group> group{{1, 0, {0, 1, 2}}};
  const auto view = augment::evaluation_view(dataset.description(), augment::Normalisation::dataset);
  Workers workers(1);
  const data::Batch batch = data::make_batch(dataset, group, {{"site"}, ""}, *view, workers);
  const at::NoGradGuard no_gradients;
  const auto output = testing::encode(
      model, batch.views.front(), {.context = batch.context, .group = batch.group, .sample = batch.sample});
  EXPECT_TRUE(at::allclose(prediction.features.narrow(0, 0, 3), output.pooled, 1e-5, 1e-6));
  EXPECT_TRUE(at::equal(prediction.context[0], prediction.context[2]));
  EXPECT_FALSE(at::allclose(prediction.context[2], prediction.context[3], 1e-6, 1e-7));
}

// 331 images in groups of five, so that several share a pass, with a rest in each context and a last
// pass that is short; one context alone is larger than a pass.
TEST(Predict, EveryGroupOfManyPassesIsThatOfItsOwnForwardPass) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  std::vector<data::Row> rows;
  for (const auto& [site, count] : {std::pair{0, 17}, {2, 203}, {3, 1}, {4, 110}}) {
    for (int i = 0; i < count; ++i) rows.push_back({fmt::format("{}-{:03}", site, i), 0, {i % 2}, {site}});
  }
  const auto pixels = [](std::int64_t index, std::span<std::byte> out) {
    RandomStream random({.seed = 7, .purpose = Purpose::synthetic, .sample = index});
    for (std::byte& value : out) value = static_cast<std::byte>(random.below(256));
  };
  (void)data::write_dataset(folder.path() / "many", testing::tiny_description(), rows, pixels, {}, world);
  const data::Dataset dataset = data::Dataset::open(folder.path() / "many", "train");
  (void)dataset.context_runs("site");
  nn::VisionTransformer model(shape_for_tiny_dataset(true), 5);

  const Prediction prediction =
      predict(model, dataset, "site", groups_of(5), augment::Normalisation::dataset, false, world);

  const data::StepPlan plan = data::evaluation_plan(dataset.context_runs("site").runs(), 5);
  const auto view = augment::evaluation_view(dataset.description(), augment::Normalisation::dataset);
  Workers workers(1);
  const at::NoGradGuard no_gradients;
  for (const data::Group& group : plan) {
    const data::Batch batch = data::make_batch(dataset, std::span(&group, 1), {{"site"}, ""}, *view, workers);
    const auto output = testing::encode(
        model, batch.views.front(), {.context = batch.context, .group = batch.group, .sample = batch.sample});
    const auto first = group.rows.front(), count = std::ssize(group.rows);
    EXPECT_TRUE(at::allclose(prediction.logits.narrow(0, first, count), output.logits, 1e-5, 1e-6)) << first;
    EXPECT_TRUE(at::allclose(prediction.features.narrow(0, first, count), output.pooled, 1e-5, 1e-6))
        << first;
    EXPECT_TRUE(at::allclose(prediction.context.narrow(0, first, count), output.context, 1e-5, 1e-6))
        << first;
  }
}

TEST(Evaluate, ScoresEveryContextOnce) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  testing::write_tiny_dataset(folder.path() / "tiny", world);
  const data::Dataset dataset = data::Dataset::open(folder.path() / "tiny", "test");
  nn::VisionTransformer model(shape_for_tiny_dataset(true), 5);

  data::ColumnReader reader(folder.path() / "tiny", dataset.description(), "test");
  const Evaluation evaluation = evaluate(model, dataset, reader, {"corner", "site"}, groups_of(4),
                                         augment::Normalisation::image, true, world);

  EXPECT_EQ(evaluation.scores.images, testing::kTinyTest);
  ASSERT_EQ(evaluation.scores.contexts.size(), 4u);
  EXPECT_EQ(evaluation.scores.contexts.back().context, "e");
  EXPECT_EQ(evaluation.scores.contexts.back().images, 7);
  const std::string line = evaluation_json(evaluation, 12, 3);
  EXPECT_EQ(
      line.find(
          R"({"kind":"evaluation","step":12,"epoch":3,"split":"test","label":"corner","classes":["dark","bright"])"),
      0u)
      << line;
}

TEST(FeatureFile, HoldsEverythingInDatasetOrder) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  testing::write_tiny_dataset(folder.path() / "tiny", world);
  const data::Dataset dataset = data::Dataset::open(folder.path() / "tiny", "test");
  nn::VisionTransformer model(shape_for_tiny_dataset(true), 5);
  const Prediction prediction = predict_test_split(model, dataset, world);
  data::ColumnReader columns(folder.path() / "tiny", data::Description::read(folder.path() / "tiny"), "test");
  const FeatureContents contents{.width = 24,
                                 .patches = 0,
                                 .keys = {"site"},
                                 .classes = {"dark", "bright"},
                                 .attributes = {{"run", "runs/x"}, {"step", std::int64_t{12}}},
                                 .passes = count_passes(dataset, "site", groups_of(3)),
                                 .identity = "one"};

  FeatureWriter writer(folder.path() / "f.h5", dataset, columns, contents, world);
  (void)predict_passes(model, dataset, "site", groups_of(3), augment::Normalisation::dataset, false, world,
                       {[&](const PassAnswers& answers) { writer.write(answers); }});
  writer.finish();
  writer.commit();

  EXPECT_FALSE(std::filesystem::exists(folder.path() / "f.h5.partial"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "f.h5.partial.passes"));
  const std::string where = "f.h5";
  const hdf5::File file = hdf5::open_file(folder.path() / "f.h5");
  const auto shape_of = [&](const std::string& name) {
    return hdf5::shape_of(hdf5::open_dataset(file.get(), name, where), where);
  };
  EXPECT_EQ(shape_of("id"), std::vector<std::int64_t>{testing::kTinyTest});
  EXPECT_EQ(shape_of("labels/corner"), std::vector<std::int64_t>{testing::kTinyTest});
  EXPECT_EQ(shape_of("context/site"), std::vector<std::int64_t>{testing::kTinyTest});
  EXPECT_EQ(shape_of("label_names/corner"), std::vector<std::int64_t>{2});
  EXPECT_EQ(shape_of("context_names/site"), std::vector<std::int64_t>{6});
  EXPECT_EQ(shape_of("logit_classes"), std::vector<std::int64_t>{2});
  EXPECT_GT(H5Aexists(file.get(), "run"), 0);
  EXPECT_GT(H5Aexists(file.get(), "step"), 0);
  EXPECT_EQ(shape_of("context_tokens/site"), (std::vector<std::int64_t>{testing::kTinyTest, 24}));
  at::Tensor features = at::empty_like(prediction.features);
  const hdf5::Dataset stored = hdf5::open_dataset(file.get(), "features", where);
  hdf5::check_hdf5(
      H5Dread(stored.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, features.data_ptr<float>()),
      "H5Dread", where);
  EXPECT_TRUE(at::equal(features, prediction.features));
  const auto numbers = [&](const std::string& name, auto values, hid_t type) {
    const hdf5::Dataset column = hdf5::open_dataset(file.get(), name, where);
    hdf5::check_hdf5(H5Dread(column.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), "H5Dread",
                     where);
    return values;
  };
  const std::vector<std::int32_t> blank(testing::kTinyTest);
  EXPECT_EQ(numbers("labels/corner", blank, H5T_NATIVE_INT32), dataset.labels("corner"));
  EXPECT_EQ(numbers("context/site", blank, H5T_NATIVE_INT32), dataset.contexts("site"));
  const std::vector<float> no_tokens(testing::kTinyTest * 24), no_logits(testing::kTinyTest * 2);
  const auto as_tensor = [](std::vector<float> values, at::IntArrayRef shape) {
    return at::tensor(values).view(shape);
  };
  EXPECT_TRUE(at::equal(as_tensor(numbers("context_tokens/site", no_tokens, H5T_NATIVE_FLOAT), {-1, 24}),
                        prediction.context.select(1, 0)));
  EXPECT_TRUE(
      at::equal(as_tensor(numbers("logits", no_logits, H5T_NATIVE_FLOAT), {-1, 2}), prediction.logits));
}

// Half of the passes, by one number of ranks; the others and the same bytes by another; and another identity
// begins anew.
TEST(FeatureFile, GoesOnWithThePassesThatAreThere) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  testing::write_tiny_dataset(folder.path() / "tiny", world);
  const data::Dataset dataset = data::Dataset::open(folder.path() / "tiny", "test");
  nn::VisionTransformer model(shape_for_tiny_dataset(true), 5);
  data::ColumnReader columns(folder.path() / "tiny", data::Description::read(folder.path() / "tiny"), "test");
  const std::int64_t passes = count_passes(dataset, "site", groups_of(3));
  ASSERT_GE(passes, 2);
  const auto fill = [&](const std::string& name, const std::string& identity, std::int64_t end,
                        comm::Communicator& ranks) {
    const FeatureContents contents{.width = 24,
                                   .patches = 0,
                                   .keys = {"site"},
                                   .classes = {},
                                   .attributes = {},
                                   .passes = passes,
                                   .identity = identity};
    FeatureWriter writer(folder.path() / name, dataset, columns, contents, ranks);
    std::int64_t made = 0;
    (void)predict_passes(model, dataset, "site", groups_of(3), augment::Normalisation::dataset, false, ranks,
                         {[&](const PassAnswers& answers) {
                            writer.write(answers);
                            ++made;
                          },
                          [&](std::int64_t pass) { return pass >= end || writer.has(pass); }});
    if (end == passes) {
      writer.finish();
      writer.commit();
    } else {
      writer.pause();
    }
    return ranks.sum(made);
  };
  comm::Communicator alone = world.split(world.rank(), "alone");
  EXPECT_EQ(fill("calm.h5", "one", passes, world), passes);

  if (world.rank() == 0) {
    EXPECT_EQ(fill("f.h5", "one", 1, alone), 1);
  }
  world.barrier();
  EXPECT_EQ(fill("f.h5", "one", passes, world), passes - 1);

  EXPECT_EQ(read_file(folder.path() / "f.h5"), read_file(folder.path() / "calm.h5"));
  EXPECT_EQ(fill("g.h5", "one", 1, world), 1);
  EXPECT_EQ(fill("g.h5", "two", passes, world), passes);
}

TEST(FeatureFile, IsWrittenByOneCommandAtATime) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  testing::write_tiny_dataset(folder.path() / "tiny", world);
  const data::Dataset dataset = data::Dataset::open(folder.path() / "tiny", "test");
  data::ColumnReader columns(folder.path() / "tiny", data::Description::read(folder.path() / "tiny"), "test");
  const FeatureContents contents{
      .width = 24, .patches = 0, .keys = {}, .classes = {}, .attributes = {}, .passes = 5, .identity = "one"};
  {
    const FeatureWriter first(folder.path() / "f.h5", dataset, columns, contents, world);

    EXPECT_THROW(FeatureWriter(folder.path() / "f.h5", dataset, columns, contents, world), UsageError);
  }
  EXPECT_NO_THROW(FeatureWriter(folder.path() / "f.h5", dataset, columns, contents, world));
}

/// The largest memory that this process had since it was last asked, in bytes.
std::int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  std::int64_t kilobytes = 0;
  for (std::string word; status >> word;)
    if (word == "VmHWM:") status >> kilobytes;
  std::ofstream("/proc/self/clear_refs") << "5";
  return 1024 * kilobytes;
}

/// Writes made-up features of a dataset whose shards are there `times` times. Returns the peak of memory.
std::int64_t peak_of_writing(const std::filesystem::path& folder, data::Description description, int times,
                             std::int64_t width, comm::Communicator& ranks) {
  constexpr std::int64_t kPass = 128;
  std::vector<data::ShardEntry>& shards = description.splits.front().shards;
  const std::vector<data::ShardEntry> once = shards;
  for (int i = 1; i < times; ++i) {
    for (data::ShardEntry shard : once) {
      shard.file = fmt::format("{}-{}", i, shard.file);
      shards.push_back(shard);
    }
  }
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    for (std::size_t i = once.size(); i < shards.size(); ++i) {
      std::error_code is_there;
      std::filesystem::create_hard_link(folder / once[i % once.size()].file, folder / shards[i].file,
                                        is_there);
    }
    description.write(folder);
  });
  const std::string split = description.splits.front().name;
  const data::Dataset dataset = data::Dataset::open(
      folder, split, [](const data::Description&) { return std::vector<std::string>(); }, ranks);
  data::ColumnReader columns(folder, description, split);
  const FeatureContents contents{.width = width,
                                 .patches = 0,
                                 .keys = {},
                                 .classes = {},
                                 .attributes = {},
                                 .passes = (dataset.rows() + kPass - 1) / kPass,
                                 .identity = "made up"};
  (void)peak_memory();
  FeatureWriter writer(folder / "features.h5", dataset, columns, contents, ranks);
  for (std::int64_t pass = ranks.rank(); pass < contents.passes; pass += ranks.size()) {
    const std::int64_t first = pass * kPass, count = std::min(kPass, dataset.rows() - first);
    writer.write(
        {pass, at::arange(first, first + count), {}, at::full({count, width}, pass, at::kFloat), {}, {}});
  }
  writer.finish();
  writer.commit();
  const FeatureReader reader(folder / "features.h5");
  EXPECT_EQ(reader.rows(), dataset.rows());
  const std::int64_t last = dataset.rows() - 1;
  EXPECT_EQ(reader.read("features", last, 1)[0][width - 1].item<float>(), static_cast<float>(last / kPass));
  return peak_memory();
}

TEST(FeatureFile, HoldsNoMoreOfFourTimesTheImages) {
  comm::Communicator world = test::world();
  const testing::SharedFolder folder(world);
  constexpr std::int64_t kFeatures = 64, kRows = 8000;
  std::vector<data::Row> rows;
  for (std::int64_t i = 0; i < kRows; ++i)
    rows.push_back({fmt::format("image-{:05}", i), 0, {static_cast<std::int32_t>(i % 2)}, {0}});
  const auto pixels = [](std::int64_t, std::span<std::byte> out) {
    std::fill(out.begin(), out.end(), std::byte{1});
  };
  const data::Description description =
      data::write_dataset(folder.path() / "many", testing::tiny_description(), rows, pixels, {}, world);

  const std::int64_t of_some = peak_of_writing(folder.path() / "many", description, 10, kFeatures, world),
                     of_four_times =
                         peak_of_writing(folder.path() / "many", description, 40, kFeatures, world);

  constexpr std::int64_t kMore = 30 * kRows * kFeatures * 4;
  EXPECT_LT(of_four_times, of_some + kMore / world.size() / 2) << "bytes of features besides: " << kMore;
}

}  // namespace
}  // namespace cohort::eval

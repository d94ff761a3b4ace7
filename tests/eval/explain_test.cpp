#include "cohort/eval/explain.h"

#include <cmath>
#include <cstring>
#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/data/batch.h"
#include "cohort/data/image_codec.h"
#include "cohort/eval/picture.h"
#include "cohort/nn/explain.h"
#include "cohort/nn/resnet.h"

#include "support/ranks.h"
#include "support/small_model.h"
#include "support/tiny_dataset.h"

namespace cohort::eval {
namespace {

EvalConfig groups_of_three() {
  EvalConfig config;
  config.context_images = 3;
  return config;
}

nn::VitShape explained_shape(std::int64_t classes) {
  nn::VitShape shape = testing::small_shape({"site"}, nn::Amortization::mean_linear, {6});
  shape.classes = classes;
  return shape;
}

class ExplainTest : public ::testing::Test {
 protected:
  ExplainTest() { testing::write_tiny_dataset(folder.path() / "tiny", world); }
  Explanation explain_with(nn::VisionTransformer& model, comm::Communicator& ranks,
                           const std::vector<std::int64_t>& rows) {
    return explain(model, dataset(), rows, "site", groups_of_three(), augment::Normalisation::dataset, ranks);
  }
  data::Dataset dataset() const { return data::Dataset::open(folder.path() / "tiny", "test"); }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

TEST_F(ExplainTest, RowsAreInTheOrderAskedForWhateverTheNumberOfRanks) {
  comm::Communicator alone = world.split(world.rank(), "alone");
  nn::VisionTransformer model(explained_shape(2), 5);

  const Explanation together = explain_with(model, world, {20, 1, 0, 13}),
                    single = explain_with(model, alone, {0, 1, 13, 20});

  const at::Tensor order = testing::indices({3, 1, 0, 2});
  EXPECT_EQ(together.heads.sizes(), (std::vector<std::int64_t>{4, 3, 1, 2, 2}));
  EXPECT_TRUE(at::equal(together.rollout, single.rollout.index_select(0, order)));
  EXPECT_TRUE(at::equal(together.heads, single.heads.index_select(0, order)));
  EXPECT_TRUE(at::equal(together.saliency, single.saliency.index_select(0, order)));
  EXPECT_TRUE(at::equal(together.logits, single.logits.index_select(0, order)));
}

// Rows 0, 1 and 2 are one group of one site.
TEST_F(ExplainTest, MapsAreOfTheImageInItsGroup) {
  nn::VisionTransformer model(explained_shape(2), 5);
  const std::vector<data::Group> group{{1, 0, {0, 1, 2}}};
  const data::Dataset split = dataset();
  (void)split.context_runs("site");
  const auto view = augment::evaluation_view(split.description(), augment::Normalisation::dataset);
  Workers workers(1);
  const data::Batch batch = data::make_batch(split, group, {{"site"}, ""}, *view, workers);
  const at::NoGradGuard no_gradients;
  const nn::Trail trail = nn::encode_with_trail(
      model, batch.views.front(), {.context = batch.context, .group = batch.group, .sample = batch.sample});
  const nn::PatchGrid grid{2, 2};
  const at::Tensor attention = nn::attention_weights(model, 2, trail.inputs[2]);

  const Explanation explanation = explain_with(model, world, {1});

  EXPECT_TRUE(at::allclose(explanation.logits[0], trail.logits[1]));
  EXPECT_TRUE(at::allclose(explanation.rollout.flatten(), nn::attention_rollout(model, trail)[1]));
  // cls, the context token, then patches.
  EXPECT_TRUE(at::allclose(explanation.heads[0].flatten(1), attention[1].select(1, 0).narrow(1, 2, 4)));
  const at::Tensor saliency = nn::scaled_maps(nn::reciprocam(model, trail, grid));
  EXPECT_TRUE(at::allclose(explanation.saliency[0].flatten(1), saliency[1], 1e-4, 1e-5));
}

TEST_F(ExplainTest, AResidualNetworkHasSaliencyAlone) {
  nn::ResNetShape shape = *nn::resnet_shape("resnet18");
  shape.channels = 1;
  shape.width = 4;
  shape.classes = 2;
  shape.stem = nn::Stem::small;
  nn::ResNet model(shape, 5);
  comm::Communicator alone = world.split(world.rank(), "alone");
  const auto explained = [&](comm::Communicator& ranks) {
    return explain(model, dataset(), std::vector<std::int64_t>{20, 1, 0}, "site", groups_of_three(),
                   augment::Normalisation::dataset, ranks, {.reciprocam = {.block = 2}});
  };

  const Explanation explanation = explained(world);

  EXPECT_FALSE(explanation.rollout.defined());
  EXPECT_FALSE(explanation.heads.defined());
  EXPECT_EQ(explanation.saliency.sizes(), (std::vector<std::int64_t>{3, 2, 1, 2, 2}));
  EXPECT_TRUE(at::equal(explanation.saliency, explained(alone).saliency));
  EXPECT_TRUE(at::equal(explanation.logits, explained(alone).logits));
}

TEST_F(ExplainTest, AModelWithoutAHeadHasAttentionAlone) {
  nn::VisionTransformer model(explained_shape(0), 5);

  const Explanation explanation = explain_with(model, world, {4, 5});

  EXPECT_EQ(explanation.rollout.size(0), 2);
  EXPECT_FALSE(explanation.saliency.defined());
  EXPECT_FALSE(explanation.logits.defined());
}

/// Row by row, the last one first, each on one rank.
Similar most_similar(const at::Tensor& bank, const at::Tensor& queries, std::int64_t k,
                     comm::Communicator& ranks, const at::Tensor& own = {}) {
  SimilarImages similar(queries, k, own);
  for (std::int64_t row = bank.size(0) - 1; row >= 0; --row)
    if (row % ranks.size() == ranks.rank()) similar.add(testing::indices({row}), bank.narrow(0, row, 1));
  return similar.finish(ranks);
}

TEST(MostSimilar, ComesFirst) {
  comm::Communicator world = test::world();
  const at::Tensor bank = at::tensor({1.0, 0.0, 0.0, 3.0, 2.0, 2.0, -1.0, 0.0}, at::kFloat).view({4, 2}),
                   query = at::tensor({5.0, 0.5}, at::kFloat).view({1, 2});

  const Similar similar = most_similar(bank, query, 3, world);

  EXPECT_TRUE(at::equal(similar.row, testing::indices({0, 2, 1}).view({1, 3})));
  EXPECT_NEAR(similar.similarity[0][0].item<double>(), 5 / std::sqrt(25.25), 1e-6);
  EXPECT_TRUE(at::equal(most_similar(bank, query, 3, world, testing::indices({0})).row,
                        testing::indices({2, 1, 3}).view({1, 3})));
}

TEST(MostSimilar, OfEqualOnesHaveTheLowestRows) {
  comm::Communicator world = test::world();
  const at::Tensor bank = at::ones({9, 3}), queries = at::ones({2, 3});

  const Similar similar = most_similar(bank, queries, 4, world, testing::indices({1, 20}));

  EXPECT_TRUE(at::equal(similar.row, testing::indices({0, 2, 3, 4, 0, 1, 2, 3}).view({2, 4})));
}

TEST(MostSimilar, AreNotOfFewerImagesOrOfNoNumbers) {
  comm::Communicator world = test::world();
  at::Tensor bank = at::ones({3, 2});

  EXPECT_THROW(most_similar(bank, bank.narrow(0, 0, 1), 3, world, testing::indices({0})), Bug);
  bank.fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THROW(most_similar(bank, at::ones({1, 2}), 2, world), Bug);
}

// Values of very different sizes, of which sums in another order would be others.
TEST(ContextTokens, AreTheMeansOfAllRanksToTheBit) {
  comm::Communicator world = test::world();
  const at::Tensor tokens =
                       testing::normal_values({200, 4}) * at::exp2(at::arange(200) % 20 - 10).unsqueeze(1),
                   contexts = at::arange(200) % 3;
  ContextTokens means(5, 4), single(5, 4);
  for (std::int64_t i = world.rank(); i < 200; i += world.size())
    means.add(contexts.narrow(0, i, 1), tokens.narrow(0, i, 1));
  single.add(contexts, tokens);

  means.add_up(world);

  EXPECT_EQ(means.images(0), 67);
  EXPECT_EQ(means.images(4), 0);
  for (std::int64_t context = 0; context < 3; ++context) {
    const at::Tensor expected = tokens.index({contexts.eq(context)}).to(at::kDouble).mean(0);
    EXPECT_TRUE(means.mean(context).equal(single.mean(context)));
    EXPECT_TRUE(at::allclose(means.mean(context), expected, 1e-13, 1e-15));
  }
}

// Points on a line along (3, 4, 0), and one beside it.
TEST(PrincipalComponents, AreTheDirectionsOfMostVariance) {
  const at::Tensor line = at::tensor({3.0, 4.0, 0.0}, at::kDouble);
  const at::Tensor tokens =
      at::stack({line * -1, line * 0, line * 1, line * 0 + at::tensor({0.0, 0.0, 0.1})});

  const Projection projection = principal_components(tokens);

  EXPECT_NEAR(projection.points[2][0].abs().item<double>(), 5.0, 1e-9);
  EXPECT_NEAR(projection.points[0][0].item<double>(), -projection.points[2][0].item<double>(), 1e-9);
  EXPECT_NEAR(projection.shares[0], 50 / (50 + 0.0075), 1e-9);
  EXPECT_NEAR(projection.shares[0] + projection.shares[1], 1.0, 1e-12);
  EXPECT_GT(projection.points.select(1, 0).max().item<double>(), 0.0);
}

TEST(PrincipalComponents, OfOneTokenAreZero) {
  const Projection projection = principal_components(at::ones({1, 4}));

  EXPECT_TRUE(at::equal(projection.points, at::zeros({1, 2}, at::kDouble)));
  EXPECT_EQ(projection.shares[0], 0.0);
}

/// [3, H, W] u8 of a PNG, whose size is known.
at::Tensor decoded(const std::string& png, std::int64_t height, std::int64_t width) {
  const data::ImageLayout layout{data::PixelType::u8, 3, height, width};
  at::Tensor pixels = at::empty({3, height, width}, at::kByte);
  const std::span bytes(pixels.mutable_data_ptr<std::uint8_t>(), static_cast<std::size_t>(pixels.numel()));
  data::decode_image(data::Codec::png, layout, std::as_bytes(std::span(png)), std::as_writable_bytes(bytes));
  return pixels;
}

TEST(Pictures, StandBesideEachOtherAndAreEnlargedByAWholeFactor) {
  const data::Description description = testing::tiny_description();
  const std::vector<at::Tensor> images{at::full({1, 8, 8}, 51.0), at::full({1, 8, 8}, 204.0)};

  const at::Tensor strip = decoded(picture_strip(images, description), 112, 228);

  EXPECT_TRUE(strip.narrow(2, 0, 112).eq(51).all().item<bool>());
  EXPECT_TRUE(strip.narrow(2, 112, 4).eq(255).all().item<bool>());
  EXPECT_TRUE(strip.narrow(2, 116, 112).eq(204).all().item<bool>());
}

TEST(Pictures, ViewsHaveALineForEachImageAndAColumnForEachView) {
  const at::Tensor levels = at::tensor({-2.0, 2.0, 0.0}, at::kFloat).view({3, 1, 1, 1});
  const std::vector<at::Tensor> views{levels.expand({3, 1, 28, 28}), levels.expand({3, 1, 8, 8})};

  // 28 and 8 pixels, enlarged by 4.
  const at::Tensor sheet = decoded(view_sheet(views), 3 * 112 + 2 * 4, 2 * 112 + 4);

  EXPECT_TRUE(sheet.narrow(1, 0, 112).narrow(2, 0, 112).eq(0).all().item<bool>());
  EXPECT_TRUE(sheet.narrow(1, 0, 32).narrow(2, 116, 32).eq(0).all().item<bool>());
  EXPECT_TRUE(sheet.narrow(1, 32, 80).narrow(2, 116, 112).eq(255).all().item<bool>());
  EXPECT_TRUE(sheet.narrow(1, 232, 112).narrow(2, 0, 112).eq(128).all().item<bool>());
}

TEST(Pictures, ViewsStandBesideWhatTheyShow) {
  const std::vector<at::Tensor> views{at::full({1, 1, 28, 28}, 2.0F)},
      stored{at::full({1, 1, 28, 28}, 51.0F)};

  const at::Tensor sheet = decoded(view_sheet(views, stored, testing::tiny_description()), 112, 2 * 112 + 4);

  EXPECT_TRUE(sheet.narrow(2, 0, 112).eq(51).all().item<bool>());
  EXPECT_TRUE(sheet.narrow(2, 116, 112).eq(255).all().item<bool>());
}

TEST(Pictures, AnExplainedImageStandsBesideItsMapAndBoth) {
  const data::Description description = testing::tiny_description();
  const at::Tensor map = at::tensor({0.0, 0.0, 0.0, 1.0}, at::kFloat).view({2, 2});

  const at::Tensor strip = decoded(explained_strip(at::full({1, 8, 8}, 51.0), map, description), 112, 344);

  EXPECT_TRUE(strip.narrow(2, 0, 112).eq(51).all().item<bool>());
  const at::Tensor places = strip.narrow(2, 116, 112);
  EXPECT_TRUE(
      at::equal(places.narrow(1, 0, 56), places.narrow(1, 0, 1).narrow(2, 0, 1).expand({3, 56, 112})));
  EXPECT_GT(places[1][111][111].item<int>(), places[1][0][0].item<int>() + 80);
  EXPECT_GT(strip[1][111][343].item<int>(), strip[1][0][232].item<int>() + 40);
}

TEST(Pictures, ChannelsStandBesideEachOtherUnderMapsOfOneScale) {
  data::Description description = testing::tiny_description();
  description.images.channels = 2;
  const at::Tensor image = at::stack({at::full({8, 8}, 51.0), at::full({8, 8}, 204.0)}),
                   maps = at::tensor({0.0, 1.0}, at::kFloat).view({2, 1, 1});

  const at::Tensor strip = decoded(channel_strip(image, maps, description), 112, 228);

  // 0.4 of the gray and 0.6 of the colour of 0, and of 1.
  EXPECT_NEAR(strip[0][50][50].item<double>(), 0.4 * 51 + 0.6 * 0.03 * 255, 1.0);
  EXPECT_NEAR(strip[0][50][166].item<double>(), 0.4 * 204 + 0.6 * 255, 1.0);
}

TEST(Pictures, MapsAreBrightWhereTheyAreHigh) {
  const data::Description description = testing::tiny_description();
  const std::vector<at::Tensor> maps{at::tensor({0.2, 0.2, 0.2, 0.9}, at::kFloat).view({2, 2})};

  const at::Tensor strip = decoded(map_strip(at::full({1, 8, 8}, 128.0), maps, description), 112, 228);

  const at::Tensor map = strip.narrow(2, 116, 112).to(at::kFloat).mean(0);
  EXPECT_GT(map[111][111].item<float>(), map[0][0].item<float>() + 80);
  EXPECT_FALSE(at::equal(strip[0].narrow(1, 116, 112), strip[2].narrow(1, 116, 112))) << "in colour";
}

}  // namespace
}  // namespace cohort::eval

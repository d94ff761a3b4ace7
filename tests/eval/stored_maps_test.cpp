#include "cohort/eval/stored_maps.h"

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/eval/explain.h"
#include "cohort/nn/explain.h"

#include "support/ranks.h"
#include "support/small_model.h"
#include "support/tiny_dataset.h"

namespace cohort::eval {
namespace {

const std::vector<MappedClass> kBright{{1, "bright"}};

class StoredMapsTest : public ::testing::Test {
 protected:
  StoredMapsTest() { testing::write_tiny_dataset(folder.path() / "tiny", world); }
  data::Dataset dataset() const { return data::Dataset::open(folder.path() / "tiny", "test"); }
  static EvalConfig groups_of_three() {
    EvalConfig config;
    config.context_images = 3;
    return config;
  }
  at::Tensor stored(nn::Encoder& model, const std::vector<MappedClass>& classes, comm::Communicator& ranks,
                    const nn::ExplainerConfig& how = {}) const {
    return store_maps(model, dataset(), classes, "site", groups_of_three(), augment::Normalisation::dataset,
                      ranks, how)
        .block(0, testing::kTinyTest);
  }
  static std::shared_ptr<nn::VisionTransformer> transformer(std::int64_t classes) {
    nn::VitShape shape = testing::small_shape({"site"}, nn::Amortization::mean_linear, {6});
    shape.classes = classes;
    return testing::small_model(shape, 4.0);
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

TEST_F(StoredMapsTest, HaveTheSameBitsOnAnyNumberOfRanks) {
  comm::Communicator alone = world.split(world.rank(), "alone");
  const auto model = transformer(2);

  const at::Tensor together = stored(*model, kBright, world);

  EXPECT_EQ(together.sizes(), (std::vector<std::int64_t>{28, 2, 2, 2}));
  EXPECT_TRUE(at::equal(together, stored(*model, kBright, alone)));
  EXPECT_EQ(stored_map_names(*model, kBright), (std::vector<std::string>{"attention", "saliency_bright"}));
}

// Those of explain(), which scales each saliency by itself.
TEST_F(StoredMapsTest, AreThoseOfEveryImageOnOneScale) {
  const auto model = transformer(2);
  std::vector<std::int64_t> rows(28);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  const Explanation each =
      explain(*model, dataset(), rows, "site", groups_of_three(), augment::Normalisation::dataset, world);

  const at::Tensor maps = stored(*model, kBright, world);

  EXPECT_TRUE(at::allclose(maps.select(1, 0), each.rollout.select(1, 0) * 4, 1e-6));
  const at::Tensor saliency = maps.select(1, 1);
  EXPECT_TRUE(
      at::allclose(nn::scaled_maps(saliency.flatten(1)), each.saliency.select(1, 1).flatten(1), 1e-6));
  EXPECT_FALSE(at::allclose(saliency.amax(at::IntArrayRef{1, 2}), at::ones({28}), 1e-3));
}

// On a map of softmax the classes of a place add up to 1.
TEST_F(StoredMapsTest, OfSoftmaxAreProbabilities) {
  const auto model = transformer(2);
  nn::ExplainerConfig how;
  how.reciprocam.score = nn::MapScore::softmax;

  const at::Tensor maps = stored(*model, {{0, "dark"}, {1, "bright"}}, world, how);

  EXPECT_TRUE(at::allclose(maps.select(1, 1) + maps.select(1, 2), at::ones({28, 2, 2}), 1e-5));
}

TEST_F(StoredMapsTest, WithoutAHeadAreOfAttentionAlone) {
  const auto model = transformer(0);

  EXPECT_EQ(stored(*model, {}, world).sizes(), (std::vector<std::int64_t>{28, 1, 2, 2}));
}

TEST_F(StoredMapsTest, OfAResidualNetworkAreOfTheStageThatIsAskedFor) {
  nn::ResNetShape shape = *nn::resnet_shape("resnet18");
  shape.width = 4;
  shape.classes = 2;
  shape.channels = 1;
  nn::ResNet model(shape, /*seed=*/3);
  model.eval();
  nn::ExplainerConfig how;
  how.reciprocam.block = 4;

  const at::Tensor maps = stored(model, kBright, world, how);

  EXPECT_EQ(maps.sizes(), (std::vector<std::int64_t>{28, 1, 2, 2}));
}

TEST_F(StoredMapsTest, AnswersThatAreNotFiniteAreRefusedOnEveryRank) {
  const auto model = transformer(2);
  const at::NoGradGuard no_gradients;
  model->named_parameters()["head.bias"].fill_(std::numeric_limits<float>::quiet_NaN());

  EXPECT_THROW((void)stored(*model, kBright, world), NumericalError);
}

}  // namespace
}  // namespace cohort::eval

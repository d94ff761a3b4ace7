#include "cohort/nn/explainer.h"

#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/optim/adam.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort::nn {
namespace {

using testing::normal_values;
using testing::relative_difference;

constexpr std::int64_t kSide = 24, kSquare = 8;

/// Noise of [3, 24, 24] with a square of 8 x 8 in one of three colours: the class.
struct Square {
  at::Tensor image;
  std::int64_t colour, top, left;
};

Square square_of(std::int64_t number) {
  RandomStream random({.seed = 11, .purpose = Purpose::synthetic, .sample = number});
  const auto below = [&](std::int64_t end) {
    return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(end)));
  };
  Square made{normal_values({3, kSide, kSide}, number) * 0.3, below(3), below(kSide - kSquare + 1),
              below(kSide - kSquare + 1)};
  made.image[made.colour].narrow(0, made.top, kSquare).narrow(1, made.left, kSquare).add_(2.0);
  return made;
}

VitShape shape_of_squares() {
  VitShape shape = testing::small_shape();
  shape.channels = 3;
  shape.height = shape.width = kSide;
  shape.depth = 2;
  shape.classes = 3;
  return shape;
}

void train_on_squares(VisionTransformer& model) {
  torch::optim::Adam optimizer(model.parameters(), torch::optim::AdamOptions(3e-3));
  for (std::int64_t step = 0; step < 60; ++step) {
    std::vector<at::Tensor> images;
    std::vector<std::int64_t> colours;
    for (std::int64_t i = 0; i < 16; ++i) {
      const Square made = square_of(16 * step + i);
      images.push_back(made.image);
      colours.push_back(made.colour);
    }
    optimizer.zero_grad();
    const auto output = testing::encode(model, at::stack(images), {});
    at::cross_entropy_loss(output.logits, at::tensor(colours, at::kLong)).backward();
    optimizer.step();
  }
}

/// Whether the brightest place of the map, [h, w], lies in the square.
bool points_at(const Square& square, const at::Tensor& map) {
  const at::Tensor large = at::upsample_bilinear2d(map.unsqueeze(0).unsqueeze(0), {kSide, kSide}, false);
  const std::int64_t brightest = large.flatten().argmax().item<std::int64_t>(), row = brightest / kSide,
                     column = brightest % kSide;
  return row >= square.top && row < square.top + kSquare && column >= square.left &&
         column < square.left + kSquare;
}

/// What a map of 50 images that were not trained on tells.
struct Pointed {
  std::int64_t right = 0, hits = 0;  ///< answers; maps whose brightest place lies in the square
};

Pointed pointed_by(VisionTransformer& model, const ReciprocamConfig& config) {
  const at::NoGradGuard no_gradients;
  const auto explainers = explainers_of(model, {.reciprocam = config});
  EXPECT_EQ(explainers.front()->name(), "reciprocam");
  Pointed pointed;
  for (std::int64_t i = 0; i < 50; ++i) {
    const Square made = square_of(200'000 + i);
    explainers.front()->see(made.image.unsqueeze(0), {});
    const Explained found = explainers.front()->explain(made.image.unsqueeze(0), testing::indices({0}));
    pointed.right += found.logits[0].argmax().item<std::int64_t>() == made.colour ? 1 : 0;
    pointed.hits += points_at(made, found.maps[0][made.colour][0]) ? 1 : 0;
  }
  return pointed;
}

// By chance a ninth of them.
TEST(Explainer, PointsAtWhatTheClassIsKnownBy) {
  VitShape shape = shape_of_squares();
  shape.depth = 1;
  VisionTransformer model(shape, /*seed=*/5);
  train_on_squares(model);

  const Pointed pointed = pointed_by(model, {});

  EXPECT_GE(pointed.right, 48);
  EXPECT_GE(pointed.hits, 45);
}

// What enters the last of two blocks as cls knows the class already, whatever patches are shown with it.
TEST(Explainer, PointsAtItBehindAnotherBlockWhereClsIsHidden) {
  VisionTransformer model(shape_of_squares(), /*seed=*/5);
  train_on_squares(model);

  const Pointed pointed = pointed_by(model, {.keep_auxiliary = false});

  EXPECT_GE(pointed.right, 48);
  EXPECT_GE(pointed.hits, 45);
}

std::shared_ptr<ResNet> small_resnet() {
  ResNetShape shape = *resnet_shape("resnet18");
  shape.width = 4;
  shape.classes = 3;
  return std::make_shared<ResNet>(shape, /*seed=*/3);
}

// Of the last map the mean and a linear head are all that follows.
TEST(Explainer, OfAResidualNetworkHasTheMapOfItsHead) {
  const at::NoGradGuard no_gradients;
  const auto model = small_resnet();
  const at::Tensor images = normal_values({2, 3, 96, 64});
  const auto output = model->encode(images, {}, Encoder::maps | Encoder::logits);
  const at::Tensor map = output.maps[3].values;  // [2, 32, 3, 2]
  const auto parameters = model->named_parameters();
  const at::Tensor head = parameters["fc.weight"].view({3, 32, 1, 1});
  const at::Tensor linear = at::conv2d(map, head) / 6 + parameters["fc.bias"].view({1, 3, 1, 1});
  const auto explainers = explainers_of(*model, {.reciprocam = {.mask = PlaceMask::delta, .chunk = 4}});
  ASSERT_EQ(explainers.size(), 1U);

  const Explained found = explainers.front()->explain(images, testing::indices({0, 1}));

  EXPECT_LT(relative_difference(found.maps, linear.unsqueeze(2)), 1e-5);
  EXPECT_TRUE(at::equal(found.logits, output.logits));
  EXPECT_TRUE(at::equal(explainers.front()->logits(images, testing::indices({0, 1})), output.logits));
}

TEST(Explainer, MasksTheMapOfAnEarlierStage) {
  const at::NoGradGuard no_gradients;
  const auto model = small_resnet();
  const at::Tensor images = normal_values({1, 3, 64, 64});
  const auto output = model->encode(images, {}, Encoder::maps | Encoder::logits);
  const at::Tensor& map = output.maps[2].values;  // [1, 16, 4, 4]

  const auto explainers =
      explainers_of(*model, {.reciprocam = {.mask = PlaceMask::square, .side = 3, .block = 2}});
  const Explained found = explainers.front()->explain(images, testing::indices({0}));

  EXPECT_LT(relative_difference(model->logits_from(3, map), output.logits), 1e-5);
  ASSERT_EQ(found.maps.sizes(), (std::vector<std::int64_t>{1, 3, 1, 4, 4}));
  at::Tensor corner = at::zeros_like(map);
  corner.narrow(2, 0, 2).narrow(3, 0, 2).copy_(map.narrow(2, 0, 2).narrow(3, 0, 2));
  EXPECT_LT(relative_difference(found.maps[0].select(2, 0).select(2, 0).flatten(),
                                model->logits_from(3, corner)[0]),
            1e-5);
}

TEST(Explainer, AMapForEachChannelOfAChannelVit) {
  const at::NoGradGuard no_gradients;
  VitShape shape = testing::small_shape();
  shape.family = Family::channelvit;
  shape.channels = 2;
  shape.height = 16;
  shape.classes = 2;
  const auto model = testing::small_model(shape, 4.0);
  for (const auto& explainer : explainers_of(*model)) {
    const at::Tensor images = normal_values({3, 2, 16, 8});
    explainer->see(images, testing::conditions_for(3, 0));
    const Explained found = explainer->explain(images.narrow(0, 1, 1), testing::indices({1}));
    EXPECT_EQ(found.maps.sizes(),
              (std::vector<std::int64_t>{1, explainer->name() == "rollout" ? 1 : 2, 2, 4, 2}));
  }
}

TEST(Explainer, Bf16IsCloseAndItsScoresAreFp32) {
  const at::NoGradGuard no_gradients;
  VitShape shape = testing::small_shape();
  shape.classes = 3;
  const auto model = testing::small_model(shape, 4.0);
  const at::Tensor images = normal_values({2, 1, 8, 8}), from = testing::indices({0, 1});
  for (const std::int64_t block : {1, 2}) {
    const auto exact = explainers_of(*model, {.reciprocam = {.block = block}}),
               narrow = explainers_of(*model, {.reciprocam = {.block = block}, .bf16 = true});
    exact.front()->see(images, testing::conditions_for(2, 0));
    narrow.front()->see(images, testing::conditions_for(2, 0));
    const Explained close = narrow.front()->explain(images, from),
                    wanted = exact.front()->explain(images, from);
    EXPECT_EQ(close.maps.scalar_type(), at::kFloat);
    EXPECT_LT(relative_difference(close.maps, wanted.maps), 0.1);
    EXPECT_GT(relative_difference(close.maps, wanted.maps), 0.0);
  }
}

/// What a user is told.
std::string refusal_of(const Encoder& model, const ReciprocamConfig& config) {
  try {
    check_explainable(model, config);
  } catch (const UsageError& error) {
    return error.text().what;
  }
  return "";
}

TEST(Explainer, RefusesWhatThereIsNot) {
  VitShape shape = testing::small_shape();
  const VisionTransformer transformer(shape, 1);
  ResNetShape headless = *resnet_shape("resnet18");
  headless.width = 4;

  EXPECT_EQ(refusal_of(transformer, {.block = 3}), "");
  EXPECT_EQ(refusal_of(transformer, {.block = 4}), "the model has no block 4 from the end");
  EXPECT_EQ(refusal_of(*small_resnet(), {.block = 4}), "");
  EXPECT_EQ(refusal_of(*small_resnet(), {.block = 5}), "the model has no stage 5 from the end");
  EXPECT_EQ(refusal_of(ResNet(headless, 1), {}), "a residual network without a head has nothing to explain");
}

}  // namespace
}  // namespace cohort::nn

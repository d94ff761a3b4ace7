// World-size invariance: a fixed global batch, divided over the ranks in whole groups, gives the loss and the
// gradients of one rank.
#include "../support/ranks.h"

#include <chrono>
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/config/field.h"
#include "cohort/nn/batch_norm.h"
#include "cohort/nn/vit.h"

#include "../support/golden.h"
#include "../support/small_model.h"

namespace cohort {
namespace {

using nn::Amortization;
using nn::Scope;
using testing::normal_values;
using testing::relative_difference;
using testing::small_model;
using testing::small_shape;

constexpr std::int64_t kGroups = 12, kImagesPerGroup = 2, kImages = kGroups * kImagesPerGroup;

struct Piece {
  at::Tensor images, weight;
  nn::Conditions conditions;
};

// Groups of three plates, which all ranks hold; images of a group differ in their camera.
Piece global_batch(Scope scope) {
  // Positive weights: a loss whose terms cancel would be known to fewer digits than the terms themselves.
  Piece batch{normal_values({kImages, 1, 8, 8}), normal_values({kImages, 24}, 1).abs(), {}};
  const at::Tensor image = at::arange(kImages);
  batch.conditions.group = image.div(kImagesPerGroup, "floor");
  batch.conditions.context = at::stack({batch.conditions.group % 3, image.mul(5) % 4}, 1);
  batch.conditions.sample = image * 37 + 11;
  batch.conditions.training = true;
  batch.conditions.scope = scope;
  return batch;
}

Piece share(const Piece& batch, std::int64_t rank, std::int64_t ranks) {
  const std::int64_t count = kImages / ranks, begin = rank * count;
  Piece piece{batch.images.narrow(0, begin, count), batch.weight.narrow(0, begin, count), batch.conditions};
  for (at::Tensor nn::Conditions::*field :
       {&nn::Conditions::group, &nn::Conditions::context, &nn::Conditions::sample}) {
    piece.conditions.*field = (batch.conditions.*field).narrow(0, begin, count);
  }
  return piece;
}

nn::VitShape dropping_shape(Amortization amortization) {
  nn::VitShape shape = small_shape({"plate", "camera"}, amortization, {3, 4});
  shape.dropout = 0.1;
  shape.drop_path = 0.3;
  return shape;
}

// The loss of `piece` and its gradients, in a map with the loss under "loss".
std::map<std::string, at::Tensor> loss_and_gradients(nn::VisionTransformer& model, const Piece& piece) {
  for (const auto& parameter : model.parameters()) parameter.mutable_grad().reset();
  const at::Tensor cls = testing::encode(model, piece.images, piece.conditions).pooled;
  const at::Tensor loss = (cls.square() * piece.weight).sum() / static_cast<double>(kImages);
  loss.backward();
  auto result = testing::gradients(model);
  result["loss"] = loss.detach().clone();
  return result;
}

class Ranks : public ::testing::Test {
 protected:
  void expect_invariant(Amortization amortization, Scope scope) {
    const auto model = small_model(dropping_shape(amortization), /*gain=*/3.0);
    const Piece batch = global_batch(scope);
    const auto expected = loss_and_gradients(*model, batch);
    Piece piece = share(batch, world_.rank(), world_.size());
    piece.conditions.ranks = &world_;

    auto summed = loss_and_gradients(*model, piece);

    for (auto& [name, tensor] : summed) {
      world_.all_reduce(tensor).wait();
      EXPECT_LE(relative_difference(tensor, expected.at(name)), 1e-5)
          << config::enum_name(amortization) << ' ' << name;
    }
  }

  void expect_all_invariant(Scope scope) {
    for (const auto& entry : enum_names(Amortization{})) expect_invariant(entry.value, scope);
  }

  comm::Communicator world_ = test::world(std::chrono::seconds(60));
};

TEST_F(Ranks, GroupScopeGivesTheLossAndGradientsOfOneRank) {
  expect_all_invariant(Scope::group);
}

TEST_F(Ranks, GlobalScopeGivesTheLossAndGradientsOfOneRank) {
  expect_all_invariant(Scope::global);
}

// From two ranks on. Guards the test above: without the sum over ranks the means are others.
TEST_F(Ranks, GlobalScopeDependsOnTheOtherRanks) {
  const auto model = small_model(dropping_shape(Amortization::mean), /*gain=*/3.0);
  Piece piece = share(global_batch(Scope::global), world_.rank(), world_.size());
  const at::Tensor alone = testing::encode(*model, piece.images, piece.conditions).context.detach();
  piece.conditions.ranks = &world_;
  const at::Tensor together = testing::encode(*model, piece.images, piece.conditions).context.detach();
  EXPECT_GT(relative_difference(alone, together), 1e-2);
}

struct Normalised {
  at::Tensor loss, gradient, weight_gradient, running_mean, running_var;
};

// Groups first … first + count - 1 of twelve, of two images each; sums over all ranks.
Normalised normalise(nn::NormScope scope, std::int64_t first, std::int64_t count, comm::Communicator& ranks) {
  const at::Tensor images = normal_values({kImages, 3, 4, 4}).narrow(0, first * kImagesPerGroup, count * 2);
  const at::Tensor weight =
      normal_values({kImages, 3, 4, 4}, 1).narrow(0, first * kImagesPerGroup, count * 2);
  const at::Tensor x = images.clone().requires_grad_();
  nn::Conditions conditions;
  conditions.training = true;
  conditions.ranks = &ranks;
  torch::nn::Module model;
  const auto norm = model.register_module("norm", std::make_shared<nn::BatchNorm>(3, scope));
  nn::StepStates states(model);
  states.begin_step();
  const std::vector<std::int64_t> sizes(static_cast<std::size_t>(count), kImagesPerGroup);
  at::Tensor loss = (norm->forward(x, conditions, sizes) * weight).square().sum();
  loss.backward();
  states.finish_step(ranks);
  loss = loss.detach();
  at::Tensor weight_gradient = norm->named_parameters()["weight"].grad();
  for (at::Tensor* sum : {&loss, &weight_gradient}) ranks.all_reduce(*sum).wait();
  const auto buffers = norm->named_buffers();
  return {loss, x.grad(), weight_gradient, buffers["running_mean"], buffers["running_var"]};
}

class NormRanks : public ::testing::TestWithParam<nn::NormScope> {};

TEST_P(NormRanks, BatchNormalisationIsThatOfOneRank) {
  comm::Communicator world = test::world(), self = world.split(world.rank(), "alone");
  const std::int64_t mine = kGroups / world.size(), first = world.rank() * mine;

  const Normalised all = normalise(GetParam(), 0, kGroups, self),
                   shared = normalise(GetParam(), first, mine, world);

  EXPECT_LE(relative_difference(shared.loss, all.loss), 1e-6);
  EXPECT_LE(relative_difference(shared.gradient, all.gradient.narrow(0, 2 * first, 2 * mine)), 1e-4);
  EXPECT_LE(relative_difference(shared.weight_gradient, all.weight_gradient), 1e-5);
  if (GetParam() == nn::NormScope::group) {
    EXPECT_TRUE(at::equal(shared.running_mean, all.running_mean));
    EXPECT_TRUE(at::equal(shared.running_var, all.running_var));
  } else {
    EXPECT_LE(relative_difference(shared.running_mean, all.running_mean), 1e-6);
    EXPECT_LE(relative_difference(shared.running_var, all.running_var), 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Scopes, NormRanks, ::testing::Values(nn::NormScope::group, nn::NormScope::all));

}  // namespace
}  // namespace cohort

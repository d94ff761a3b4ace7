#include "cohort/shard/sharded_model.h"

#include <cmath>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "sharded_fixture.h"

namespace cohort::shard {
namespace {

TEST_P(ShardedModelTest, StartsWithTheNumbersOfRank0) {
  ShardedModel sharded = make();

  const auto wanted = reference();
  const auto expected = wanted->named_parameters();
  std::size_t seen = 0;
  sharded.for_each_parameter([&](const std::string& name, const at::Tensor& values) {
    EXPECT_TRUE(at::equal(values, expected[name])) << name;
    ++seen;
  });
  EXPECT_EQ(seen, ranks_.rank() == 0 ? expected.size() : 0);
  EXPECT_TRUE(at::equal(model_->count, wanted->count));
}

TEST_P(ShardedModelTest, CutsEveryFlatParameterIntoEqualShardsMatricesFirst) {
  ShardedModel sharded = make();

  ASSERT_EQ(sharded.shards().size(), 5U);  // three blocks; trained and frozen parameters of the root
  for (const FlatShard& shard : sharded.shards()) {
    std::int64_t end = 0;
    bool matrices = true;
    for (const ParameterSlot& slot : shard.slots) {
      matrices = matrices && slot.shape.size() >= 2;
      EXPECT_EQ(slot.shape.size() >= 2, matrices) << slot.name;
      EXPECT_EQ(slot.offset % 16, 0) << slot.name;
      EXPECT_GE(slot.offset, end) << slot.name;
      EXPECT_EQ(shard.trained, slot.name != "frozen");
      end = slot.offset + 1;
    }
    EXPECT_EQ(shard.begin % 1024, 0);
    EXPECT_EQ(shard.begin, shard.value.numel() * mesh_.shard());
    EXPECT_EQ(shard.gradient.defined(), shard.trained);
  }
  EXPECT_EQ(sharded.shards()[0].slots[0].name, "block0.unused");
  EXPECT_EQ(sharded.shards()[0].slots[0].layer, 1);
  EXPECT_EQ(sharded.shards()[3].slots[0].name, "embed.weight");
}

TEST_P(ShardedModelTest, GradientsAreSumsOverRanks) {
  ShardedModel sharded = make();
  const auto expected = reference();
  for (int rank = 0; rank < ranks_.size(); ++rank) expected->loss(samples(rank)).backward();

  for (int step = 0; step < 2; ++step) {
    sharded.begin_step();
    backward(sharded, samples(ranks_.rank()));
    expect_close(gradients_of(sharded), gradients_of(*expected));
  }

  EXPECT_GE(sharded.take_wait().count(), 0.0);
  EXPECT_EQ(sharded.take_wait().count(), 0.0);
}

TEST_P(ShardedModelTest, AddsUpOverBackwardPasses) {
  for (const bool every_pass : {false, true}) {
    model_ = reference();
    ShardedModel sharded(model_, {.config = GetParam(), .reduce_every_pass = every_pass}, mesh_);
    const auto expected = reference();
    for (int part = 0; part < 3 * ranks_.size(); ++part) expected->loss(samples(part)).backward();

    sharded.begin_step(3);
    for (int pass = 0; pass < 3; ++pass) backward(sharded, samples(3 * ranks_.rank() + pass));

    expect_close(gradients_of(sharded), gradients_of(*expected));
  }
}

TEST_P(ShardedModelTest, AParameterThatOneRankUsesCountsForAll) {
  ShardedModel sharded = make();
  const auto expected = reference();
  const int user = ranks_.size() - 1;
  for (int rank = 0; rank < ranks_.size(); ++rank) {
    expected->use_shift = rank == user;
    expected->loss(samples(rank)).backward();
  }

  model_->use_shift = ranks_.rank() == user;
  sharded.begin_step();
  backward(sharded, samples(ranks_.rank()));

  const auto gradients = gradients_of(sharded);
  expect_close(gradients, gradients_of(*expected));
  EXPECT_GT(gradients.at("shift").abs().max().item<float>(), 0.0F);
  EXPECT_EQ(gradients.at("block0.unused").abs().max().item<float>(), 0.0F);
}

TEST_P(ShardedModelTest, TwoForwardPassesMayShareABackwardPass) {
  ShardedModel sharded = make();
  const auto expected = reference();
  const auto both = [&](TinyModel& model, int rank) {
    return model.loss(samples(rank)) * model.loss(samples(rank + 7)).log();
  };
  for (int rank = 0; rank < ranks_.size(); ++rank) both(*expected, rank).backward();

  sharded.begin_step();
  both(*model_, ranks_.rank()).backward();
  sharded.finish_backward();

  expect_close(gradients_of(sharded), gradients_of(*expected));
}

TEST_P(ShardedModelTest, StepsOfAnOptimizerGiveTheWeightsOfOneProcess) {
  ShardedModel sharded = make();
  const auto alone = reference();

  for (int step = 0; step < 4; ++step) {
    sharded.begin_step();
    backward(sharded, samples(step * ranks_.size() + ranks_.rank()));
    descend(sharded);
    for (at::Tensor& parameter : alone->parameters()) parameter.mutable_grad() = at::Tensor();
    for (int rank = 0; rank < ranks_.size(); ++rank)
      alone->loss(samples(step * ranks_.size() + rank)).backward();
    const at::NoGradGuard no_grad;
    for (at::Tensor& parameter : alone->parameters()) {
      if (parameter.grad().defined()) parameter.sub_(parameter.grad(), kRate);
    }
  }

  const auto expected = alone->named_parameters();
  sharded.for_each_parameter([&](const std::string& name, const at::Tensor& values) {
    EXPECT_LE((values - expected[name]).abs().max().item<double>(), 1e-5) << name;
  });
  const at::NoGradGuard no_grad;
  EXPECT_NEAR(model_->loss(samples(0)).item<double>(), alone->loss(samples(0)).item<double>(), 1e-3);
}

TEST_P(ShardedModelTest, NormIsThatOfAllGradientsOnEveryRank) {
  ShardedModel sharded = make();
  sharded.begin_step();
  backward(sharded, samples(ranks_.rank()));

  double sum = 0.0;
  for (const auto& [name, gradient] : gradients_of(sharded))
    sum += at::square(gradient.to(at::kDouble)).sum().item<double>();
  EXPECT_NEAR(sharded.gradient_norm(), std::sqrt(sum), 1e-12 * std::sqrt(sum));
  if (mesh_.shard() == 0) sharded.shards()[3].gradient[0].fill_(NAN);
  EXPECT_TRUE(std::isnan(sharded.gradient_norm()));
}

TEST_P(ShardedModelTest, FreesWholeParametersBetweenUses) {
  ShardedModel sharded = make();
  sharded.begin_step();
  backward(sharded, samples(ranks_.rank()));

  const bool divided = GetParam().strategy == Strategy::full || GetParam().strategy == Strategy::hybrid;
  const bool freed = divided && mesh_.shards() > 1;
  for (const at::Tensor& parameter : model_->parameters()) {
    EXPECT_EQ(parameter.storage().nbytes() == 0, freed);
    EXPECT_FALSE(parameter.grad().defined());
  }
}

TEST_P(ShardedModelTest, RefusesMisuse) {
  ShardedModel sharded = make();
  sharded.begin_step();
  backward(sharded, samples(0));

  EXPECT_THROW(model_->loss(samples(0)).backward(), Bug);  // announced one pass
  EXPECT_THROW(sharded.finish_backward(), Bug);
  model_->head->bias.set_data(at::zeros({3}));
  EXPECT_THROW(sharded.begin_step(), Bug);
}

INSTANTIATE_TEST_SUITE_P(Strategies, ShardedModelTest, testing::ValuesIn(sharding_cases()), case_name);

TEST(ShardedModel, FillsAModelWithoutMemoryUnitByUnit) {
  comm::Communicator ranks = test::world();
  comm::DeviceMesh mesh(ranks, ranks.size());
  auto model = std::make_shared<TinyModel>(2.0);
  const auto wanted = std::make_shared<TinyModel>(1.0);
  nn::discard_values(*model);
  const auto expected = wanted->named_parameters();

  ShardedModel sharded(
      model,
      {.config = {.strategy = Strategy::full},
       .fill = [&](const std::string& name, at::Tensor& values) { values.copy_(expected[name]); }},
      mesh);

  const at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(model->loss(samples(0)), wanted->loss(samples(0))));
}

TEST(ShardedModel, AnErrorWhileFillingReachesEveryRank) {
  comm::Communicator ranks = test::world();
  comm::DeviceMesh mesh(ranks, 1);
  const ShardedModel::Options options{.fill = [](const std::string&, at::Tensor&) {
    throw DataError({"no values", "weights", "find some"});
  }};

  EXPECT_THROW(ShardedModel(std::make_shared<TinyModel>(1.0), options, mesh), DataError);
}

TEST(ShardedModel, RefusesModelsThatDifferBetweenRanks) {
  comm::Communicator ranks = test::world();
  comm::DeviceMesh mesh(ranks, 1);
  auto model = std::make_shared<TinyModel>(1.0);
  if (ranks.rank() == 1) model->register_parameter("extra", at::zeros({2}));

  if (ranks.size() == 1) return;
  EXPECT_ANY_THROW(ShardedModel(model, {}, mesh));
}

}  // namespace
}  // namespace cohort::shard

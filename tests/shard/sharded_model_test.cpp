#include "cohort/shard/sharded_model.h"

#include <cmath>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/shard/optimizer.h"

#include "support/ranks.h"
#include "tiny_model.h"

namespace cohort::shard {
namespace {

class ShardedModelTest : public testing::Test {
 protected:
  // Ranks begin with different numbers: what they agree on comes from the broadcast.
  ShardedModelTest() : ranks_(test::world()), model_(std::make_shared<TinyModel>(1.0 + ranks_.rank())) {}

  // A model of rank 0's numbers that no engine touches, on every rank.
  static std::shared_ptr<TinyModel> reference() { return std::make_shared<TinyModel>(1.0); }

  static std::map<std::string, at::Tensor> gradients(const TinyModel& model) {
    std::map<std::string, at::Tensor> result;
    for (const auto& item : model.named_parameters()) {
      const at::Tensor& p = item.value();
      if (p.requires_grad()) result[item.key()] = p.grad().defined() ? p.grad() : at::zeros_like(p);
    }
    return result;
  }

  // fp32 sums of at most 4 ranks in another order: a few units in the last place of the largest gradient.
  static void expect_close(const TinyModel& actual, const TinyModel& expected) {
    const auto wanted = gradients(expected);
    for (const auto& [name, gradient] : gradients(actual)) {
      const at::Tensor& other = wanted.at(name);
      const double scale = std::max(1e-3, other.abs().max().item<double>());
      EXPECT_LE((gradient - other).abs().max().item<double>(), 2e-6 * scale) << name;
    }
  }

  void expect_equal_bits_on_all_ranks(const at::Tensor& values) {
    const at::Tensor all = ranks_.gather_rows(values.detach().reshape({1, -1}).contiguous());
    for (int rank = 1; rank < ranks_.size(); ++rank)
      EXPECT_TRUE(at::equal(all[0], all[rank])) << "rank " << rank;
  }

  comm::Communicator ranks_;
  std::shared_ptr<TinyModel> model_;
};

TEST_F(ShardedModelTest, StartsWithTheNumbersOfRank0) {
  const ShardedModel sharded(model_, {}, ranks_);

  const auto wanted = reference();
  const auto expected = wanted->named_parameters();
  for (const auto& item : model_->named_parameters())
    EXPECT_TRUE(at::equal(item.value(), expected[item.key()])) << item.key();
  EXPECT_TRUE(at::equal(model_->count, wanted->count));
}

TEST_F(ShardedModelTest, LaysMatricesFirstAndKeepsFrozenParametersOut) {
  ShardedModel sharded(model_, {}, ranks_);

  ASSERT_EQ(sharded.shards().size(), 4U);
  for (const FlatShard& shard : sharded.shards()) {
    std::int64_t end = 0;
    for (const ParameterSlot& slot : shard.slots) {
      EXPECT_EQ(slot.shape.size() >= 2, slot.offset < shard.decayed) << slot.name;
      EXPECT_EQ(slot.offset % 16, 0) << slot.name;
      EXPECT_GE(slot.offset, end) << slot.name;
      EXPECT_NE(slot.name, "frozen");
      end = slot.offset + 1;
    }
  }
  EXPECT_EQ(sharded.shards()[0].slots[0].name, "block0.unused");
  EXPECT_EQ(sharded.shards()[3].slots[0].name, "embed.weight");
}

TEST_F(ShardedModelTest, GradientsAreSumsOverRanks) {
  ShardedModel sharded(model_, {}, ranks_);
  const auto expected = reference();
  for (int rank = 0; rank < ranks_.size(); ++rank) expected->loss(samples(rank)).backward();

  sharded.zero_gradients();
  model_->loss(samples(ranks_.rank())).backward();
  sharded.finish_backward();

  expect_close(*model_, *expected);
  for (const FlatShard& shard : sharded.shards()) expect_equal_bits_on_all_ranks(shard.gradient);
  EXPECT_GE(sharded.take_wait().count(), 0.0);
  EXPECT_EQ(sharded.take_wait().count(), 0.0);
}

TEST_F(ShardedModelTest, AutogradAddsIntoTheFlatGradientInPlace) {
  ShardedModel sharded(model_, {}, ranks_);
  const void* before = model_->embed->weight.grad().const_data_ptr();

  for (int step = 0; step < 2; ++step) {
    sharded.zero_gradients();
    model_->loss(samples(0)).backward();
    sharded.finish_backward();
  }

  EXPECT_EQ(model_->embed->weight.grad().const_data_ptr(), before);
  EXPECT_EQ(before, sharded.shards()[3].gradient.const_data_ptr());
  EXPECT_GT(sharded.shards()[3].gradient.abs().max().item<float>(), 0.0F);
}

TEST_F(ShardedModelTest, AddsUpOverBackwardPasses) {
  ShardedModel sharded(model_, {}, ranks_);
  const auto expected = reference();
  for (int part = 0; part < 2 * ranks_.size(); ++part) expected->loss(samples(part)).backward();

  sharded.zero_gradients(2);
  model_->loss(samples(2 * ranks_.rank())).backward();
  model_->loss(samples(2 * ranks_.rank() + 1)).backward();
  sharded.finish_backward();

  expect_close(*model_, *expected);
}

TEST_F(ShardedModelTest, AParameterThatOneRankUsesCountsForAll) {
  ShardedModel sharded(model_, {}, ranks_);
  const auto expected = reference();
  const int user = ranks_.size() - 1;
  for (int rank = 0; rank < ranks_.size(); ++rank) {
    expected->use_shift = rank == user;
    expected->loss(samples(rank)).backward();
  }

  model_->use_shift = ranks_.rank() == user;
  sharded.zero_gradients();
  model_->loss(samples(ranks_.rank())).backward();
  sharded.finish_backward();

  expect_close(*model_, *expected);
  EXPECT_GT(model_->shift.grad().abs().max().item<float>(), 0.0F);
  EXPECT_EQ(model_->blocks[0]->unused.grad().abs().max().item<float>(), 0.0F);
}

// Every unit is complete in backward, but on odd ranks in the opposite order: reductions still meet their
// like.
TEST_F(ShardedModelTest, ReducesInOneOrderWhateverTheOrderOfTheBackwardPass) {
  for (auto& block : model_->blocks) block->unused.set_requires_grad(false);
  ShardedModel sharded(model_, {}, ranks_);
  const auto expected = reference();
  for (int rank = 0; rank < ranks_.size(); ++rank) {
    expected->backwards = rank % 2 == 1;
    expected->loss(samples(rank)).backward();
  }

  model_->backwards = ranks_.rank() % 2 == 1;
  sharded.zero_gradients();
  model_->loss(samples(ranks_.rank())).backward();
  sharded.finish_backward();

  expect_close(*model_, *expected);
}

TEST_F(ShardedModelTest, FiveStepsGiveEqualBitsOnAllRanksAndTheWeightsOfOneProcess) {
  ShardedModel sharded(model_, {}, ranks_);
  AdamW optimizer(sharded.shards(), {});
  const auto alone = reference();
  comm::Communicator self = ranks_.split(ranks_.rank(), "alone");
  ShardedModel alone_sharded(alone, {}, self);
  AdamW alone_optimizer(alone_sharded.shards(), {});

  for (int step = 0; step < 5; ++step) {
    sharded.zero_gradients();
    model_->loss(samples(step * ranks_.size() + ranks_.rank())).backward();
    sharded.finish_backward();
    optimizer.step(1e-2, 0.05, sharded.gradient_norm());
    alone_sharded.zero_gradients(ranks_.size());
    for (int rank = 0; rank < ranks_.size(); ++rank)
      alone->loss(samples(step * ranks_.size() + rank)).backward();
    alone_sharded.finish_backward();
    alone_optimizer.step(1e-2, 0.05, alone_sharded.gradient_norm());
  }

  const auto expected = alone->named_parameters();
  for (const FlatShard& shard : sharded.shards()) expect_equal_bits_on_all_ranks(shard.value);
  for (const auto& item : model_->named_parameters()) {
    // A step moves by about lr; the direction of a tiny gradient may turn with its rounding.
    EXPECT_LE((item.value() - expected[item.key()]).abs().max().item<double>(), 1e-4) << item.key();
  }
}

TEST_F(ShardedModelTest, NormIsThatOfAllGradients) {
  ShardedModel sharded(model_, {}, ranks_);
  sharded.zero_gradients();
  model_->loss(samples(ranks_.rank())).backward();
  sharded.finish_backward();

  double sum = 0.0;
  for (const auto& [name, gradient] : gradients(*model_))
    sum += at::square(gradient.to(at::kDouble)).sum().item<double>();
  EXPECT_NEAR(sharded.gradient_norm(), std::sqrt(sum), 1e-12 * std::sqrt(sum));
  model_->head->bias.mutable_grad().fill_(NAN);
  EXPECT_TRUE(std::isnan(sharded.gradient_norm()));
}

TEST_F(ShardedModelTest, RefusesMisuse) {
  ShardedModel sharded(model_, {}, ranks_);
  sharded.zero_gradients();
  model_->loss(samples(0)).backward();

  EXPECT_THROW(model_->loss(samples(0)).backward(), Bug);  // announced one pass
  sharded.finish_backward();
  EXPECT_THROW(sharded.finish_backward(), Bug);
  EXPECT_THROW(model_->loss(samples(0)).backward(), Bug);  // between two steps
  sharded.zero_gradients();
  model_->head->bias.mutable_grad() = at::zeros({3});
  EXPECT_THROW(sharded.finish_backward(), Bug);
}

TEST_F(ShardedModelTest, RefusesModelsThatDifferBetweenRanks) {
  if (ranks_.rank() == 1) model_->register_parameter("extra", at::zeros({2}));

  if (ranks_.size() == 1) return;
  EXPECT_ANY_THROW(ShardedModel(model_, {}, ranks_));
}

}  // namespace
}  // namespace cohort::shard

#include <set>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "shard/summation_tree.h"
#include "sharded_fixture.h"

namespace cohort::shard {
namespace {

constexpr int kGroups = 12;

// The sum of `values` as a recursion over halves: what the tree promises.
double halves(const std::vector<float>& values, std::size_t begin, std::size_t end) {
  if (end - begin == 1) return values[begin];
  const std::size_t middle = begin + (end - begin) / 2;
  return static_cast<float>(static_cast<float>(halves(values, begin, middle)) +
                            static_cast<float>(halves(values, middle, end)));
}

double added_on(int ranks, const std::vector<float>& values) {
  const SummationTree tree(std::ssize(values), ranks);
  const std::size_t share = values.size() / static_cast<std::size_t>(ranks);
  std::vector<std::vector<float>> stacks;
  const auto add_top = [](std::vector<float>& stack) {
    const float upper = stack.back();
    stack.pop_back();
    stack.back() += upper;
  };
  for (int rank = 0; rank < ranks; ++rank) {
    auto& stack = stacks.emplace_back();
    std::size_t next = static_cast<std::size_t>(rank) * share;
    for (const int sums : tree.sums_after_group(rank)) {
      stack.push_back(values[next++]);
      for (int i = 0; i < sums; ++i) add_top(stack);
    }
    EXPECT_EQ(std::ssize(stack), tree.nodes(rank));
  }
  std::vector<float> stack;
  for (const auto& instruction : tree.merge()) {
    if (instruction.rank < 0) {
      add_top(stack);
    } else {
      stack.push_back(
          stacks[static_cast<std::size_t>(instruction.rank)][static_cast<std::size_t>(instruction.node)]);
    }
  }
  EXPECT_EQ(stack.size(), 1U);
  return stack.front();
}

TEST(SummationTree, AddsInOneOrderOnAnyNumberOfRanks) {
  for (const std::size_t groups : {1U, 2U, 3U, 4U, 6U, 7U, 12U, 30U, 64U}) {
    std::vector<float> values;
    for (std::size_t i = 0; i < groups; ++i) values.push_back(std::sin(static_cast<float>(i) * 12.9F) * 1e3F);
    for (std::size_t ranks = 1; ranks <= groups; ++ranks) {
      if (groups % ranks != 0) continue;
      EXPECT_EQ(added_on(static_cast<int>(ranks), values), halves(values, 0, groups))
          << groups << " on " << ranks;
    }
  }
}

TEST(SummationTree, NeedsOneNodeARankWhereHalvesFallBetweenRanks) {
  EXPECT_EQ(SummationTree(12, 4).most_nodes(), 1);
  EXPECT_EQ(SummationTree(12, 2).most_nodes(), 1);
  EXPECT_GT(SummationTree(12, 3).most_nodes(), 1);
  EXPECT_THROW(SummationTree(12, 5), Bug);
}

class Reproducible : public ShardedModelTest {};

// Three steps of gradient descent on twelve groups, one at a time.
TEST_P(Reproducible, HasTheBitsOfOneRank) {
  const auto train = [](ShardedModel& sharded, TinyModel& model, int rank, int size) {
    const int groups = kGroups / size;
    for (int step = 0; step < 3; ++step) {
      sharded.begin_step(groups);
      for (int i = 0; i < groups; ++i) {
        model.loss(samples(step * kGroups + rank * groups + i)).backward();
        sharded.finish_backward();
      }
      descend(sharded);
    }
  };
  ShardedModel sharded(model_, {.config = GetParam(), .reproducible = true}, mesh_);
  comm::Communicator self = ranks_.split(ranks_.rank(), "alone");
  comm::DeviceMesh alone_mesh(self, 1);
  const auto alone = reference();
  ShardedModel alone_sharded(alone, {.reproducible = true}, alone_mesh);

  train(sharded, *model_, ranks_.rank(), ranks_.size());
  train(alone_sharded, *alone, 0, 1);

  const double norm = sharded.gradient_norm(), alone_norm = alone_sharded.gradient_norm();
  EXPECT_EQ(norm, alone_norm);
  const Tensors expected = parameters_of(alone_sharded);
  sharded.for_each_parameter([&](const std::string& name, const at::Tensor& values) {
    EXPECT_TRUE(at::equal(values, expected.at(name))) << name;
  });
}

INSTANTIATE_TEST_SUITE_P(Strategies, Reproducible, testing::ValuesIn(sharding_cases()), case_name);

}  // namespace
}  // namespace cohort::shard

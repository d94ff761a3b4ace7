// Ranks that are not there: what they are asked for, and what comes back.
#include "cohort/comm/pretended.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/comm/mesh.h"
#include "cohort/core/error.h"

namespace cohort::comm {
namespace {

/// Calls and waits as lines.
class Lines final : public CollectiveObserver {
 public:
  std::size_t started(const CollectiveCall& call) override {
    lines.push_back(fmt::format("{} of {}: {}, {:.0f} B, {:.0f} B moved", call.group, call.ranks,
                                call.operation, call.bytes, call.moved));
    return lines.size() - 1;
  }
  void waited_for(std::size_t number) override { lines.push_back(fmt::format("wait for {}", number)); }

  std::vector<std::string> lines;
};

TEST(PretendedRanks, TellOfCallsAndWaitsInOrder) {
  Lines observer;
  Communicator ranks = pretend_ranks(4, "world", observer);
  {
    const at::Tensor whole = at::ones({8}), part = at::ones({2}).to(at::kBFloat16);
    Work first = ranks.all_reduce(whole);
    ranks.all_gather(at::empty({8}, at::kBFloat16), part).wait();
    first.wait();
    ranks.reduce_scatter(at::empty({2}), whole).wait();
    EXPECT_TRUE(at::equal(whole, at::ones({8})));
  }
  EXPECT_EQ(observer.lines, (std::vector<std::string>{
                                "world of 4: all_reduce f32, 32 B, 32 B moved",
                                "world of 4: all_gather bf16, 4 B, 16 B moved", "wait for 1", "wait for 0",
                                "world of 4: reduce_scatter f32, 32 B, 32 B moved", "wait for 4"}));
}

TEST(PretendedRanks, HaveTheSameAsThisOne) {
  Lines observer;
  Communicator ranks = pretend_ranks(3, "world", observer);

  EXPECT_EQ(ranks.sum(std::int64_t{5}), 15);
  EXPECT_EQ(ranks.max(std::int64_t{5}), 5);
  EXPECT_EQ(ranks.sum(0.5), 1.5);
  EXPECT_EQ(ranks.gather_texts("a"), (std::vector<std::string>{"a", "a", "a"}));
  EXPECT_TRUE(at::equal(ranks.gather_rows(at::arange(2)), at::tensor({0, 1, 0, 1, 0, 1}, at::kLong)));
  EXPECT_NO_THROW(ranks.agree(nullptr));
  EXPECT_EQ(observer.lines.front(), "world of 3: sum i64, 8 B, 8 B moved");
}

TEST(PretendedRanks, FormAMesh) {
  Lines observer;
  const Communicator ranks = pretend_ranks(12, "world", observer);
  DeviceMesh mesh(ranks, 4);

  EXPECT_EQ(mesh.parameters().size(), 4);
  EXPECT_EQ(mesh.gradients().size(), 4);
  EXPECT_EQ(mesh.replicate().size(), 3);
  EXPECT_EQ(mesh.replicate().name(), "replicate");
  EXPECT_EQ(mesh.world().size(), 12);
}

TEST(PretendedRanks, CannotBeAskedForTheirColors) {
  Lines observer;
  const Communicator ranks = pretend_ranks(4, "world", observer);

  EXPECT_THROW((void)ranks.split(1, "half"), Bug);
}

TEST(PretendedRanks, AloneAskNobody) {
  Lines observer;
  Communicator alone = pretend_ranks(1, "world", observer);
  alone.all_reduce(at::ones({4})).wait();

  EXPECT_EQ(alone.sum(std::int64_t{5}), 5);
  EXPECT_TRUE(observer.lines.empty());
}

TEST(PretendedRanks, TakeTensorsWithoutValues) {
  Lines observer;
  Communicator ranks = pretend_ranks(2, "world", observer);
  ranks.all_reduce(at::empty({1 << 20}, at::TensorOptions(at::kMeta))).wait();

  EXPECT_EQ(observer.lines.front(), "world of 2: all_reduce f32, 4194304 B, 4194304 B moved");
}

}  // namespace
}  // namespace cohort::comm

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/shard/sharded_model.h"

#include "support/ranks.h"
#include "tiny_model.h"

namespace cohort::shard {
namespace {

// Two parameters of a unit with padding between, 16 + 3 values.
FlatShard unit(std::int64_t begin, std::int64_t count, int replica, int replicas) {
  FlatShard shard;
  shard.slots = {{"weight", {2, 3}, 0}, {"scale", {}, 16}, {"bias", {2}, 17}};
  shard.begin = begin;
  shard.replica = replica;
  shard.replicas = replicas;
  shard.value = at::arange(19, at::kFloat).narrow(0, begin, count).contiguous();
  return shard;
}

TEST(Pieces, OfAllHoldersAndReplicasCoverEachValueOnce) {
  for (const std::int64_t cut : {0, 1, 4, 6, 10, 16, 17, 18, 19}) {
    for (int replicas = 1; replicas <= 4; ++replicas) {
      std::map<std::string, at::Tensor> seen{
          {"weight", at::zeros({6})}, {"scale", at::zeros({1})}, {"bias", at::zeros({2})}};
      for (int replica = 0; replica < replicas; ++replica) {
        for (const FlatShard& shard :
             {unit(0, cut, replica, replicas), unit(cut, 19 - cut, replica, replicas)}) {
          for (const NamedPiece& piece : pieces_to_save(shard, shard.value)) {
            const std::int64_t offset = piece.name == "weight" ? 0 : piece.name == "scale" ? 16 : 17;
            const std::int64_t n = piece.values.numel();
            EXPECT_GT(n, 0);
            seen.at(piece.name).narrow(0, piece.begin, n).add_(1);
            EXPECT_TRUE(at::equal(piece.values,
                                  at::arange(n, at::kFloat) + static_cast<float>(offset + piece.begin)));
          }
        }
      }
      for (const auto& [name, times] : seen)
        EXPECT_TRUE(at::equal(times, at::ones_like(times))) << name << " cut at " << cut;
    }
  }
}

TEST(Pieces, ToLoadAreViewsOfAllThatIsHeld) {
  const FlatShard shard = unit(2, 16, 1, 3);

  const auto pieces = pieces_to_load(shard, shard.value);

  ASSERT_EQ(pieces.size(), 3U);
  EXPECT_EQ(pieces[0].begin, 2);
  EXPECT_EQ(pieces[0].values.numel(), 4);
  EXPECT_EQ(pieces[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(pieces[2].name, "bias");
  EXPECT_EQ(pieces[2].values.numel(), 1);
  pieces[2].values.fill_(-1);
  EXPECT_EQ(shard.value[15].item<float>(), -1.0F);
  EXPECT_THROW(pieces_to_load(shard, at::zeros({3})), Bug);
}

TEST(Pieces, OfAReplicatedModelAreEvenSharesOfEveryParameter) {
  comm::Communicator ranks = test::world();
  auto model = std::make_shared<TinyModel>(1.0);
  comm::DeviceMesh mesh(ranks, 1);
  ShardedModel sharded(model, {}, mesh);

  std::int64_t mine = 0, all = 0;
  for (const FlatShard& shard : sharded.shards()) {
    for (const NamedPiece& piece : pieces_to_save(shard, shard.value)) mine += piece.values.numel();
    for (const NamedPiece& piece : pieces_to_load(shard, shard.value)) all += piece.values.numel();
  }

  std::int64_t parameters = 0;
  for (const at::Tensor& p : model->parameters()) parameters += p.numel();
  EXPECT_EQ(all, parameters);
  EXPECT_EQ(ranks.sum(mine), parameters);
  EXPECT_NEAR(static_cast<double>(mine), static_cast<double>(parameters) / ranks.size(), 25.0);
}

}  // namespace
}  // namespace cohort::shard

#include "train/rank_times.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/ranks.h"

namespace cohort::train {
namespace {

StageTimes times(double data, double forward, double waiting = 0.0) {
  StageTimes made{1, waiting, {}};
  made.busy[static_cast<std::size_t>(Stage::data)] = data;
  made.busy[static_cast<std::size_t>(Stage::forward)] = forward;
  return made;
}

const std::vector<std::string> kHosts{"n1", "n1", "n2", "n2"};

TEST(RankTimes, TheSlowestRankIsNamedWithTheStageThatItLosesIn) {
  const RankTimes slow{1, {times(1, 9), times(1, 9), times(1, 9), times(9, 10)}};

  const auto straggler = find_straggler(slow);

  ASSERT_TRUE(straggler);
  EXPECT_EQ(straggler_line(*straggler, kHosts), "rank 3 on n2 is the slowest: 1.9 times the median, in data");
}

// The others wait for a straggler: their steps take as long as its own.
TEST(RankTimes, WaitingForOthersIsNotBeingSlow) {
  EXPECT_FALSE(find_straggler({1, {times(1, 9, 0), times(1, 9, 100)}}));
  EXPECT_FALSE(find_straggler({1, {times(1, 9), times(1, 9), times(1, 13)}}));
}

TEST(RankTimes, OneRankIsNeverAStraggler) {
  EXPECT_FALSE(find_straggler({1, {times(1, 9)}}));
}

TEST(RankTimes, AreMeansOverStepsByRank) {
  comm::Communicator ranks = test::world();
  StageTimes mine = times(2.0 * (ranks.rank() + 1), 6.0, 8.0);
  mine.steps = 2;

  const RankTimes all = gather_rank_times(mine, ranks);

  const auto json = nlohmann::json::parse(rank_times_json(all, 7, {"n1"}));
  ASSERT_EQ(std::ssize(json.at("data")), ranks.size());
  EXPECT_EQ(json.at("step"), 7);
  EXPECT_EQ(json.at("steps"), 2);
  for (std::size_t rank = 0; rank < json.at("data").size(); ++rank) {
    EXPECT_EQ(json.at("data")[rank], static_cast<double>(rank) + 1.0);
    EXPECT_EQ(json.at("busy")[rank], static_cast<double>(rank) + 4.0);
    EXPECT_EQ(json.at("waiting")[rank], 4.0);
  }
}

}  // namespace
}  // namespace cohort::train

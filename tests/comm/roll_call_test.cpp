#include "comm/roll_call.h"

#include <algorithm>
#include <string_view>

#include <gtest/gtest.h>

namespace cohort::comm {
namespace {

Position position(std::int64_t sequence, std::string_view operation, std::int64_t bytes) {
  Position made{sequence, bytes, {}};
  std::copy(operation.begin(), operation.end(), made.operation.begin());
  return made;
}

TEST(RollCall, SilentRanksAndThoseBehindAreMissing) {
  const std::vector<std::optional<Position>> heard{position(7, "barrier", 0), std::nullopt,
                                                   position(6, "barrier", 0), position(8, "barrier", 0)};
  EXPECT_EQ(missing_ranks(heard, 7), (std::vector{1, 2}));
}

TEST(RollCall, FindsAnotherOperationAtTheSameNumber) {
  const Position mine = position(7, "all_reduce f32", 40);
  EXPECT_EQ(mismatch({mine, mine}, mine), "");
  EXPECT_EQ(mismatch({mine, position(6, "barrier", 0), std::nullopt}, mine), "");
  EXPECT_EQ(mismatch({mine, position(7, "broadcast i64", 8)}, mine), "rank 1 called broadcast i64 of 8 B");
  EXPECT_EQ(mismatch({position(7, "all_reduce f32", 44), mine}, mine),
            "rank 0 called all_reduce f32 of 44 B");
}

TEST(RollCall, RanksThatAskHearEachOther) {
  RollCall ranks(duplicate_comm(MPI_COMM_WORLD));
  const Position mine = position(3, "barrier", rank_in(MPI_COMM_WORLD));
  const auto heard = ranks.ask(mine, std::chrono::seconds(30));
  ASSERT_EQ(std::ssize(heard), size_of(MPI_COMM_WORLD));
  EXPECT_TRUE(missing_ranks(heard, 3).empty());
  for (std::size_t rank = 0; rank < heard.size(); ++rank) {
    EXPECT_EQ(heard[rank]->bytes, static_cast<std::int64_t>(rank));
  }
  check_mpi(MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier");
}

}  // namespace
}  // namespace cohort::comm

// What three ranks find out for all the others when one does not come.
#include "comm/survey.h"

#include <gtest/gtest.h>

namespace cohort::comm {
namespace {

using State = OperationStatus::State;

OperationStatus operation(std::int64_t sequence, State state, const char* name = "all_reduce f32",
                          std::int64_t bytes = 40) {
  OperationStatus status;
  status.sequence = sequence;
  status.bytes = bytes;
  status.state = state;
  status.operation = ShortText<32>(name);
  return status;
}

Answer at(const OperationStatus& asked, std::int64_t ended) {
  Answer answer;
  answer.asked = asked;
  answer.ended = ended;
  return answer;
}

const Wait kWait{7, operation(412, State::under_way), {}};
const Answer kWaits = at(operation(412, State::under_way), 411),
             kIsBefore = at(operation(411, State::done), 411), kIsThrough = at({}, 500);

std::vector<std::int32_t> named(const Absentees& absent) {
  return {absent.named().begin(), absent.named().end()};
}

TEST(Survey, NamesThoseThatAreBeforeTheOperationOrSilent) {
  const Absentees absent = absentees(kWait, {kWaits, kIsBefore, std::nullopt, kIsThrough});
  EXPECT_EQ(named(absent), (std::vector<std::int32_t>{1, 2}));
  EXPECT_FALSE(absent.is_silent[0]);
  EXPECT_TRUE(absent.is_silent[1]);
  EXPECT_EQ(absent.different, -1);
}

TEST(Survey, NamesTheFirstThatCallsAnotherOperationUnderThatNumber) {
  const Answer other_size = at(operation(412, State::under_way, "all_reduce f32", 44), 411);
  const Answer other_name = at(operation(412, State::done, "barrier", 0), 412);
  const Absentees absent = absentees(kWait, {kWaits, other_size, other_name});
  EXPECT_EQ(absent.count, 0);
  EXPECT_EQ(absent.different, 1);
  EXPECT_EQ(absent.operation.bytes, 44);
}

TEST(Survey, CountsMoreThanItNames) {
  const Absentees absent = absentees(kWait, std::vector<std::optional<Answer>>(1000));
  EXPECT_EQ(absent.count, 1000);
  EXPECT_EQ(absent.named().size(), Absentees::kNamed);
}

TEST(Survey, KnowsBlockingCallsByTheirNames) {
  Answer inside, outside;
  inside.status.blocking_call = ShortText<32>("MPI_Comm_dup");
  outside.status.blocking_call = ShortText<32>("MPI_Comm_split");
  EXPECT_EQ(named(absentees({0, {}, ShortText<32>("MPI_Comm_dup")}, {inside, outside, Answer()})),
            (std::vector<std::int32_t>{1, 2}));
}

TEST(Survey, JudgesAreOnDifferentHostsWhereThereAreSome) {
  using Positions = std::vector<std::size_t>;
  EXPECT_EQ(spread_over_hosts({"a", "a", "b", "b", "c", "d"}), (Positions{0, 2, 4}));
  EXPECT_EQ(spread_over_hosts({"a", "a", "a", "b"}), (Positions{0, 3, 1}));
  EXPECT_EQ(spread_over_hosts({"a", "a"}), (Positions{0, 1}));
}

}  // namespace
}  // namespace cohort::comm

// From two ranks on. Ranks that do not come: the others must name them. The late rank meets the others again
// on a communicator of its own, with a longer timeout, so that nothing depends on how long anything takes.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "cohort/comm/communicator.h"

#include "support/ranks.h"

namespace cohort::comm {
namespace {

using namespace std::chrono_literals;

constexpr auto kShort = 1s;
constexpr auto kLong = 60s;

// The text of the RankError that `operation` throws on this rank.
template <class Operation>
std::string rank_error(Operation&& operation, std::chrono::seconds timeout = kShort) {
  Session::set_timeout(timeout);
  std::string text = "no RankError";
  try {
    operation();
  } catch (const RankError& error) {
    text = error.what();
  }
  Session::set_timeout(kLong);
  return text;
}

class Timeout : public testing::Test {
 protected:
  [[nodiscard]] bool late() const { return ranks_.rank() == ranks_.size() - 1; }
  [[nodiscard]] std::string late_rank() const {
    return "for rank " + std::to_string(ranks_.size() - 1) + " on ";
  }

  Communicator ranks_ = test::world(kLong);
  Communicator meeting_ = ranks_.duplicate("meeting");
};

TEST_F(Timeout, NamesTheMissingRank) {
  if (!late()) {
    const std::string text = rank_error([&] { ranks_.barrier(); });
    EXPECT_NE(text.find("barrier"), std::string::npos) << text;
    EXPECT_NE(text.find("of communicator 'world'"), std::string::npos) << text;
    EXPECT_NE(text.find(late_rank()), std::string::npos) << text;
    EXPECT_NE(text.find("(operation 2 "), std::string::npos) << text;  // the first was duplicate()'s barrier
  }
  meeting_.barrier();
}

TEST_F(Timeout, NamesTheMissingRankOfATensorOperation) {
  at::Tensor values = torch::ones({10});
  if (!late()) {
    Work work = ranks_.all_reduce(values);
    const std::string text = rank_error([&] { work.wait(); });
    EXPECT_NE(text.find("all_reduce f32 of 40 B"), std::string::npos) << text;
    EXPECT_NE(text.find(late_rank()), std::string::npos) << text;
  }
  meeting_.barrier();
}

// Large enough to go through memory that ranks of a node share, where they look at counters.
TEST_F(Timeout, NamesTheMissingRankOfALargeTensor) {
  at::Tensor values = torch::ones({1 << 20});
  ranks_.all_reduce(values).wait();
  if (!late()) {
    const std::string text = rank_error([&] { ranks_.all_reduce(values).wait(); });
    EXPECT_NE(text.find("all_reduce f32 of 4194304 B"), std::string::npos) << text;
    EXPECT_NE(text.find(late_rank()), std::string::npos) << text;
  }
  meeting_.barrier();
}

TEST_F(Timeout, LaterOperationsFailAtOnce) {
  if (!late()) {
    Work first = ranks_.all_reduce(torch::ones({10})), second = ranks_.all_reduce(torch::ones({10}));
    rank_error([&] { first.wait(); });
    EXPECT_THROW(second.wait(), RankError);
    EXPECT_THROW(ranks_.barrier(), RankError);
  }
  meeting_.barrier();
}

// A rank whose own time-out came first has let go of the communicator by the time the others ask.
TEST_F(Timeout, ARankThatGaveUpEarlierIsNotMissing) {
  const bool first = ranks_.rank() == 0;
  if (!late()) {
    const std::string text = rank_error(
        [&] {
          Communicator doomed = std::move(ranks_);
          doomed.barrier();
        },
        first ? kShort : 3 * kShort);
    EXPECT_NE(text.find("for rank " + std::to_string(meeting_.size() - 1) + " on "), std::string::npos)
        << text;
  }
  meeting_.barrier();
}

// A rank that waits in an earlier or another operation is not taken for one that has arrived.
TEST_F(Timeout, ARankThatIsBusyElsewhereIsMissing) {
  Communicator other = ranks_.duplicate("other");
  if (!late()) {
    const std::string text = rank_error([&] { ranks_.barrier(); });
    EXPECT_NE(text.find(late_rank()), std::string::npos) << text;
  }
  at::Tensor values = torch::ones({10});
  other.all_reduce(values).wait();
  EXPECT_EQ(values[0].item<float>(), static_cast<float>(ranks_.size()));
}

// The first rank is one of the three that ask for the others: it answers for itself, whatever it does.
TEST_F(Timeout, TheFirstRankIsNamedLikeAnyOther) {
  if (ranks_.rank() != 0) {
    const std::string text = rank_error([&] { ranks_.barrier(); });
    EXPECT_NE(text.find("for rank 0 on "), std::string::npos) << text;
  }
  meeting_.barrier();
}

TEST_F(Timeout, SeveralMissingRanksAreNamedOnAllThatWait) {
  if (ranks_.rank() == 1) {
    const std::string text = rank_error([&] { ranks_.barrier(); });
    EXPECT_NE(text.find("for ranks 0 on "), std::string::npos) << text;
    for (int rank = 2; rank < ranks_.size(); ++rank)
      EXPECT_NE(text.find(fmt::format(", {} on ", rank)), std::string::npos) << text;
  }
  meeting_.barrier();
}

// A communicator of which not every rank of the world is a member.
TEST_F(Timeout, NamesRanksByTheirNumbersInTheCommunicator) {
  Communicator part = meeting_.split(ranks_.rank() == 0 ? 0 : 1, "part");
  if (ranks_.rank() != 0 && !late()) {
    const std::string text = rank_error([&] { part.barrier(); });
    EXPECT_NE(text.find(fmt::format("for rank {} on ", part.size() - 1)), std::string::npos) << text;
  }
  meeting_.barrier();
}

}  // namespace
}  // namespace cohort::comm

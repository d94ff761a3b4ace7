// Ranks that were given other words than rank 0.
#include "comm/same_command.h"

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/host.h"

#include "support/ranks.h"

namespace cohort::comm {
namespace {

struct CommandLine {
  std::string program;
  std::vector<std::string> words;
};

class SameCommand : public ::testing::Test {
 protected:
  /// What all ranks are told when the last one was started with `other`; empty: nothing.
  std::string refusal(const CommandLine& first, const CommandLine& other) {
    const auto& [program, words] = ranks_.rank() == ranks_.size() - 1 ? other : first;
    std::string text;
    try {
      check_same_command(program, words, ranks_);
    } catch (const UsageError& error) {
      text = error.what();
    }
    for (const std::string& told : ranks_.gather_texts(text)) EXPECT_EQ(told, text);
    return text.substr(0, text.find("\n  fix"));
  }
  /// Empty with one rank, which has nobody to differ from.
  [[nodiscard]] std::string expected(const std::string& what) const {
    const std::string last = std::to_string(ranks_.size() - 1);
    if (ranks_.size() == 1) return "";
    return "ranks were started with different " + what + " on rank " + last + "\n  where: rank " + last +
           " on " + host_name();
  }

  Communicator ranks_ = test::world();
};

TEST_F(SameCommand, AnotherCommandIsRefused) {
  EXPECT_EQ(refusal({"cohort eval", {"eval", "--run", "x"}}, {"cohort train", {"train", "x.yaml"}}),
            expected("commands: 'cohort eval' on rank 0, 'cohort train'"));
}

TEST_F(SameCommand, AnotherValueIsNamedWithItsOption) {
  EXPECT_EQ(refusal({"cohort knn", {"knn", "--k", "5"}}, {"cohort knn", {"knn", "--k", "7"}}),
            expected("values of --k: '5' on rank 0, '7'"));
  EXPECT_EQ(refusal({"cohort knn", {"knn", "--k=5"}}, {"cohort knn", {"knn", "--k=7"}}),
            expected("values of --k: '5' on rank 0, '7'"));
  EXPECT_EQ(refusal({"cohort train", {"train", "a.yaml", "seed=1"}},
                    {"cohort train", {"train", "a.yaml", "seed=2"}}),
            expected("values of seed: '1' on rank 0, '2'"));
}

TEST_F(SameCommand, OtherWordsAreRefused) {
  EXPECT_EQ(refusal({"cohort train", {"train", "a.yaml"}}, {"cohort train", {"train", "b.yaml"}}),
            expected("arguments: 'a.yaml' on rank 0, 'b.yaml'"));
  EXPECT_EQ(refusal({"cohort train", {"train", "a.yaml"}}, {"cohort train", {"train", "a.yaml", "seed=2"}}),
            expected("arguments: '' on rank 0, 'seed=2'"));
  EXPECT_EQ(refusal({"cohort eval", {"eval", "--run", "x"}}, {"cohort eval", {"eval"}}),
            expected("arguments: '--run' on rank 0, ''"));
  EXPECT_EQ(refusal({"cohort eval", {"a", "b"}}, {"cohort eval", {"ab"}}),
            expected("arguments: 'a' on rank 0, 'ab'"));
}

TEST_F(SameCommand, TheSameIsAccepted) {
  EXPECT_EQ(refusal({"cohort eval", {"eval", "", "--run", "x"}}, {"cohort eval", {"eval", "", "--run", "x"}}),
            "");
}

}  // namespace
}  // namespace cohort::comm

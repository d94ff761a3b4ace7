#include "train/same_inputs.h"

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/host.h"

#include "support/ranks.h"

namespace cohort::train {
namespace {

/// What `check` throws, the same on every rank.
template <class Check>
std::string refusal(Check&& check) {
  try {
    check();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

class SameInputs : public ::testing::Test {
 protected:
  [[nodiscard]] bool is_last() const { return ranks_.rank() == ranks_.size() - 1; }
  [[nodiscard]] std::string last() const { return std::to_string(ranks_.size() - 1); }
  /// Empty with one rank, which has nobody to differ from.
  [[nodiscard]] std::string expected(const std::string& what) const { return ranks_.size() == 1 ? "" : what; }
  comm::Communicator ranks_ = test::world();
};

TEST_F(SameInputs, AnotherProgramIsRefused) {
  const std::string text =
      refusal([&] { check_same_program(is_last() ? "1.1 (build b)" : "1.0 (build a)", ranks_); });
  EXPECT_EQ(text.substr(0, text.find("\n  fix")),
            expected("ranks run different programs: Cohort 1.0 (build a) on rank 0, 1.1 (build b) on rank " +
                     last() + "\n  where: rank " + last() + " on " + host_name()));
}

TEST_F(SameInputs, TheFirstDifferentOptionIsNamed) {
  RunConfig config;
  if (is_last()) {
    config.optimizer.lr = 0.25;
    config.train.max_steps = 77;
  }
  const std::string text = refusal([&] { check_same_options(config, ranks_); });
  EXPECT_EQ(text.find("ranks were started with different values of optimizer.lr: ") != std::string::npos,
            ranks_.size() > 1)
      << text;
  EXPECT_EQ(text.find("'0.25' on rank " + last()) != std::string::npos, ranks_.size() > 1) << text;
}

TEST_F(SameInputs, TheSameIsAccepted) {
  EXPECT_NE(program_identity().find("build"), std::string::npos);
  EXPECT_EQ(refusal([&] {
              check_same_program(program_identity(), ranks_);
              check_same_options({}, ranks_);
            }),
            "");
}

}  // namespace
}  // namespace cohort::train

#include "jobs/sweep.h"

#include <gtest/gtest.h>

#include "cohort/core/error.h"

namespace cohort::jobs {
namespace {

using Texts = std::vector<std::string>;

TEST(Sweep, WithoutAxesHasOneElementThatChangesNothing) {
  const auto elements = sweep({});

  ASSERT_EQ(elements.size(), 1U);
  EXPECT_EQ(elements[0].name, "");
  EXPECT_TRUE(elements[0].overrides.empty());
}

TEST(Sweep, CombinesTheValuesOfAllKeys) {
  const auto elements = sweep({"optimizer.lr=1e-3,3e-4", "seed=1,2,3"});

  ASSERT_EQ(elements.size(), 6U);
  EXPECT_EQ(elements[0].overrides, (Texts{"optimizer.lr=1e-3", "seed=1"}));
  EXPECT_EQ(elements[1].overrides, (Texts{"optimizer.lr=1e-3", "seed=2"}));
  EXPECT_EQ(elements[5].overrides, (Texts{"optimizer.lr=3e-4", "seed=3"}));
  EXPECT_EQ(elements[5].name, "optimizer.lr=3e-4,seed=3");
}

TEST(Sweep, KeepsListsWhole) {
  const auto elements = sweep({"context.keys=[a],[a,b]"});

  ASSERT_EQ(elements.size(), 2U);
  EXPECT_EQ(elements[1].overrides, Texts{"context.keys=[a,b]"});
}

TEST(Sweep, NamesFoldersWithoutSlashes) {
  EXPECT_EQ(sweep({"data.path=data/a b,x"})[0].name, "data.path=data_a_b");
}

TEST(Sweep, RefusesWhatIsNoSweep) {
  for (const Texts& axes : std::vector<Texts>{
           {"lr"}, {"=1"}, {"lr=1,"}, {"lr="}, {"a=1", "a=2"}, {"run_dir=a,b"}, {"a=1,1"}, {"a=x/y,x_y"}})
    EXPECT_THROW(sweep(axes), UsageError) << axes.front();
}

}  // namespace
}  // namespace cohort::jobs

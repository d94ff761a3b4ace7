#include "cohort/core/text.h"

#include <gtest/gtest.h>

namespace cohort {
namespace {

using Texts = std::vector<std::string>;

TEST(Nearest, FindsTypingErrors) {
  const Texts words{"optimizer.lr", "optimizer.weight_decay", "model.depth", "seed"};

  EXPECT_EQ(nearest("optimiser.lr", words), "optimizer.lr");
  EXPECT_EQ(nearest("model.dpeth", words), "model.depth") << "a swap of neighbours";
  EXPECT_EQ(nearest("sede", words), "seed");
  EXPECT_EQ(nearest("optimizer.weight-decay", words), "optimizer.weight_decay");
  EXPECT_EQ(nearest("seed", words), "seed");
}

TEST(Nearest, ACandidateWithTheSameLastPartIsNear) {
  EXPECT_EQ(nearest("depth", Texts{"seed", "model.depth"}), "model.depth");
  EXPECT_EQ(nearest("transformer.depth", Texts{"model.depth", "model.width"}), "model.depth");
}

TEST(Nearest, PrefersTheNearestOfThoseWithTheSameLastPart) {
  const Texts words{"schedule.lr", "optimizer.lr", "head.lr"};

  EXPECT_EQ(nearest("optimiser.lr", words), "optimizer.lr");
  EXPECT_EQ(nearest("heads.lr", words), "head.lr");
}

TEST(Nearest, IsNothingWhenAllAreFar) {
  EXPECT_EQ(nearest("zzz", Texts{"seed", "model.depth"}), std::nullopt);
  EXPECT_EQ(nearest("", Texts{"seed"}), std::nullopt);
  EXPECT_EQ(nearest("seed", Texts{}), std::nullopt);
}

TEST(Nearest, NamesOfAnyLengthAreCompared) {
  const std::string long_name(1 << 20, 'x');
  EXPECT_EQ(nearest(long_name, Texts{long_name, "seed"}), std::nullopt) << "in no time and no memory";
}

TEST(Nearest, ShortWordsMayDifferInOneLetter) {
  EXPECT_EQ(nearest("l", Texts{"lr"}), "lr");
  EXPECT_EQ(nearest("ab", Texts{"cd"}), std::nullopt);
}

TEST(DidYouMean, NamesTheNearestOrAFewKnownOnes) {
  EXPECT_EQ(did_you_mean("sede", Texts{"seed", "model"}), "did you mean 'seed'?");
  EXPECT_EQ(did_you_mean("xyz", Texts{"seed", "model"}), "known: seed, model");
  EXPECT_EQ(did_you_mean("xyz", Texts{}), "there is none");
  EXPECT_EQ(did_you_mean("xyz", Texts(13, "seed")),
            "known: seed, seed, seed, seed, seed, seed, seed, seed, seed, seed, seed, seed …");
}

TEST(Join, PutsTheSeparatorBetween) {
  EXPECT_EQ(join(Texts{}, ", "), "");
  EXPECT_EQ(join(Texts{"a"}, ", "), "a");
  EXPECT_EQ(join(Texts{"a", "a", ""}, ", "), "a, a, ");
}

TEST(Format, Bytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(1288490189), "1.2 GiB");
  EXPECT_EQ(format_bytes(UINT64_MAX), "16384.0 PiB");
}

TEST(Format, Durations) {
  using std::chrono::duration;
  EXPECT_EQ(format_duration(duration<double>(0.44)), "0.4 s");
  EXPECT_EQ(format_duration(duration<double>(59.97)), "1 min 00 s");
  EXPECT_EQ(format_duration(duration<double>(200)), "3 min 20 s");
  EXPECT_EQ(format_duration(duration<double>(3599.7)), "1 h 00 min");
  EXPECT_EQ(format_duration(duration<double>(18120)), "5 h 02 min");
  EXPECT_EQ(format_duration(duration<double>(360000)), "100 h 00 min");
}

TEST(Format, Counts) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(2484), "2,484");
  EXPECT_EQ(format_count(1234567), "1,234,567");
  EXPECT_EQ(format_count(-100), "-100");
  EXPECT_EQ(format_count(-1000), "-1,000");
  EXPECT_EQ(format_count(INT64_MIN), "-9,223,372,036,854,775,808");
}

}  // namespace
}  // namespace cohort

// What verification, retrieval and matching refuse, and scores that are counted by bits.
#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/eval/task.h"

#include "eval/verification_scores.h"
#include "support/ranks.h"

namespace cohort::eval {
namespace {

TaskInput one_flag(std::int64_t flags = 1) {
  return {{"live", data::FieldKind::flags, data::ValueType::u8, {flags}},
          {},
          {{{"video", 0, 2}}, {"v0", "v1"}},
          4,
          {}};
}

/// Four images, of which each rank has those of its turn.
Scorecard verified(TaskInput input, const std::vector<float>& scores,
                   const std::vector<std::uint8_t>& flags) {
  auto ranks = test::world();
  const auto task = find_task("verification").make(std::move(input));
  comm::together(ranks, [&] {
    for (std::int64_t i = ranks.rank(); i < std::ssize(scores); i += ranks.size()) {
      const auto at = static_cast<std::size_t>(i);
      const std::vector<std::int32_t> context{static_cast<std::int32_t>(i % 2)};
      const method::Answers answers{{"score", at::tensor({scores[at]})}};
      task->add(
          {std::vector<std::int64_t>{i}, context, answers, {at::full({1, 1}, flags[at], at::kByte), {}}});
    }
  });
  return task->finish(ranks);
}

template <class Error, class Body>
std::string what_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.text().what;
  }
  return "nothing";
}

TEST(Verification, RefusesWhatItCannotScore) {
  const auto refusal = [](const std::vector<float>& scores, const std::vector<std::uint8_t>& flags) {
    return what_of<DataError>([&] { (void)verified(one_flag(), scores, flags); });
  };
  EXPECT_EQ(refusal({0.5F, 1.5F, 0.2F, 0.1F}, {1, 0, 1, 0}), "scores of verification lie outside of 0 … 1");
  EXPECT_EQ(refusal({0.5F, 0.5F, 0.2F, 0.1F}, {1, 1, 1, 255}),
            "all known values of 'live' are 1, and verification compares both");
  EXPECT_EQ(refusal({0.5F, 0.5F, 0.2F, 0.1F}, {0, 0, 0, 0}),
            "all known values of 'live' are 0, and verification compares both");
  EXPECT_EQ(refusal({0.5F, 0.5F, 0.2F, 0.1F}, {255, 255, 255, 255}),
            "no image has a known value of 'live', so that there is nothing to score");
  EXPECT_THROW((void)verified(one_flag(), {0.5F, NAN, 0.2F, 0.1F}, {1, 0, 1, 0}), NumericalError);
  EXPECT_EQ(what_of<UsageError>([] { (void)find_task("verification").make(one_flag(3)); }),
            "verification is of one flag, and field 'live' has 3");
}

TEST(Verification, ImagesOfAVideoAreJudgedTogether) {
  TaskInput by_video = one_flag();
  by_video.config.mean_by = "video";

  const Scorecard card = verified(by_video, {0.9F, 0.3F, 0.3F, 0.5F}, {1, 0, 1, 0});

  EXPECT_EQ(card.samples, 2);
  EXPECT_EQ(card.find("hter")->value, 0.0) << "0.6 and 0.4";
  EXPECT_EQ(what_of<DataError>([&] {
              (void)verified(by_video, {0.9F, 0.3F, 0.3F, 0.5F}, {1, 0, 0, 0});
            }),
            "images of video 'v0' differ in 'live'");
  by_video.config.mean_by = "videos";
  EXPECT_EQ(what_of<UsageError>([&] { (void)find_task("verification").make(by_video); }),
            "there is no context key 'videos' to judge images by");
}

TEST(Matching, RefusesWhatIsNoHomography) {
  EXPECT_EQ(what_of<UsageError>([] {
              (void)find_task("matching")
                  .make({{"map", data::FieldKind::numbers, data::ValueType::f32, {6}}, {}, {}, 0, {}});
            }),
            "a homography has 9 numbers, and field 'map' has 6");
}

/// Scores that differ in their last bits alone, many of them equal, more than a chunk of them.
TEST(SpilledScores, FindTheRateThatASortFinds) {
  auto ranks = test::world();
  RandomStream random({.seed = 5, .purpose = Purpose::synthetic});
  SpilledScores spilled;
  std::vector<std::pair<double, bool>> all;
  std::int64_t positives = 0;
  for (int i = 0; i < 300'000; ++i) {
    const bool positive = random.below(3) == 0;
    const double score =
        i % 2 == 0
            ? std::bit_cast<double>(std::bit_cast<std::uint64_t>(0.5) + random.below(40) + (positive ? 9 : 0))
            : static_cast<double>(random.below(1000)) / 999;
    all.emplace_back(score, positive);
    positives += positive ? 1 : 0;
    if (i % ranks.size() == ranks.rank()) spilled.add(score, positive);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  const std::int64_t negatives = std::ssize(all) - positives;
  for (const double rate : {0.0, 0.001, 0.01, 0.25, 0.26, 0.5, 1.0}) {
    std::int64_t accepted = 0, wrongly = 0, kept = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      ++(all[i].second ? accepted : wrongly);
      const bool ends_tie = i + 1 == all.size() || all[i + 1].first != all[i].first;
      if (ends_tie && static_cast<double>(wrongly) / static_cast<double>(negatives) <= rate) kept = accepted;
    }
    EXPECT_EQ(spilled.true_positive_rate(rate, positives, negatives, ranks),
              static_cast<double>(kept) / static_cast<double>(positives))
        << rate;
  }
}

}  // namespace
}  // namespace cohort::eval

// meta.json of somebody else: its checksum is right, what it says need not be.
#include "checkpoint/catalogue.h"

#include <span>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"

namespace cohort::checkpoint {
namespace {

std::string answer_to(const std::string& meta) {
  try {
    (void)parse_meta(meta, "meta.json");
  } catch (const DataError& error) {
    return error.text().what;
  }
  return "accepted";
}

std::string meta_with(const SavedTensor& tensor) {
  return meta_text({{1, 0, 7, "depth: 6\n", "nuclei"}, {{"/model/x", tensor}}, 4096});
}

const std::string kDamaged = "the description of the checkpoint is damaged";

TEST(Catalogue, SlicesFollowEachOtherAndAreTheWholeTensor) {
  EXPECT_EQ(answer_to(meta_with({{2, 3}, {{0, 4, 1}, {4, 2, 2}}})), "accepted");
  EXPECT_EQ(answer_to(meta_with({{}, {{0, 1, 1}}})), "accepted");
  EXPECT_EQ(answer_to(meta_with({{0, 3}, {}})), "accepted");
  EXPECT_EQ(answer_to(meta_with({{2, 3}, {{0, 4, 1}}})), kDamaged);                // not all
  EXPECT_EQ(answer_to(meta_with({{2, 3}, {{0, 4, 1}, {3, 3, 2}}})), kDamaged);     // twice
  EXPECT_EQ(answer_to(meta_with({{2, 3}, {{0, -4, 1}, {-4, 10, 2}}})), kDamaged);  // backwards
  EXPECT_EQ(answer_to(meta_with({{2, 3}, {{0, INT64_MAX, 1}, {INT64_MAX, 9, 2}}})), kDamaged);
}

TEST(Catalogue, ShapesCanBeCounted) {
  const std::int64_t large = std::int64_t{1} << 32;
  EXPECT_EQ(answer_to(meta_with({{large, large}, {}})), kDamaged);  // 0, modulo 2^64
  EXPECT_EQ(answer_to(meta_with({{-1, -1}, {{0, 1, 1}}})), kDamaged);
  EXPECT_EQ(answer_to(meta_with({{0, large, large}, {}})), kDamaged);
}

// A number that does not fit is not cut to one that does.
TEST(Catalogue, NumbersAreWholeAndFit) {
  const auto answer_with = [](const char* key, const nlohmann::json& value) {
    auto object = nlohmann::json::parse(meta_with({{2}, {{0, 2, 1}}}));
    object[key] = value;
    object.erase("checksum");
    const std::string rest = object.dump();
    object["checksum"] = checksum_text(checksum(std::as_bytes(std::span(rest))));
    return answer_to(object.dump());
  };
  EXPECT_EQ(answer_with("step", 5), "accepted");
  EXPECT_EQ(answer_with("step", 1e300), kDamaged);
  EXPECT_EQ(answer_with("step", 1.5), kDamaged);
  EXPECT_EQ(answer_with("epoch", UINT64_MAX), kDamaged);
  EXPECT_EQ(answer_with("seed", UINT64_MAX), "accepted");
  EXPECT_EQ(answer_with("seed", -1), kDamaged);
  EXPECT_EQ(answer_with("file_bytes", 1e300), kDamaged);
}

TEST(Catalogue, SaysWhatTheModelWasTrainedOnIfThatIsKnown) {
  Contents contents{{1, 0, 7, "depth: 6\n", "nuclei"}, {}, 4096};
  EXPECT_EQ(parse_meta(meta_text(contents), "meta.json").meta.trained_on, "");

  contents.meta.trained_on = R"({"classes":["cat","dog"],"mean":[0.1,0.333333333333333]})";
  EXPECT_EQ(parse_meta(meta_text(contents), "meta.json").meta.trained_on, contents.meta.trained_on);
}

TEST(Catalogue, NestingEnds) {
  const std::string deep(1'000'000, '[');
  EXPECT_EQ(answer_to(R"({"format":"cohort-checkpoint","version":1,"x":)" + deep +
                      std::string(deep.size(), ']') + "}"),
            kDamaged);
}

}  // namespace
}  // namespace cohort::checkpoint

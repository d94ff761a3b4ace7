// Images laid out by their features, as the report draws them.
#include "report/embedding.h"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "../support/temporary_folder.h"

namespace cohort::report {
namespace {

nlohmann::json content() {
  return {{"split", "test"},
          {"pca", {{0, 0}, {1, 1}, {2, 0}}},
          {"t_sne", {{-4, 0}, {4, 0}, {0, 4}}},
          {"shares", {0.75, 0.25}},
          {"perplexity", 30},
          {"columns", {{{"name", "type"}, {"values", {"a & b", "c"}}, {"of_points", {0, 1, -1}}}}},
          {"thumbnails", "thumbnails.jpg"}};
}

std::filesystem::path written(const testing::TemporaryFolder& run, const nlohmann::json& json) {
  std::filesystem::create_directories(run.path() / "embedding");
  write_file_atomically(run.path() / "embedding/embedding.json", json.dump());
  write_file_atomically(run.path() / "embedding/thumbnails.jpg", "\xFF\xD8\xFF picture");
  return run.path();
}

std::string refusal_of(const nlohmann::json& json) {
  const testing::TemporaryFolder run;
  try {
    (void)read_embedding(written(run, json));
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Embedding, IsDrawnByTheValuesOfItsColumns) {
  const testing::TemporaryFolder run;
  const auto embedding = read_embedding(written(run, content()));
  ASSERT_TRUE(embedding);
  const std::string html = embedding_html(*embedding);
  // The picture is 460 wide; both directions have one scale, and upwards is up.
  EXPECT_NE(html.find("<g class=\"c0\"><path class=\"points\" d=\"M12.0 339.0h0\"/>"), std::string::npos)
      << html;
  EXPECT_NE(html.find("<g class=\"c1\"><path class=\"points\" d=\"M448.0 339.0h0\"/>"), std::string::npos);
  std::size_t points = 0;
  for (std::size_t at = html.find("h0"); at != std::string::npos; at = html.find("h0", at + 1)) ++points;
  EXPECT_EQ(points, 4U) << "two of three have a value, in each of two pictures";
  EXPECT_NE(html.find("a &amp; b"), std::string::npos);
  EXPECT_NE(html.find("75 % and 25 % of the variance"), std::string::npos);
  EXPECT_NE(html.find("data:image/jpeg;base64,/9j/"), std::string::npos);
}

TEST(Embedding, IsRefusedWhereItIsDamaged) {
  const testing::TemporaryFolder run;
  EXPECT_FALSE(read_embedding(run.path()));
  nlohmann::json other = content();
  other["pca"] = {{0, 0}};
  EXPECT_NE(refusal_of(other).find("places without points"), std::string::npos);
  other = content();
  other["columns"][0]["of_points"] = {0, 2, 0};
  EXPECT_NE(refusal_of(other).find("values of other points in 'type'"), std::string::npos);
  other = content();
  other.erase("shares");
  EXPECT_NE(refusal_of(other).find("the embedding is damaged"), std::string::npos);
}

}  // namespace
}  // namespace cohort::report

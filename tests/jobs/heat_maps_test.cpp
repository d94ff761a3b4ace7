// What a model says of the tiles of slides, as files for QuPath and as pictures.
#include "jobs/heat_maps.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "support/temporary_folder.h"

namespace cohort::jobs {
namespace {

TEST(TilePlace, IsReadFromTheEndOfAnId) {
  const auto place = tile_place("cmu_x1_y2_x1024_y96");
  ASSERT_TRUE(place);
  EXPECT_EQ(place->slide, "cmu_x1_y2");
  EXPECT_EQ(place->x, 1024);
  EXPECT_EQ(place->y, 96);
  for (const char* other :
       {"photo.png", "a_x1_y", "a_x_y2", "a_x1_y2.png", "_x1_y2", "a_x-1_y2", "a_y1_x2", ""})
    EXPECT_FALSE(tile_place(other)) << other;
}

nlohmann::json geojson_of(const std::filesystem::path& folder, const std::string& slide) {
  return nlohmann::json::parse(read_file(folder / (slide + ".geojson")));
}

TEST(HeatMaps, HaveASquareForEachTileWhereItLies) {
  const testing::TemporaryFolder folder;
  HeatMaps maps(folder.path(), probability_maps({"healthy", "tumour"}));
  maps.add("a_x0_y0", std::vector<float>{0.75F, 0.25F});
  maps.add("a_x448_y224", std::vector<float>{0.125F, 0.875F});
  maps.add("b_x10_y20", std::vector<float>{0.5F, 0.5F});
  maps.finish();
  EXPECT_EQ(maps.slides(), 2);
  const nlohmann::json a = geojson_of(folder.path(), "a");
  ASSERT_EQ(a["features"].size(), 2U);
  const nlohmann::json& second = a["features"][1];
  EXPECT_EQ(second["geometry"]["coordinates"],
            nlohmann::json::parse("[[[448,224],[672,224],[672,448],[448,448],[448,224]]]"));
  EXPECT_EQ(second["properties"]["classification"]["name"], "tumour");
  EXPECT_EQ(second["properties"]["measurements"]["probability_tumour"], 0.875);
  EXPECT_EQ(a["features"][0]["properties"]["classification"]["name"], "healthy");
  EXPECT_EQ(geojson_of(folder.path(), "b")["features"].size(), 1U);
  EXPECT_EQ(read_file(folder.path() / "a.png").substr(1, 3), "PNG");
}

TEST(HeatMaps, HaveCellsWithinATile) {
  const testing::TemporaryFolder folder;
  HeatMaps maps(folder.path(), {.measurements = {"attention", "saliency_tumour"}, .rows = 2, .columns = 3});
  maps.add("a_x0_y0", std::vector<float>{0, 1, 2, 3, 4, 5, -10, -11, -12, -13, -14, -15});
  maps.add("a_x90_y60", std::vector<float>{6, 7, 8, 9, 10, 11, -16, -17, -18, -19, -20, -21});
  maps.finish();
  const nlohmann::json a = geojson_of(folder.path(), "a");
  ASSERT_EQ(a["features"].size(), 12U);
  const nlohmann::json& cell = a["features"][10];  // of the second tile, the second row, the second column
  EXPECT_EQ(cell["geometry"]["coordinates"],
            nlohmann::json::parse("[[[110,90],[130,90],[130,120],[110,120],[110,90]]]"));
  EXPECT_EQ(cell["properties"]["measurements"],
            nlohmann::json::parse(R"({"attention":10.0,"saliency_tumour":-20.0})"));
  EXPECT_FALSE(cell["properties"].contains("classification"));
}

/// How many squares there are of a slide of two tiles of n x n cells in a row, numbered from 0 on.
std::size_t squares_of_a_slide(const std::filesystem::path& folder, std::int64_t n) {
  HeatMaps maps(folder, {.measurements = {"number"}, .rows = n, .columns = n});
  std::vector<float> values(static_cast<std::size_t>(n * n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  for (const char* id : {"a_x0_y0", "a_x1000_y0"}) maps.add(id, values);
  maps.finish();
  const nlohmann::json features = geojson_of(folder, "a")["features"];
  double sum = 0;
  for (const auto& feature : features) sum += feature["properties"]["measurements"]["number"].get<double>();
  EXPECT_NEAR(sum / static_cast<double>(features.size()), static_cast<double>(n * n - 1) / 2, 0.05);
  return features.size();
}

TEST(HeatMaps, OfLargeSlidesHaveFewerSquaresWithTheMeansOfOthers) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(squares_of_a_slide(folder.path(), 60), 2U * 60 * 60);
  EXPECT_EQ(squares_of_a_slide(folder.path(), 320), 2U * 160 * 160) << "204,800";
  EXPECT_EQ(squares_of_a_slide(folder.path(), 317), 2U) << "200,978, and 317 has no divisors";
}

TEST(HeatMaps, RefuseWhatIsNoTileAndSlidesInPieces) {
  const testing::TemporaryFolder folder;
  HeatMaps maps(folder.path(), probability_maps({"healthy", "tumour"}));
  const std::vector<float> even{0.5F, 0.5F};
  EXPECT_THROW(maps.add("photo.png", even), DataError);
  maps.add("a_x0_y0", even);
  maps.add("b_x0_y0", even);
  EXPECT_THROW(maps.add("a_x224_y0", even), DataError);
}

}  // namespace
}  // namespace cohort::jobs

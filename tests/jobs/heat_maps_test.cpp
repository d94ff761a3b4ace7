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
  HeatMaps maps(folder.path(), {"healthy", "tumour"});
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

TEST(HeatMaps, RefuseWhatIsNoTileAndSlidesInPieces) {
  const testing::TemporaryFolder folder;
  HeatMaps maps(folder.path(), {"healthy", "tumour"});
  const std::vector<float> even{0.5F, 0.5F};
  EXPECT_THROW(maps.add("photo.png", even), DataError);
  maps.add("a_x0_y0", even);
  maps.add("b_x0_y0", even);
  EXPECT_THROW(maps.add("a_x224_y0", even), DataError);
}

}  // namespace
}  // namespace cohort::jobs

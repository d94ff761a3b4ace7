// cohort explain over whole slides, and of the classes that are asked for.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "run_commands.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using test::Outcome;

class ExplainCommands : public e2e::RunCommands {
 protected:
  static void SetUpTestSuite() {
    train("");
    make_tiles();
  }

  /// A dataset without labels: two slides, each of 2 x 3 tiles that are 64 pixels apart.
  static void make_tiles() {
    const std::string nuclei = (fs::path(COHORT_TEST_DATA) / "data" / "nuclei").string();
    data(fmt::format("export {} --split test --out {}", nuclei, place("files")));
    std::vector<fs::path> files;
    for (const auto& file : fs::directory_iterator(place("files/test"))) files.push_back(file.path());
    std::sort(files.begin(), files.end());
    std::string table = "path,id,context\n";
    for (std::size_t i = 0; i < 12; ++i) {
      const char* slide = i < 6 ? "a" : "b";
      table +=
          fmt::format("{},{}_x{}_y{},{}\n", files.at(i).string(), slide, i % 3 * 64, i % 6 / 3 * 64, slide);
    }
    folder_->write("tiles.csv", table);
    data(fmt::format("convert manifest {} --id id --context context --out {}", place("tiles.csv"),
                     place("tiles")));
  }
  static void data(const std::string& command) {
    const Outcome outcome =
        test::spawn_ranks(COHORT_MPIEXEC, 1, std::string(COHORT_DATA_PROGRAM) + " " + command, 60);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  }
  static std::string explain(const std::string& folder) {
    return fmt::format("explain --run {} --neighbours 0 --images 2 --out {} ", run_folder(), place(folder));
  }
};

TEST_F(ExplainCommands, SlidesHaveTheSameMapsOnAnyNumberOfRanks) {
  const auto on = [&](int ranks) {
    const std::string maps = fmt::format("maps_{}", ranks);
    const Outcome outcome = run(ranks, explain(fmt::format("explained_{}", ranks)) + "--data " +
                                           place("tiles") + " --heat-maps " + place(maps));
    expect_done(outcome);
    EXPECT_TRUE(outcome.says("maps of 2 slides in")) << outcome.output;
    std::string all;
    for (const char* file : {"a.png", "b.png", "a.geojson", "b.geojson"}) all += written(maps + "/" + file);
    return all;
  };
  EXPECT_EQ(on(1), on(3));
  const auto slide = nlohmann::json::parse(written("maps_1/b.geojson"));
  const auto& squares = slide.at("features");
  ASSERT_EQ(squares.size() % 6, 0U);
  EXPECT_GT(squares.size(), 6U);
  double most = 0;
  for (const auto& square : squares) {
    const auto& measurements = square.at("properties").at("measurements");
    EXPECT_EQ(measurements.size(), 2U) << measurements;
    most = std::max(most, measurements.at("attention").get<double>());
    for (const auto& corner : square.at("geometry").at("coordinates").at(0)) EXPECT_LE(corner.at(0), 192);
  }
  EXPECT_GT(most, 0.0);
  const Outcome again =
      run(2, explain("other") + "--data " + place("tiles") + " --heat-maps " + place("maps_1"));
  EXPECT_EQ(again.exit_code, 2) << again.output;
  EXPECT_EQ(again.occurrences("the output is there already"), 1) << again.output;
}

TEST_F(ExplainCommands, WhatIsNoTileIsRefusedBeforeAnythingIsComputed) {
  const Outcome outcome = run(2, explain("none") + "--split test --heat-maps " + place("none_maps"));
  EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
  EXPECT_EQ(outcome.occurrences("does not say where a tile lies"), 1) << outcome.output;
  EXPECT_FALSE(fs::exists(place("none"))) << "nothing is written";
}

TEST_F(ExplainCommands, MapsOfAllClassesStandBesideEachOther) {
  const auto on = [&](int ranks) {
    const std::string folder = fmt::format("all_{}", ranks);
    expect_done(
        run(ranks,
            explain(folder) + "--split test --classes all --mask-space pixel --score adcc --score-images 5"));
    return written(folder + "/explain.json") + written(folder + "/scores.jsonl") +
           written(folder + "/maps_01.png");
  };
  EXPECT_EQ(on(1), on(2));
  const auto content = nlohmann::json::parse(written("all_1/explain.json"));
  const auto columns = content.at("columns").get<std::vector<std::string>>();
  const auto& of_method = content.at("scores").at(0);
  EXPECT_EQ(std::count_if(columns.begin(), columns.end(),
                          [](const std::string& name) { return name.starts_with("saliency of "); }),
            2);
  ASSERT_EQ(of_method.at("classes").size(), 2U);
  for (const auto& of_class : of_method.at("classes")) EXPECT_EQ(of_class.at("samples"), 5);
  EXPECT_EQ(of_method.at("scores").at(0).at("interval").size(), 2U);
}

TEST_F(ExplainCommands, MapsOfTheLabelSayWhereItIsNotTheAnswer) {
  expect_done(run(2, explain("label") + "--split test --classes label --errors 2"));
  const auto content = nlohmann::json::parse(written("label/explain.json"));
  for (const auto& image : content.at("images")) {
    EXPECT_NE(image.at("answer"), image.at("label"));
    EXPECT_EQ(image.at("map_of").at("class"), image.at("label"));
  }
  expect_refused(explain("none") + "--classes label --data " + place("tiles"),
                 "the dataset has no label to explain");
}

}  // namespace
}  // namespace cohort

// Converters of published datasets and of datasets made of datasets.
#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "cohort/core/file.h"
#include "cohort/data/dataset.h"

#include "data/command_line.h"
#include "data/zip_file.h"

namespace cohort::data_prep {
namespace {

/// rgb_metadata.csv and a 2 x 2 image for each line: split, year and country.
class Fmow : public Commands {
 protected:
  void make(const std::vector<std::array<const char*, 3>>& images) {
    std::string lines = "split,img_filename,category,country_code,timestamp\n";
    for (std::size_t i = 0; i < images.size(); ++i) {
      const auto [split, year, country] = images[i];
      lines += fmt::format("{},x.jpg,{},{},{}-02-28T23:59:59Z\n", split, i % 2 == 0 ? "zoo" : "dam", country,
                           year);
      if (world_.rank() == 0) {
        testing::write_png(path("f") / "images" / fmt::format("rgb_img_{}.png", i), 2, 2, 3,
                           std::vector<std::uint8_t>(12, static_cast<std::uint8_t>(i)));
      }
    }
    write("f/rgb_metadata.csv", lines);
    write("f/country_code_mapping.csv", "name,alpha-3,region\nKenya,KEN,Africa\nFrance,FRA,Europe\n");
  }
};

TEST_F(Fmow, HasTheOfficialSplitsAndRegions) {
  make({{"train", "2012", "KEN"},
        {"train", "2013", "KEN"},
        {"val", "2012", "FRA"},
        {"val", "2013", "FRA"},
        {"val", "2016", "FRA"},
        {"test", "2012", "ATA"},
        {"test", "2015", "KEN"},
        {"test", "2016", "KEN"},
        {"seq", "2010", "KEN"},
        {"train", "2002", "FRA"}});

  EXPECT_EQ(in_folder("convert wilds-fmow --root {0}/f --out {0}/d"), ExitCode::done);

  const auto ids = [&](const char* split) { return data::Dataset::open(path("d"), split).ids(); };
  EXPECT_EQ(ids("train"), (std::vector<std::string>{"images/rgb_img_0.png", "images/rgb_img_9.png"}));
  EXPECT_EQ(ids("id_val"), (std::vector<std::string>{"images/rgb_img_2.png"}));
  EXPECT_EQ(ids("val"), (std::vector<std::string>{"images/rgb_img_3.png"}));
  EXPECT_EQ(ids("id_test"), (std::vector<std::string>{"images/rgb_img_5.png"}));
  EXPECT_EQ(ids("test"), (std::vector<std::string>{"images/rgb_img_7.png"}));
  const data::Dataset train = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(train.description().context("region").values,
            (std::vector<std::string>{"Africa", "Europe", "Other"}));
  EXPECT_EQ(train.description().context("year").values,
            (std::vector<std::string>{"2002", "2012", "2013", "2016"}));
  EXPECT_EQ(train.description().label("category").classes, (std::vector<std::string>{"dam", "zoo"}));
  EXPECT_EQ(train.images(std::vector<std::int64_t>{1}).data_ptr<float>()[0], 9.0F);
}

TEST_F(Fmow, NamesATimeThatIsNone) {
  make({{"train", "last", "KEN"}});
  EXPECT_NE(refused("convert wilds-fmow --root {0}/f --out {0}/d").find("the time 'last-02-28T23:59:59Z'"),
            std::string::npos);
}

TEST_F(Commands, MergedJpegImagesAreCopiedByteForByte) {
  const std::string line = "synth --contexts 2 --images-per-context 3 --size 16 --channels 3 --out {0}/";
  EXPECT_EQ(in_folder(line + "raw"), ExitCode::done);
  EXPECT_EQ(in_folder(line + "q40 --codec jpeg --jpeg-quality 40"), ExitCode::done);
  EXPECT_EQ(in_folder(line + "q90 --codec jpeg --jpeg-quality 90"), ExitCode::done);
  EXPECT_EQ(in_folder("merge {0}/q40 {0}/q90 --prefix-ids --out {0}/both"), ExitCode::done);
  EXPECT_EQ(in_folder("merge {0}/q40 {0}/raw --prefix-ids --out {0}/mixed"), ExitCode::done);

  const data::Dataset one = data::Dataset::open(path("q40"), "train"),
                      both = data::Dataset::open(path("both"), "train"),
                      mixed = data::Dataset::open(path("mixed"), "train");
  EXPECT_EQ(both.rows(), 2 * one.rows());
  EXPECT_EQ(mixed.rows(), 2 * one.rows());
  for (std::int64_t row = 0; row < one.rows(); ++row) {
    const std::string id = "q40/" + one.ids()[static_cast<std::size_t>(row)];
    const auto at = std::find(both.ids().begin(), both.ids().end(), id) - both.ids().begin();
    ASSERT_LT(at, both.rows());
    EXPECT_EQ(both.encoded(at), one.encoded(row));
  }
}

/// NumPy's format, version 1.
std::string npy(const std::vector<float>& values, const std::string& shape) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
  header += std::string(117 - header.size(), ' ') + "\n";
  const std::string magic("\x93NUMPY\x01\x00\x76\x00", 10);
  return magic + header +
         std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

TEST_F(Commands, ImagesThatAreNotFiniteAreRefused) {
  write("f/a/0.npy", npy({0, 1, 2, 3}, "2, 2"));
  write("f/a/1.npy", npy({0, 1, std::numeric_limits<float>::quiet_NaN(), 3}, "2, 2"));
  const std::string line = "convert images {0}/f --layout context --out {0}/d";

  EXPECT_NE(refused(line).find("image 'a/1.npy' has values that are not finite"), std::string::npos);
  EXPECT_EQ(in_folder(line + " --on-error skip"), ExitCode::done);
  EXPECT_EQ(data::Dataset::open(path("d"), "train").ids(), (std::vector<std::string>{"a/0.npy"}));
}

TEST_F(Commands, AxesThatAreReadOtherwiseMakeAnotherDataset) {
  std::vector<float> values(27);
  std::iota(values.begin(), values.end(), 0.0F);
  write("f/0.npy", npy(values, "3, 3, 3"));
  write("x.npz", testing::zip_of({testing::stored("X.npy", npy(values, "1, 3, 3, 3"))}));
  for (const auto& [line, last, first] :
       {std::array{"convert images {0}/f --layout none --out {0}/d", " --axes HWC", " --axes CHW"},
        {"convert npz {0}/x.npz --images X --out {0}/e", " --axes NHWC", " --axes NCHW"}}) {
    EXPECT_EQ(in_folder(std::string(line) + last), ExitCode::done);
    EXPECT_EQ(in_folder(std::string(line) + last), ExitCode::done);
    EXPECT_NE(refused(std::string(line) + first).find("already holds another dataset"), std::string::npos)
        << line;
    world_.barrier();
  }
}

}  // namespace
}  // namespace cohort::data_prep

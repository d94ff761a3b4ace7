// Images that are no dataset, prepared as those that a model was trained on.
#include "jobs/image_files.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/image_codec.h"

#include "support/ranks.h"
#include "support/tiny_dataset.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

class Images : public ::testing::Test {
 protected:
  Images() {
    trained_on.label = "corner";
    trained_on.classes = {"dark", "bright"};
    trained_on.contexts = {{"site", {"x", "y"}}};
    trained_on.channels = {"gray"};
    trained_on.images = {data::PixelType::u8, 1, 8, 8};
    trained_on.mean = {100.0};
    trained_on.deviation = {50.0};
    if (world.rank() == 0) {
      write("b/bright/2.png", 200);
      write("a/dark/1.png", 100);
      write("a/bright/0.png", 150, 16);
    }
    world.barrier();
  }
  /// All pixels alike.
  void write(const std::string& name, int light, std::int64_t side = 8) {
    const std::vector<std::byte> pixels(static_cast<std::size_t>(side * side), static_cast<std::byte>(light));
    const std::string bytes =
        text(data::encode_image(data::Codec::png, {data::PixelType::u8, 1, side, side}, 0, pixels));
    fs::create_directories((photos() / name).parent_path());
    write_file_atomically(photos() / name, bytes);
  }
  static std::string text(std::span<const std::byte> bytes) {
    const void* start = bytes.data();
    return {static_cast<const char*>(start), bytes.size()};
  }
  [[nodiscard]] fs::path photos() const { return folder.path() / "photos"; }
  /// A folder with an image whose red is 10, green 20 and blue 30.
  std::string colours() {
    std::vector<std::byte> pixels;
    for (const int light : {10, 20, 30}) pixels.insert(pixels.end(), 64, static_cast<std::byte>(light));
    const fs::path file = folder.path() / "colours" / "a" / "0.png";
    if (world.rank() == 0) {
      fs::create_directories(file.parent_path());
      write_file_atomically(
          file, text(data::encode_image(data::Codec::png, {data::PixelType::u8, 3, 8, 8}, 0, pixels)));
    }
    world.barrier();
    return (folder.path() / "colours").string();
  }
  ImageFiles find(ImageOptions options) { return {std::move(options), trained_on, chosen_channels, world}; }
  static int light(const data::Dataset& dataset, std::int64_t row) {
    std::vector<std::byte> pixels(64);
    dataset.read(row, pixels);
    return static_cast<int>(pixels.back());
  }
  std::string refusal(const ImageOptions& options) {
    try {
      find(options);
    } catch (const Error& error) {
      return error.text().what;
    }
    return "accepted";
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
  data::Signature trained_on;
  bool chosen_channels = false;
};

TEST_F(Images, OfAFolderHaveTheNamesOfFoldersAsContextsAndTheSizeOfTraining) {
  const ImageFiles files = find({.paths = {photos().string()}});
  const data::Dataset dataset = files.open("images");

  EXPECT_FALSE(files.has_splits());
  EXPECT_EQ(files.description().contexts.front().name, "site");
  EXPECT_EQ(files.description().contexts.front().values, (Names{"a/bright", "a/dark", "b/bright"}));
  EXPECT_EQ(files.description().mean, trained_on.mean);
  EXPECT_EQ(dataset.ids(), (Names{"a/bright/0.png", "a/dark/1.png", "b/bright/2.png"}));
  EXPECT_EQ(dataset.description().images, trained_on.images);
  EXPECT_EQ(light(dataset, 0), 150);
  EXPECT_EQ(light(dataset, 2), 200);
}

TEST_F(Images, OfALayoutHaveTheModelsOwnNames) {
  const ImageFiles files = find({.paths = {photos().string()}, .layout = "context/label"});
  const data::Dataset dataset = files.open("images");

  EXPECT_EQ(dataset.description().contexts.front().name, "site");
  EXPECT_EQ(dataset.contexts("site"), (std::vector<std::int32_t>{0, 0, 1}));
  EXPECT_EQ(dataset.description().label("corner").classes, (Names{"bright", "dark"}));
  EXPECT_EQ(dataset.labels("corner"), (std::vector<std::int32_t>{0, 1, 0}));
}

TEST_F(Images, HaveTheirOwnOrderOfChannelsWhereTheModelsWereChosen) {
  const ImageOptions options{.paths = {colours()}};
  const auto lights = [&](data::Dataset dataset) {
    dataset.choose_channels(trained_on.channels);
    const at::Tensor image = dataset.images(std::vector<std::int64_t>{0});
    return std::vector<float>(image.const_data_ptr<float>(), image.const_data_ptr<float>() + image.numel());
  };
  const auto planes = [](const std::vector<int>& wanted) {
    std::vector<float> all;
    for (const int light : wanted) all.insert(all.end(), 64, static_cast<float>(light));
    return all;
  };
  trained_on.channels = {"blue", "red", "green"};
  EXPECT_EQ(lights(find(options).open("images")), planes({10, 20, 30})) << "as those of its dataset";
  chosen_channels = true;
  EXPECT_EQ(lights(find(options).open("images")), planes({30, 10, 20}));
  trained_on.channels = {"blue", "red"};
  EXPECT_EQ(lights(find(options).open("images")), planes({30, 10}));
  trained_on.channels = {"er", "dna", "actin"};
  EXPECT_EQ(refusal(options),
            "the model sees chosen channels: er, dna, actin; which of the images are they?");
}

TEST_F(Images, ByNameAndInListsAreTakenAsTheyAreWritten) {
  const std::string one = (photos() / "a/dark/1.png").string(), two = (photos() / "b/bright/2.png").string();
  if (world.rank() == 0) write_file_atomically(folder.path() / "list.txt", two + "\r\n\n");
  world.barrier();

  const ImageFiles files = find({.paths = {one, (folder.path() / "list.txt").string()}});

  EXPECT_EQ(files.open("images").ids(), (Names{one, two}));
}

TEST_F(Images, OfOneFolderAreOneContext) {
  const ImageFiles files = find({.paths = {(photos() / "b/bright/").string()}});

  EXPECT_EQ(files.description().contexts.front().values, Names{"bright"});
}

TEST_F(Images, ThatAreDamagedEndItOrAreListed) {
  if (world.rank() == 0) write_file_atomically(photos() / "a/bright/00.png", "no image");
  world.barrier();
  const fs::path list = folder.path() / "out.csv.skipped.csv";

  const ImageFiles files = find({.paths = {photos().string()}, .on_error = "skip", .skipped = list.string()});

  EXPECT_EQ(files.open("images").rows(), 3);
  EXPECT_NE(read_file(list).find("\na/bright/00.png,"), std::string::npos) << read_file(list);
  const ImageFiles all = find({.paths = {photos().string()}});
  EXPECT_THROW(light(all.open("images"), 1), DataError);
}

TEST_F(Images, ThatDoNotSayEnoughAreRefused) {
  EXPECT_EQ(refusal({.paths = {photos().string(), photos().string()}}), "a folder among other images");
  EXPECT_EQ(refusal({.paths = {(photos() / "a/dark/1.png").string()}, .layout = "context"}),
            "a layout says what the folders below one folder are");
  if (world.rank() == 0) fs::create_directories(folder.path() / "empty");
  world.barrier();
  EXPECT_EQ(refusal({.paths = {(folder.path() / "empty").string()}}),
            "there are no images in the folder: no PNG, JPEG, TIFF or npy file");
  trained_on.contexts.push_back({"plate", {"p"}});
  EXPECT_EQ(refusal({.paths = {photos().string()}}),
            "the model has the context keys site, plate: which folders are they?");
}

}  // namespace
}  // namespace cohort::jobs

// What cohort-data does around conversions: damaged inputs, export, contact sheets.
#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>

#include "cohort/data/dataset.h"

#include "data/command_line.h"
#include "data_prep/image_file.h"

namespace cohort::data_prep {
namespace {

TEST_F(Commands, DamagedMissingAndOtherImagesAreSkippedAndListed) {
  make_photos();
  if (world_.rank() == 0) {
    write_file_atomically(path("photos/north/cat/0.png"), "no image");  // the very first
    testing::write_png(path("photos/south/dog/2.png"), 5, 6, 1, std::vector<std::uint8_t>(30, 1));
  }
  world_.barrier();
  const std::string line = "convert images {0}/photos --layout context:site/label:kind --out {0}/d";
  EXPECT_NE(refused(line).find("it is neither PNG nor JPEG nor TIFF"), std::string::npos);

  EXPECT_EQ(in_folder(line + " --on-error skip"), ExitCode::done);

  const data::Dataset all = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(all.rows(), 10);
  EXPECT_EQ(all.ids().front(), "north/cat/1.png");
  EXPECT_EQ(all.images(std::vector<std::int64_t>{0}).data_ptr<float>()[0], 20.0F);
  EXPECT_EQ(all.labels("kind")[2], 1);
  const std::string list = read_file(path("d/skipped.csv"));
  EXPECT_NE(list.find("north/cat/0.png,the image cannot be read"), std::string::npos) << list;
  EXPECT_NE(list.find("south/dog/2.png,\"its layout (1 channel, 5 x 6, u8) is not that of the first image"),
            std::string::npos)
      << list;
}

TEST_F(Commands, WithoutAnyGoodImageNothingIsMade) {
  write("photos/a/0.png", "no image");

  EXPECT_NE(
      refused("convert images {0}/photos --layout context:site --on-error skip --out {0}/d")
          .find(
              "not one of the images can be read, the first one because of: the image cannot be read: it is "
              "neither PNG nor JPEG"),
      std::string::npos);
  if (world_.rank() == 0) testing::write_png(path("good/a/0.png"), 1, 1, 1, {1});
  world_.barrier();
  EXPECT_NE(refused("convert images {0}/good --layout context --resize 4x4x4 --on-error skip --out {0}/d")
                .find("because of: images have no depth, which --resize gives them"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path("d/dataset.json")));
}

std::string columns_of(const data::Description& description) {
  std::string text;
  for (const auto& label : description.labels) text += " --label " + label.name;
  for (const auto& context : description.contexts) text += " --context " + context.name;
  return text;
}

TEST_F(Commands, ExportedImagesMakeTheSameShardsAgain) {
  for (const char* channels : {"1", "3"}) {
    const std::string name = std::string("made") + channels;
    EXPECT_EQ(
        in_folder("synth --contexts 3 --images-per-context 4 --size 8x6 --hold-out-images 2 --channels " +
                  std::string(channels) + " --out {0}/" + name),
        ExitCode::done);
    const auto made = data::Description::read(path(name));

    EXPECT_EQ(in_folder("export {0}/" + name + " --out {0}/files-" + name), ExitCode::done);
    EXPECT_EQ(in_folder("convert manifest {0}/files-" + name + "/images.csv --id id --split split" +
                        columns_of(made) + " --out {0}/again-" + name),
              ExitCode::done);

    const auto again = data::Description::read(path("again-" + name));
    ASSERT_EQ(again.splits.size(), made.splits.size());
    for (std::size_t split = 0; split < made.splits.size(); ++split) {
      for (std::size_t shard = 0; shard < made.splits[split].shards.size(); ++shard) {
        EXPECT_EQ(again.split(made.splits[split].name).shards.at(shard).checksum,
                  made.splits[split].shards[shard].checksum);
      }
    }
  }
}

TEST_F(Commands, ExportRefusesFoldersInUseAndPngForWhatItCannotHold) {
  EXPECT_EQ(in_folder("synth --contexts 1 --images-per-context 2 --channels 2 --size 4 --out {0}/d"),
            ExitCode::done);
  EXPECT_NE(refused("export {0}/d --out {0}/e --format png").find("--format npy"), std::string::npos);
  EXPECT_NE(refused("export {0}/d --out {0}/d").find("the folder is not empty"), std::string::npos);
  EXPECT_NE(refused("export {0}/d --out {0}/e --split tset").find("the dataset has no split 'tset'"),
            std::string::npos);

  EXPECT_EQ(in_folder("export {0}/d --out {0}/e"), ExitCode::done);

  const std::string file = read_file(path("e/train/0000000001.npy"));
  EXPECT_EQ(file.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_NE(file.find("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4, 4), }"), std::string::npos);
  ASSERT_EQ(file.size(), 128U + 32U);
  std::vector<std::byte> image(32);
  data::Dataset::open(path("d"), "train").read(1, image);
  EXPECT_EQ(std::memcmp(file.data() + 128, image.data(), 32), 0);
}

/// How many dark pixels, those of letters, lie in some rows of a gray sheet.
std::int64_t ink(const Image& sheet, std::int64_t first, std::int64_t last) {
  const auto begin = sheet.pixels.begin() + first * sheet.layout.width,
             end = sheet.pixels.begin() + last * sheet.layout.width;
  return std::count(begin, end, std::byte{40});
}

TEST_F(Commands, ContactSheetsShowEveryClassOfAContextInALine) {
  make_photos();
  in_folder("convert images {0}/photos --layout context:site/label:kind --out {0}/d");

  EXPECT_EQ(in_folder("inspect {0}/d --contact-sheets {0}/sheets --images 2"), ExitCode::done);

  // Images of 4 x 6 pixels are shown 11 times as large. A title of 13 pixels, then of each class a heading of
  // 13 and 3, an image of 44, captions of 26, and gaps of 6.
  const Image sheet = read_image(path("sheets/south.png"));
  EXPECT_EQ(sheet.layout.channels, 1);
  EXPECT_EQ(sheet.layout.height, 25 + 2 * (16 + 44 + 26 + 6));
  const auto pixel = [&](std::int64_t y, std::int64_t x) {
    return std::to_integer<int>(sheet.pixels[static_cast<std::size_t>(y * sheet.layout.width + x)]);
  };
  EXPECT_EQ(pixel(0, 0), 255);
  EXPECT_EQ(pixel(41, 6), 70);  // first cat of the south
  EXPECT_EQ(pixel(84, 6 + 65), 70);
  EXPECT_EQ(pixel(41, 84), 80);     // its second one
  EXPECT_EQ(pixel(133, 6), 100);    // first dog
  EXPECT_EQ(pixel(176, 149), 110);  // last pixel of the second
  EXPECT_GT(ink(sheet, 6, 19), 100) << "d: site = south, 6 images";
  EXPECT_GT(ink(sheet, 25, 38), 50) << "kind = cat: 2 of 3";
  EXPECT_GT(ink(sheet, 85, 111), 100) << "train, and the ids";
}

TEST_F(Commands, AFolderOfImagesIsADatasetWithoutLabelsAndContexts) {
  if (world_.rank() == 0) {
    for (int i = 0; i < 10; ++i)
      testing::write_png(path("flat") / fmt::format("{}.png", i), 4, 6, 1,
                         std::vector<std::uint8_t>(24, 20 + i));
  }
  world_.barrier();

  EXPECT_EQ(in_folder("convert images {0}/flat --fractions train=0.8,val=0.2 --channels phase --out {0}/d"),
            ExitCode::done);

  const data::Description made = data::Description::read(path("d"));
  EXPECT_TRUE(made.labels.empty());
  EXPECT_TRUE(made.contexts.empty());
  EXPECT_EQ(made.channels, std::vector<std::string>{"phase"});
  EXPECT_EQ(made.split("train").rows(), 8);
  EXPECT_EQ(in_folder("inspect {0}/d --contact-sheets {0}/sheets"), ExitCode::done);
  EXPECT_EQ(read_image(path("sheets/all.png")).layout.height, 25 + 44 + 26 + 6);
  EXPECT_EQ(in_folder("verify {0}/d"), ExitCode::done);
  EXPECT_EQ(in_folder("export {0}/d --out {0}/files"), ExitCode::done);
  EXPECT_EQ(in_folder("convert manifest {0}/files/images.csv --id id --split split --out {0}/again"),
            ExitCode::done);
  EXPECT_EQ(data::Description::read(path("again")).split("train").shards.at(0).checksum,
            made.split("train").shards.at(0).checksum);
  EXPECT_EQ(in_folder("split {0}/d --folds 5 --fold 2 --out {0}/fold"), ExitCode::done);
  EXPECT_EQ(data::Dataset::open(path("fold"), "test").rows(), 2);
  EXPECT_EQ(in_folder("merge {0}/d {0}/fold --prefix-ids --out {0}/both"), ExitCode::done);
  EXPECT_EQ(in_folder("verify {0}/both"), ExitCode::done);
  EXPECT_NE(refused("convert images {0}/flat --channels a,b --out {0}/e")
                .find("2 channels are named, the images have 1"),
            std::string::npos);
  EXPECT_NE(
      refused("convert images {0}/flat --channels other --out {0}/d").find("already holds another dataset"),
      std::string::npos);
}

TEST_F(Commands, AColumnThatIsNoContextCanKeepImagesTogether) {
  make_photos();
  std::string table = "path,kind,patient\n";
  for (int i = 0; i < 12; ++i)
    table += fmt::format("photos/{}/{}/{}.png,{},p{}\n", i < 6 ? "north" : "south", i % 6 < 3 ? "cat" : "dog",
                         i % 3, i % 2, i % 4);
  write("list.csv", table);
  EXPECT_EQ(
      in_folder(
          "convert manifest {0}/list.csv --label kind --fractions train=0.5,test=0.5 --group-by patient "
          "--out {0}/d"),
      ExitCode::done);
  EXPECT_TRUE(data::Description::read(path("d")).contexts.empty());
  EXPECT_EQ(data::Dataset::open(path("d"), "test").rows(), 6);
  EXPECT_NE(
      refused("convert manifest {0}/list.csv --fractions train=0.5,test=0.5 --group-by patien --out {0}/e")
          .find("did you mean 'patient'?"),
      std::string::npos);
}

TEST_F(Commands, ContactSheetsNameWhatTheyCannotShow) {
  EXPECT_EQ(in_folder("synth --contexts 1 --images-per-context 2 --channels 2 --size 4 --out {0}/d"),
            ExitCode::done);
  EXPECT_NE(refused("inspect {0}/d --contact-sheets {0}/s --channels 0,1")
                .find("a contact sheet shows one or three of channels 0 … 1"),
            std::string::npos);
  EXPECT_NE(refused("inspect {0}/d --contact-sheets {0}/s --context plate").find("no context key 'plate'"),
            std::string::npos);
}

TEST_F(Commands, MergedDatasetsHaveTheImagesOfBoth) {
  make_photos();
  const std::string layout = "convert images {0}/photos --layout context:site/label:kind --out {0}/";
  EXPECT_EQ(in_folder(layout + "a --hold-out-images 3 --name a"), ExitCode::done);
  if (world_.rank() == 0) {
    std::filesystem::rename(path("photos/south"), path("photos/west"));
    std::filesystem::rename(path("photos/north/dog"), path("photos/north/bird"));
  }
  world_.barrier();
  EXPECT_EQ(in_folder(layout + "b --name b --codec png"), ExitCode::done);
  EXPECT_NE(refused("merge {0}/a {0}/b --out {0}/c").find("two images are called 'north/cat/"),
            std::string::npos);

  EXPECT_EQ(in_folder("merge {0}/a {0}/b --out {0}/c --prefix-ids"), ExitCode::done);

  const data::Description both = data::Description::read(path("c"));
  EXPECT_EQ(both.codec, data::Codec::raw);
  EXPECT_EQ(both.label("kind").classes, (std::vector<std::string>{"cat", "dog", "bird"}));
  EXPECT_EQ(both.context("site").values, (std::vector<std::string>{"north", "south", "west"}));
  const data::Dataset train = data::Dataset::open(path("c"), "train"),
                      seen = data::Dataset::open(path("c"), "seen_test"),
                      first = data::Dataset::open(path("a"), "seen_test");
  EXPECT_EQ(train.rows() + seen.rows(), 24);
  ASSERT_EQ(seen.rows(), first.rows());
  for (std::int64_t row = 0; row < seen.rows(); ++row) {
    const auto index = static_cast<std::size_t>(row);
    EXPECT_EQ(seen.ids()[index], "a/" + first.ids()[index]);
    EXPECT_TRUE(at::equal(seen.images(std::span(&row, 1)), first.images(std::span(&row, 1))));
  }
  EXPECT_EQ(in_folder("verify {0}/c"), ExitCode::done);
}

TEST_F(Commands, ASplitHasTheImagesThatWereAskedFor) {
  make_photos();
  EXPECT_EQ(in_folder("convert images {0}/photos --layout context:site/label:kind --out {0}/a"),
            ExitCode::done);

  EXPECT_EQ(in_folder("split {0}/a --keep site=south --keep kind=dog,cow --out {0}/dogs"), ExitCode::done);
  EXPECT_EQ(in_folder("split {0}/a --hold-out-contexts 2 --out {0}/held"), ExitCode::done);

  const data::Dataset dogs = data::Dataset::open(path("dogs"), "train");
  EXPECT_EQ(dogs.ids(), (std::vector<std::string>{"south/dog/0.png", "south/dog/1.png", "south/dog/2.png"}));
  EXPECT_EQ(dogs.images(std::vector<std::int64_t>{0}).data_ptr<float>()[0], 100.0F);
  EXPECT_EQ(data::Dataset::open(path("held"), "unseen_test").rows(), 6);
  EXPECT_EQ(data::Dataset::open(path("held"), "train").rows(), 6);
  for (const auto& [line, message] :
       {std::pair{"split {0}/a --keep sit=south --out {0}/x", "did you mean 'site'?"},
        {"split {0}/a --keep south --out {0}/x", "'south' does not say which values of what to keep"},
        {"split {0}/a --split trian --out {0}/x", "did you mean 'train'?"},
        {"split {0}/a --keep site=east --out {0}/x", "there are no images"}})
    EXPECT_NE(refused(line).find(message), std::string::npos) << refused(line);
}

TEST_F(Commands, ADatasetTellsHowItsImagesWerePrepared) {
  make_photos();
  const std::string line = "convert images {0}/photos --layout context:site/label:kind --resize 4 --out {0}/";
  EXPECT_EQ(in_folder(line + "crop --fit crop"), ExitCode::done);
  EXPECT_EQ(in_folder(line + "stretch"), ExitCode::done);
  EXPECT_NE(refused(line + "crop --fit pad").find("already holds another dataset"), std::string::npos);
  world_.barrier();
  EXPECT_EQ(in_folder("split {0}/crop --keep site=south --out {0}/south"), ExitCode::done);
  EXPECT_EQ(in_folder("merge {0}/crop {0}/stretch --prefix-ids --out {0}/both"), ExitCode::done);

  const data::Preparation cropped{false, 4, 4, data::Fit::crop};
  EXPECT_EQ(data::Description::read(path("crop")).preparation, cropped);
  EXPECT_EQ(data::Description::read(path("south")).preparation, cropped);
  EXPECT_EQ(data::Description::read(path("both")).preparation, std::nullopt) << "they contradict each other";
}

TEST_F(Commands, ImagesOfOtherLayoutsAreNotMerged) {
  for (const char* size : {"4", "8"})
    EXPECT_EQ(
        in_folder(fmt::format("synth --contexts 1 --images-per-context 2 --size {0} --out {{0}}/{0}", size)),
        ExitCode::done);

  EXPECT_NE(refused("merge {0}/4 {0}/8 --out {0}/d").find("another layout (3 channels, 8 x 8, u8)"),
            std::string::npos);
}

}  // namespace
}  // namespace cohort::data_prep

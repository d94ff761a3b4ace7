// Fields through the sub-commands of cohort-data, as they are typed, on several ranks.
#include <cmath>
#include <cstring>

#include "cohort/data/dataset.h"

#include "data/command_line.h"
#include "data_prep/convert.h"
#include "data_prep/export_fields.h"
#include "support/faults.h"

namespace cohort::data_prep {
namespace {

const std::string kAllFields =
    " --field image --field mask --field boxes --field points --field tokens --field text --field numbers "
    "--field flags --field vector";
const std::string kAllColumns =
    " --second-image image --mask mask --boxes boxes --points points --tokens tokens --text text --numbers "
    "brightness,contrast=numbers --flags class0,class1=flags --vector vector --classes "
    "mask=background,stripe "
    "--classes boxes=class0,class1 --classes points=class0,class1";

template <class Value>
std::vector<Value> values_of(const data::Dataset& dataset, std::int64_t row, const std::string& field) {
  std::vector<std::byte> bytes;
  dataset.read_field(row, field, bytes);
  std::vector<Value> values(bytes.size() / sizeof(Value));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

void expect_same_shards(const std::filesystem::path& one, const std::filesystem::path& other) {
  const auto first = data::Description::read(one), second = data::Description::read(other);
  EXPECT_EQ(first.fields, second.fields);
  ASSERT_EQ(first.splits.size(), second.splits.size());
  for (const data::Split& split : first.splits) {
    ASSERT_FALSE(split.shards.empty());
    ASSERT_EQ(split.shards.size(), second.split(split.name).shards.size());
    for (std::size_t i = 0; i < split.shards.size(); ++i)
      EXPECT_EQ(split.shards[i].checksum, second.split(split.name).shards[i].checksum);
  }
}

class FieldCommands : public Commands {
 protected:
  void make(const std::string& name) {
    ASSERT_EQ(in_folder("synth --contexts 3 --images-per-context 5 --size 12x10 --hold-out-images 2" +
                        kAllFields + " --out {0}/" + name),
              ExitCode::done);
  }
};

TEST_F(FieldCommands, SynthMakesEveryKindTheSameOnAnyRanks) {
  make("d");
  comm::Communicator alone = world_.split(world_.rank(), "alone");
  if (world_.rank() == 0) {
    run(fmt::format("synth --contexts 3 --images-per-context 5 --size 12x10 --hold-out-images 2{} --out {}",
                    kAllFields, path("alone").string()),
        alone);
    for (const auto& entry : std::filesystem::directory_iterator(path("d"))) {
      if (entry.path().extension() == ".h5") {
        EXPECT_EQ(read_file(entry.path()), read_file(path("alone") / entry.path().filename()));
      }
    }
  }
  world_.barrier();
  const data::Dataset train = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(train.description().version(), 3);
  EXPECT_EQ(train.description().fields.size(), 9U);
  const std::vector<char> text = values_of<char>(train, 0, "text");
  EXPECT_TRUE(std::string(text.begin(), text.end()).starts_with("stripes of class "));
  EXPECT_GE(values_of<float>(train, 0, "boxes").size(), 5U);
  EXPECT_EQ(in_folder("verify {0}/d"), ExitCode::done);
  EXPECT_EQ(in_folder("inspect {0}/d --contact-sheets {0}/sheets"), ExitCode::done);
}

TEST_F(FieldCommands, ExportedFieldsMakeTheSameShardsAgain) {
  make("d");
  EXPECT_EQ(in_folder("export {0}/d --out {0}/files"), ExitCode::done);
  EXPECT_EQ(
      in_folder(
          "convert manifest {0}/files/images.csv --id id --split split --label class --context context" +
          kAllColumns + " --out {0}/again"),
      ExitCode::done);
  expect_same_shards(path("d"), path("again"));
}

TEST_F(FieldCommands, SplitAndMergeCarryThem) {
  make("d");
  for (const char* context : {"00000", "00001,00002"}) {
    EXPECT_EQ(in_folder("split {0}/d --keep context=" + std::string(context) + " --out {0}/part" +
                        std::string(context).substr(4, 1)),
              ExitCode::done);
  }
  EXPECT_EQ(in_folder("merge {0}/part0 {0}/part1 --out {0}/both"), ExitCode::done);
  expect_same_shards(path("d"), path("both"));

  EXPECT_EQ(in_folder("synth --contexts 1 --images-per-context 3 --size 12x10 --field text --out {0}/texts"),
            ExitCode::done);
  EXPECT_NE(
      refused("merge {0}/d {0}/texts --prefix-ids --out {0}/x").find("the dataset has no field 'image'"),
      std::string::npos);
  EXPECT_EQ(in_folder("merge {0}/texts {0}/d --prefix-ids --out {0}/x"), ExitCode::done)
      << "others are left out";
  EXPECT_EQ(data::Description::read(path("x")).fields.size(), 1U);
  EXPECT_EQ(
      in_folder(
          "synth --contexts 1 --images-per-context 3 --size 12x10 --classes 3 --field boxes --out {0}/boxes"),
      ExitCode::done);
  EXPECT_NE(
      refused("merge {0}/d {0}/boxes --prefix-ids --out {0}/y").find("the dataset has no field 'image'"),
      std::string::npos);
  EXPECT_EQ(in_folder("synth --contexts 1 --images-per-context 3 --size 12x10 --field boxes --out {0}/two"),
            ExitCode::done);
  EXPECT_NE(refused("merge {0}/boxes {0}/two --prefix-ids --out {0}/y")
                .find("field 'boxes' has another kind, type, shape or other names"),
            std::string::npos);
}

TEST_F(FieldCommands, VerifyNamesADamagedField) {
  ASSERT_EQ(in_folder("synth --contexts 1 --images-per-context 4 --size 8 --field text --out {0}/d"),
            ExitCode::done);
  if (world_.rank() == 0) {
    const std::filesystem::path file = path("d/train-00000.h5");
    std::string content = read_file(file);
    const std::size_t at = content.rfind("stripes of class");
    ASSERT_NE(at, std::string::npos);
    content[at] = 'S';
    write_file_atomically(file, content);
  }
  world_.barrier();
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(in_folder("verify {0}/d"), ExitCode::data);
  std::fflush(stdout);
  const std::string output = ::testing::internal::GetCapturedStdout();
  if (world_.rank() == 0) {
    EXPECT_NE(
        output.find(
            "train-00000.h5: row 3 ('0000000003') of field 'text' is damaged: its checksum does not match"),
        std::string::npos)
        << output;
    EXPECT_NE(output.find("2 problems"), std::string::npos) << output;
  }
}

/// Two images of 4 x 8 pixels whose columns are 0 … 7, masks of the same, and a table of all else.
class FieldTable : public Commands {
 protected:
  FieldTable() {
    if (world_.rank() == 0) {
      std::vector<std::uint8_t> columns;
      for (int i = 0; i < 32; ++i) columns.push_back(static_cast<std::uint8_t>(i % 8));
      for (const char* file : {"a.png", "b.png", "masks/a.png", "masks/b.png"})
        testing::write_png(path(file), 4, 8, 1, columns);
    }
    write("list.csv",
          "path,mask,boxes,report,age,weight,oedema,mass\n"
          "a.png,masks/a.png,\"[[2, 0, 6, 4, \"\"cell\"\"], [0, 0, 1, 1, \"\"cell\"\"]]\",no "
          "\u00e4nderung,63,,1,\n"
          "b.png,masks/b.png,b.json,,,70.5,0,1\n");
    write("b.json", "[[1, 1, 7, 3]]");
  }
  const std::string line_ =
      "convert manifest {0}/list.csv --mask mask --boxes boxes --classes boxes=cell --text report --numbers "
      "age,weight=body --flags oedema,mass=findings --out {0}/";
};

TEST_F(FieldTable, ColumnsBecomeFields) {
  ASSERT_EQ(in_folder(line_ + "d"), ExitCode::done);
  const data::Dataset train = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(train.description().field("body").names, (std::vector<std::string>{"age", "weight"}));
  EXPECT_EQ(values_of<float>(train, 0, "boxes"), (std::vector<float>{2, 0, 6, 4, 0, 0, 0, 1, 1, 0}));
  EXPECT_EQ(values_of<float>(train, 1, "boxes"), (std::vector<float>{1, 1, 7, 3, -1}));
  const std::vector<char> report = values_of<char>(train, 0, "report");
  EXPECT_EQ(std::string(report.begin(), report.end()), "no \u00e4nderung");
  EXPECT_TRUE(values_of<char>(train, 1, "report").empty());
  EXPECT_EQ(values_of<float>(train, 0, "body")[0], 63.0F);
  EXPECT_TRUE(std::isnan(values_of<float>(train, 0, "body")[1]));
  EXPECT_EQ(values_of<std::uint8_t>(train, 0, "findings"), (std::vector<std::uint8_t>{1, 255}));
  EXPECT_EQ(values_of<std::uint8_t>(train, 1, "findings"), (std::vector<std::uint8_t>{0, 1}));
  EXPECT_EQ(values_of<std::uint8_t>(train, 1, "mask")[13], 5);
  // The same again changes nothing; another box is another dataset.
  EXPECT_EQ(in_folder(line_ + "d --recheck"), ExitCode::done);
  write("b.json", "[[1, 1, 7, 4]]");
  EXPECT_NE(refused(line_ + "d").find("the folder already holds another dataset"), std::string::npos);
}

TEST_F(FieldTable, MasksAndBoxesMoveWithTheirImages) {
  ASSERT_EQ(in_folder(line_ + "d --resize 4 --fit crop --field-codec mask=png"), ExitCode::done);
  const data::Dataset train = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(train.description().field("mask").shape, (std::vector<std::int64_t>{4, 4}));
  const std::vector<std::uint8_t> mask = values_of<std::uint8_t>(train, 0, "mask");
  const at::Tensor image = train.images(std::vector<std::int64_t>{0});
  for (std::size_t i = 0; i < mask.size(); ++i)
    EXPECT_EQ(image.data_ptr<float>()[i], static_cast<float>(mask[i]));
  EXPECT_EQ(mask[0], 2);
  EXPECT_EQ(values_of<float>(train, 0, "boxes"), (std::vector<float>{0, 0, 4, 4, 0}))
      << "the other one is cut off";
  ASSERT_EQ(in_folder(line_ + "p --resize 8 --fit pad"), ExitCode::done);
  const data::Dataset padded = data::Dataset::open(path("p"), "train");
  EXPECT_EQ(values_of<std::uint8_t>(padded, 0, "mask")[0], 255) << "not known";
  EXPECT_EQ(values_of<std::uint8_t>(padded, 0, "mask")[16], 0);
  EXPECT_EQ(values_of<float>(padded, 1, "boxes"), (std::vector<float>{1, 3, 7, 5, -1}));
}

TEST_F(FieldTable, WhatDoesNotFitIsNamedWithItsLine) {
  EXPECT_NE(
      refused("convert manifest {0}/list.csv --boxes boxes --out {0}/d").find("there is no class 'cell'"),
      std::string::npos);
  EXPECT_NE(refused("convert manifest {0}/list.csv --boxes boxes --out {0}/d").find("list.csv:2, boxes"),
            std::string::npos);
  EXPECT_NE(refused("convert manifest {0}/list.csv --numbers report --out {0}/d").find("is not a number"),
            std::string::npos);
  EXPECT_NE(refused("convert manifest {0}/list.csv --text reprot --out {0}/d").find("did you mean 'report'"),
            std::string::npos);
  EXPECT_NE(refused("convert manifest {0}/list.csv --text report --label report --out {0}/d")
                .find("'report' is twice the name of a field"),
            std::string::npos);
  EXPECT_NE(refused("convert manifest {0}/list.csv --text report --field-codec report=png --out {0}/d")
                .find("field 'report' has codec png, which cannot keep kind text"),
            std::string::npos);
  EXPECT_NE(refused("convert manifest {0}/list.csv --mask mask --classes mask=a,b --out {0}/d")
                .find("field 'mask' of image 'a.png' holds class 2, of 2 that are named"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path("d/dataset.json")));
  if (world_.rank() == 0) testing::write_png(path("masks/b.png"), 4, 7, 1, std::vector<std::uint8_t>(28, 1));
  world_.barrier();
  EXPECT_NE(refused(line_ + "d --resize 4").find("the mask has 4 x 7 pixels, its image 4 x 8"),
            std::string::npos);
  EXPECT_EQ(in_folder(line_ + "d --resize 4 --on-error skip"), ExitCode::done);
  EXPECT_EQ(data::Dataset::open(path("d"), "train").ids(), (std::vector<std::string>{"a.png"}));
}

TEST_F(Commands, FilesInFoldersBesideTheImagesBecomeFields) {
  make_photos();
  if (world_.rank() == 0) {
    for (const char* folder : {"north/cat", "north/dog", "south/cat", "south/dog"}) {
      for (int i = 0; i < 3; ++i) {
        testing::write_png(path("masks") / folder / fmt::format("{}.png", i), 4, 6, 1,
                           std::vector<std::uint8_t>(24, static_cast<std::uint8_t>(i)));
        std::filesystem::create_directories(path("notes") / folder);
        write_file_atomically(path("notes") / folder / fmt::format("{}.txt", i),
                              fmt::format("{} {}", folder, i));
      }
    }
  }
  world_.barrier();
  const std::string line =
      "convert images {0}/photos --layout context:site/label:kind --mask {0}/masks=parts --text {0}/notes "
      "--out {0}/d";
  ASSERT_EQ(in_folder(line), ExitCode::done);
  const data::Dataset train = data::Dataset::open(path("d"), "train");
  const std::vector<char> note = values_of<char>(train, 4, "notes");
  EXPECT_EQ(std::string(note.begin(), note.end()), "north/dog 1");
  EXPECT_EQ(values_of<std::uint8_t>(train, 4, "parts"), std::vector<std::uint8_t>(24, 1));
  if (world_.rank() == 0) std::filesystem::remove(path("masks/south/cat/1.png"));
  world_.barrier();
  EXPECT_NE(refused(line + " --overwrite").find("the file of a mask is missing"), std::string::npos);
}

TEST_F(Commands, FilesBesideTheImagesMayEndInAnyOfTheirWays) {
  make_photos();
  if (world_.rank() == 0) {
    for (const char* folder : {"north/cat", "north/dog", "south/cat", "south/dog"}) {
      std::filesystem::create_directories(path("masks") / folder);
      for (int i = 0; i < 3; ++i) {
        const std::string values(24, static_cast<char>(10 * i + 1));
        const data::Field mask{"m", data::FieldKind::mask, data::ValueType::u8, {4, 6}};
        if (i == 1)
          write_file_atomically(path("masks") / folder / "1.npy",
                                npy_file("|u1", mask.shape, std::as_bytes(std::span(values))));
        else
          testing::write_png(path("masks") / folder / fmt::format("{}.png", i), 4, 6, 1,
                             {values.begin(), values.end()});
      }
    }
  }
  world_.barrier();
  ASSERT_EQ(
      in_folder("convert images {0}/photos --layout context:site/label:kind --mask {0}/masks --out {0}/d"),
      ExitCode::done);
  const data::Dataset train = data::Dataset::open(path("d"), "train");
  for (std::int64_t row = 0; row < 12; ++row)
    EXPECT_EQ(values_of<std::uint8_t>(train, row, "masks").front(), 10 * (row % 3) + 1);
  EXPECT_NE(
      refused("convert images {0}/photos --layout context:site/label:kind --mask {0}/nothing --out {0}/e")
          .find("there is no such folder"),
      std::string::npos);
  write("files/north", "a file in place of a folder");
  EXPECT_NE(refused("convert images {0}/photos --layout context:site/label:kind --mask {0}/files --out {0}/e")
                .find("the folder cannot be read: "),
            std::string::npos);
}

TEST_F(Commands, FilesBesideTheImagesAreFoundAtAnyDepth) {
  if (world_.rank() == 0) {
    const std::string values(1, '\3');
    std::filesystem::create_directories(path("masks/a/b"));
    for (const char* image : {"a/1.png", "a/b/2.png", "a/c.png"})
      testing::write_png(path("photos") / image, 1, 1, 1, {9});
    for (const char* mask : {"a/1.png", "a/c.png"}) testing::write_png(path("masks") / mask, 1, 1, 1, {1});
    write_file_atomically(path("masks/a/b/2.npy"), npy_file("|u1", {1, 1}, std::as_bytes(std::span(values))));
  }
  world_.barrier();
  ASSERT_EQ(in_folder("convert images {0}/photos --layout none --mask {0}/masks --out {0}/d"),
            ExitCode::done);
  EXPECT_EQ(values_of<std::uint8_t>(data::Dataset::open(path("d"), "train"), 1, "masks").front(), 3);
}

TEST_F(Commands, AnImageIsDecodedOnceForAllFieldsThatTellOfItsPixels) {
  std::int64_t decoded = 0;
  Source source;
  source.where = "images";
  source.ids = {"a", "b", "c", "d", "e"};
  source.image = [&](std::int64_t /*index*/) {
    ++decoded;
    return Image{{data::PixelType::u8, 1, 6, 4}, std::vector<std::byte>(24)};
  };
  const auto mask = [](const data::Field&, std::int64_t, const ImageChange& change) {
    EXPECT_EQ(change.height, 6);
    EXPECT_EQ(change.width, 4);
    return std::vector<std::byte>(4);
  };
  for (const char* name : {"one", "two", "three"})
    source.fields.push_back({{name, data::FieldKind::mask, data::ValueType::u8, {2, 2}}, mask});
  ConvertOptions options;
  options.out = path("d");
  options.resize = "2";
  convert(source, options, world_);
  constexpr std::int64_t kConversion = 5 + 1;  // each, and the first by rank 0, which plans with it
  EXPECT_EQ(world_.sum(decoded), kConversion);
  options.on_error = "skip";
  options.out = path("e");
  convert(source, options, world_);
  EXPECT_EQ(world_.sum(decoded), 2 * kConversion + 5 + world_.size())
      << "and when damaged ones are looked for, the first by all ranks";
}

}  // namespace
}  // namespace cohort::data_prep

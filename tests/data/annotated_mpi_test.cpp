// Annotation files and label images through the sub-commands of cohort-data, as they are typed, on several
// ranks. What annotated/ holds and what other readers give of it: annotated.py.
#include <cstring>

#include "cohort/data/dataset.h"

#include "data/command_line.h"
#include "data_prep/npz.h"

namespace cohort::data_prep {
namespace {

const std::filesystem::path kAnnotated = std::filesystem::path(COHORT_TEST_DATA) / "data" / "annotated";

/// The bytes of an array that another reader gives.
std::string expected_bytes(const std::string& name) {
  return Npz(kAnnotated / "expected.npz").array(name).bytes;
}

class Annotated : public Commands {
 protected:
  /// {0} the folder of the test, {1} that of the fixtures.
  ExitCode convert(const std::string& format) {
    return run(fmt::format(fmt::runtime(format), folder_.path().string(), kAnnotated.string()), world_);
  }
  std::string refused_convert(const std::string& format) {
    return refusal(fmt::format(fmt::runtime(format), folder_.path().string(), kAnnotated.string()), world_);
  }
  void expect_refused(const std::string& format, const std::string& part) {
    const std::string text = refused_convert(format);
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  /// Converts on all ranks, and on one: every file of both has to be the same.
  void convert_alike(const std::string& command) {
    EXPECT_EQ(convert(command + " --shard-size 64KiB --out {0}/d"), ExitCode::done);
    comm::Communicator alone = world_.split(world_.rank(), "alone");
    if (world_.rank() == 0) {
      run(fmt::format(fmt::runtime(command + " --name d --shard-size 64KiB --out {0}/alone"),
                      folder_.path().string(), kAnnotated.string()),
          alone);
      std::size_t files = 0;
      for (const auto& entry : std::filesystem::directory_iterator(path("d"))) {
        EXPECT_EQ(read_file(entry.path()), read_file(path("alone") / entry.path().filename()));
        ++files;
      }
      EXPECT_GE(files, 2U);
    }
    world_.barrier();
  }
  [[nodiscard]] data::Dataset dataset(const std::string& split = "train") const {
    return data::Dataset::open(path("d"), split);
  }
  static std::string field(const data::Dataset& dataset, std::int64_t row, const std::string& name) {
    std::vector<std::byte> bytes;
    dataset.read_field(row, name, bytes);
    const void* start = bytes.data();
    return {static_cast<const char*>(start), bytes.size()};
  }
};

TEST_F(Annotated, CocoGivesBoxesAndMasksOfPycocotools) {
  for (const std::string masks : {"class", "instance"}) {
    convert_alike("convert coco {1}/coco/cells.json --overwrite --context plate --label well --masks " +
                  masks + " --field-codec mask=zstd --field-codec boxes=zstd");
    const data::Dataset read = dataset();
    EXPECT_EQ(read.description().context("plate").values, (std::vector<std::string>{"P0", "P1"}));
    const std::vector<data::Field>& fields = read.description().fields;
    ASSERT_EQ(fields.size(), 2U);
    EXPECT_EQ(fields[0].names, (std::vector<std::string>{"mitosis", "nucleus", "debris"}));
    EXPECT_EQ(fields[1].names.size(), masks == "class" ? 4U : 0U);
    ASSERT_EQ(read.rows(), 4);
    for (std::int64_t row = 0; row < 4; ++row) {
      const char number = read.ids()[static_cast<std::size_t>(row)][2];  // "a/0.png"
      EXPECT_EQ(field(read, row, "boxes"), expected_bytes(fmt::format("boxes_{}", number)));
      EXPECT_EQ(field(read, row, "mask"),
                expected_bytes(fmt::format("{}_{}", masks == "class" ? "types" : "instances", number)));
    }
    EXPECT_EQ(in_folder("verify {0}/d"), ExitCode::done);
  }
}

TEST_F(Annotated, CocoAnnotationsGoWithTheirImages) {
  convert_alike("convert coco {1}/coco/cells.json --masks class --resize 290x370");
  const data::Dataset read = dataset();
  EXPECT_EQ(read.description().split("train").shards.size(), 4U);  // so that ranks have some each
  for (std::int64_t row = 0; row < 4; ++row) {
    const char number = read.ids()[static_cast<std::size_t>(row)][2];
    const std::string small = expected_bytes(fmt::format("types_{}", number)),
                      large = field(read, row, "mask");
    ASSERT_EQ(large.size(), 290U * 370U);
    for (std::size_t i = 0; i < large.size(); ++i)
      ASSERT_EQ(large[i], small[i / 370 / 10 * 37 + i % 370 / 10]);
    std::string boxes = expected_bytes(fmt::format("boxes_{}", number));
    for (std::size_t at = 0; at + 4 <= boxes.size(); at += 4) {
      if (at / 4 % 5 == 4) continue;
      float value = 0;
      std::memcpy(&value, boxes.data() + at, 4);
      value *= 10;
      std::memcpy(boxes.data() + at, &value, 4);
    }
    EXPECT_EQ(field(read, row, "boxes"), boxes);
  }
}

constexpr const char* kCoco =
    R"({{"images":[{{"id":1,"file_name":"{0}","height":4,"width":6,"site":"s"}}],"categories":[{{"id":1,"name":"{1}"}}],
"annotations":[{{"image_id":1,"category_id":1,"bbox":[{2},1,2,2],"segmentation":[[1,1,3,1,3,3]]}}]}})";

TEST_F(Annotated, CocoFilesAreSplits) {
  make_photos();
  write("one.json", fmt::format(kCoco, "north/cat/0.png", "cat", 1));
  write("two.json", fmt::format(kCoco, "south/dog/1.png", "cat", 1));
  EXPECT_EQ(
      convert("convert coco {0}/one.json=train {0}/two.json --images {0}/photos --context site --out {0}/d"),
      ExitCode::done);
  EXPECT_EQ(dataset("train").ids(), (std::vector<std::string>{"north/cat/0.png"}));
  EXPECT_EQ(dataset("two").ids(), (std::vector<std::string>{"south/dog/1.png"}));
  write("four.json", fmt::format(kCoco, "0.png", "cat", 1));
  write("five.json", fmt::format(kCoco, "1.png", "cat", 1));
  EXPECT_EQ(convert("convert coco {0}/four.json {0}/five.json --images {0}/photos/north/cat --images "
                    "{0}/photos/south/dog --overwrite --out {0}/d"),
            ExitCode::done);
  EXPECT_EQ(dataset("four").ids(), (std::vector<std::string>{"0.png"}));
  std::vector<std::byte> pixels(24);
  dataset("five").read(0, pixels);
  EXPECT_EQ(pixels, std::vector<std::byte>(24, std::byte{110}));  // the 11th photo: south/dog/1.png
  write("three.json", fmt::format(kCoco, "1.png", "dog", 1));
  expect_refused("convert coco {0}/one.json {0}/three.json --images {0}/photos --out {0}/e",
                 "the categories are not those of");
  expect_refused("convert coco {0}/one.json --images {0}/photos --images {0}/photos --out {0}/e",
                 "2 folders are named for 1 files");
  expect_refused("convert coco {0}/one.json --out {0}/e", "the image file is missing");
  expect_refused("convert coco {0}/one.json --images {0}/photos --context sit --out {0}/e",
                 "did you mean 'site'?");
  EXPECT_FALSE(std::filesystem::exists(path("e/dataset.json")));
}

TEST_F(Annotated, CocoImagesOfOneNameAreToldApartByTheirSplits) {
  make_photos();
  write("a.json", fmt::format(kCoco, "0.png", "cat", 1));
  write("b.json", fmt::format(kCoco, "0.png", "cat", 1));
  const std::string both =
      "convert coco {0}/a.json=train {0}/b.json=val --images {0}/photos/north/cat --images "
      "{0}/photos/south/dog";
  const std::string text = refused_convert(both + " --out {0}/d");
  EXPECT_NE(text.find("two images are called '0.png'"), std::string::npos) << text;
  EXPECT_NE(text.find("a.json, images[0] and "), std::string::npos) << text;
  EXPECT_NE(text.find("b.json, images[0]"), std::string::npos) << text;
  EXPECT_NE(text.find("--prefix-ids"), std::string::npos) << text;
  EXPECT_EQ(convert(both + " --prefix-ids --out {0}/d"), ExitCode::done);
  EXPECT_EQ(dataset("train").ids(), (std::vector<std::string>{"train/0.png"}));
  EXPECT_EQ(dataset("val").ids(), (std::vector<std::string>{"val/0.png"}));
  std::vector<std::byte> pixels(24);
  dataset("val").read(0, pixels);
  EXPECT_EQ(pixels, std::vector<std::byte>(24, std::byte{100}));  // the 10th photo: south/dog/0.png
}

TEST_F(Annotated, CocoBoxesOutsideEndTheConversionOrAreLeftOut) {
  make_photos();
  write("bad.json", fmt::format(kCoco, "north/cat/0.png", "cat", 5.5));
  expect_refused("convert coco {0}/bad.json --images {0}/photos --out {0}/e",
                 "the box [5.5, 1, 7.5, 3] leaves its image");
  write("good.json", fmt::format(kCoco, "north/cat/1.png", "cat", 1));
  EXPECT_EQ(
      convert("convert coco {0}/bad.json {0}/good.json --split site --images {0}/photos --on-error skip "
              "--out {0}/d"),
      ExitCode::done);
  EXPECT_EQ(dataset("s").ids(), (std::vector<std::string>{"north/cat/1.png"}));
  write("large.json", R"({"images":[{"id":1,"file_name":"north/cat/0.png","height":100000,"width":100000}],
"categories":[],"annotations":[]})");
  expect_refused("convert coco {0}/large.json --masks class --images {0}/photos --out {0}/e",
                 "the image has 4 x 6 pixels, its annotations tell of 100000 x 100000");
}

TEST_F(Annotated, VocHasListsBoxesAndPalettes) {
  convert_alike("convert voc {1}/voc --masks class --context source.database");
  const data::Dataset train = dataset("train"), validation = dataset("val");
  EXPECT_EQ(train.ids(), (std::vector<std::string>{"2007_000027.png", "2008_000008.png"}));
  EXPECT_EQ(train.description().context("source.database").values,
            (std::vector<std::string>{"The 2007 Database", "The 2008 Database"}));
  EXPECT_EQ(train.description().fields[0].names, (std::vector<std::string>{"aeroplane", "dog", "person"}));
  const std::vector<float> person_and_dog{8, 3, 37, 29, 2, 0, 0, 5, 6, 1}, plane{2, 1.5, 30, 20, 0};
  const auto bytes = [](const std::vector<float>& values) {
    const void* start = values.data();
    return std::string(static_cast<const char*>(start), values.size() * sizeof(float));
  };
  EXPECT_EQ(field(train, 0, "boxes"), bytes(person_and_dog));
  EXPECT_EQ(field(train, 1, "boxes"), "");
  EXPECT_EQ(field(validation, 0, "boxes"), bytes(plane));
  EXPECT_EQ(field(train, 0, "mask"), expected_bytes("SegmentationClass_2007_000027"));
  EXPECT_EQ(convert("convert voc {1}/voc --masks instance --no-difficult --classes boxes=person,aeroplane "
                    "--overwrite --out {0}/d"),
            ExitCode::done);
  EXPECT_EQ(field(dataset("train"), 0, "boxes"), bytes({8, 3, 37, 29, 0}));
  EXPECT_EQ(field(dataset("val"), 0, "mask"), expected_bytes("SegmentationObject_2007_000032"));
}

TEST_F(Annotated, VocRefusesWhatContradicts) {
  if (world_.rank() == 0)
    std::filesystem::copy(kAnnotated / "voc", path("v"), std::filesystem::copy_options::recursive);
  write("v/ImageSets/Main/test.txt", "2008_000008\n");
  expect_refused("convert voc {0}/v --out {0}/e", "'2008_000008' stands in the lists train and test");
  write("v/ImageSets/Main/test.txt", "2009_000001\n");
  expect_refused("convert voc {0}/v --out {0}/e", "2009_000001.xml");
  EXPECT_EQ(convert("convert voc {0}/v --on-error skip --out {0}/d"), ExitCode::done);
  EXPECT_EQ(dataset("train").rows(), 2);
  write("v/ImageSets/Main/test.txt", "");
  expect_refused("convert voc {0}/v --classes boxes=person,aeroplan --out {0}/e", "there is no class '");
  expect_refused("convert voc {0}/v --context sources --out {0}/e", "nothing called 'sources' is known");
}

// Label images of 16 bits: two nuclei, one of which lies in two parts, and their types.
TEST_F(Annotated, LabelImagesGiveMasksAndBoxes) {
  make_photos();
  if (world_.rank() == 0) {
    const auto array = [](const std::vector<std::uint16_t>& values) {
      const void* start = values.data();
      std::string header = "{'descr': '<u2', 'fortran_order': False, 'shape': (4, 6), }";
      header.resize(117, ' ');
      return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n" +
             std::string(static_cast<const char*>(start), values.size() * 2);
    };
    const std::string instances = array({0, 700, 0, 0, 0, 3,  //
                                         0, 0,   0, 0, 0, 3,  //
                                         0, 0,   0, 0, 0, 0,  //
                                         0, 0,   0, 0, 0, 700});
    const std::string types = array({0, 2, 0, 0, 0, 1,  //
                                     0, 0, 0, 0, 0, 1,  //
                                     0, 0, 0, 0, 0, 0,  //
                                     0, 0, 0, 0, 0, 1});
    for (const char* folder : {"nuclei", "types"}) {
      std::filesystem::create_directories(path(folder) / "north/cat");
      write_file_atomically(path(folder) / "north/cat/0.npy", folder[0] == 'n' ? instances : types);
    }
  }
  write("t.csv", "path,nuclei,types\nphotos/north/cat/0.png,nuclei/north/cat/0.npy,types/north/cat/0.npy\n");
  const std::string options =
      " --classes types=background,round,long --boxes-of nuclei,types=cells --boxes-of nuclei";
  convert_alike("convert manifest {0}/t.csv --mask nuclei --mask types" + options);
  const data::Dataset read = dataset();
  const auto values = [&](const std::string& name) {
    const std::string bytes = field(read, 0, name);
    std::vector<float> floats(bytes.size() / sizeof(float));
    std::memcpy(floats.data(), bytes.data(), bytes.size());
    return floats;
  };
  EXPECT_EQ(values("cells"), (std::vector<float>{5, 0, 6, 2, 1, 1, 0, 6, 4, 1}));  // a tie is the lower type
  EXPECT_EQ(values("boxes"), (std::vector<float>{5, 0, 6, 2, 0, 1, 0, 6, 4, 0}));
  EXPECT_EQ(read.description().fields[2].names, (std::vector<std::string>{"background", "round", "long"}));
  if (world_.rank() == 0) {
    std::filesystem::create_directories(path("one/north/cat"));
    std::filesystem::copy(path("photos/north/cat/0.png"), path("one/north/cat"));
  }
  world_.barrier();
  EXPECT_EQ(convert("convert images {0}/one --layout none --mask {0}/nuclei --mask {0}/types" + options +
                    " --resize 8x12 --overwrite --out {0}/d"),
            ExitCode::done);
  const data::Dataset large = dataset();
  const std::string boxes = field(large, 0, "cells");
  const std::vector<float> twice{10, 0, 12, 4, 1, 2, 0, 12, 8, 1};
  ASSERT_EQ(boxes.size(), twice.size() * sizeof(float));
  EXPECT_EQ(std::memcmp(boxes.data(), twice.data(), boxes.size()), 0);
  expect_refused("convert manifest {0}/t.csv --mask nuclei --boxes-of nucle --out {0}/e",
                 "there is no mask called 'nucle'");
  expect_refused("convert manifest {0}/t.csv --boxes-of nuclei --out {0}/e", "name it with --mask as well");
  expect_refused("convert manifest {0}/t.csv --mask nuclei --boxes-of a,b,c --out {0}/e", "names 3 masks");
}

}  // namespace
}  // namespace cohort::data_prep

// Boxes and masks of annotation files and label images: annotated/ and what pycocotools and Pillow give of it
// were made by annotated.py beside it.
#include <cstring>
#include <functional>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "data_prep/boxes.h"
#include "data_prep/coco.h"
#include "data_prep/fingerprint.h"
#include "data_prep/npz.h"
#include "data_prep/voc.h"
#include "support/temporary_folder.h"

namespace cohort::data_prep {
namespace {

const std::filesystem::path kAnnotated = std::filesystem::path(COHORT_TEST_DATA) / "data" / "annotated";

/// What another reader gives, as integers.
std::vector<std::int32_t> expected(const std::string& name) {
  const Array array = Npz(kAnnotated / "expected.npz").array(name);
  std::vector<std::int32_t> values;
  for (const char byte : array.bytes) values.push_back(static_cast<unsigned char>(byte));
  return values;
}

std::string refusal_of(const std::function<void()>& read) {
  try {
    read();
  } catch (const DataError& error) {
    return error.what();
  }
  return "nothing was refused";
}

void expect_refusal(const std::function<void()>& read, const std::string& part) {
  const std::string text = refusal_of(read);
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

Mask empty_mask(std::int64_t height, std::int64_t width) {
  return {height, width, data::ValueType::u8,
          std::vector<std::int32_t>(static_cast<std::size_t>(height * width))};
}

// Characters are numbers from '0' on: five bits, 32 where more follow, 16 where the number is negative. The
// fourth number is -3 more than the second.
TEST(RunLengths, AreReadAsTheTextSays) {
  EXPECT_EQ(parse_run_lengths("345M", 3 + 4 + 5 + 1, "x"), (RunLengths{3, 4, 5, 1}));
  EXPECT_EQ(parse_run_lengths("X1", 40, "x"), (RunLengths{40}));  // 8 + 32, then 1: 8 + 1 * 32
  EXPECT_EQ(parse_run_lengths("", 0, "x"), RunLengths{});
}

TEST(RunLengths, WhatMakesOtherPixelsIsRefused) {
  const auto refused = [](const std::string& text, std::int64_t pixels) {
    return refusal_of([&] { static_cast<void>(parse_run_lengths(text, pixels, "x.json, annotations[3]")); });
  };
  EXPECT_NE(refused("345", 13).find("do not make 13 pixels"), std::string::npos);
  EXPECT_NE(refused("346", 12).find("do not make 12 pixels"), std::string::npos);
  EXPECT_NE(refused("M", 12).find("annotations[3]"), std::string::npos);  // -3
  EXPECT_NE(refused("3X", 12).find("damaged at character 3"), std::string::npos);
  EXPECT_NE(refused("3 4", 12).find("damaged at character 2"), std::string::npos);
  EXPECT_NE(refused("XXXXXXXXXXX1", 12).find("damaged at character 8"), std::string::npos);
}

// Columns and rows whose middles the square holds.
TEST(Polygons, OfASquareAreItsPixels) {
  Mask mask = empty_mask(5, 6);
  const std::vector<double> square{1, 1, 4, 1, 4, 3, 1, 3};
  paint(runs_of_polygon(square, 5, 6, "x"), 7, mask);
  for (std::int64_t y = 0; y < 5; ++y) {
    for (std::int64_t x = 0; x < 6; ++x) {
      EXPECT_EQ(mask.values[static_cast<std::size_t>(y * 6 + x)], x >= 1 && x < 4 && y >= 1 && y < 3 ? 7 : 0);
    }
  }
}

TEST(Polygons, OfHalfACornerOrFarAwayAreRefused) {
  const auto read = [](std::vector<double> corners) {
    return [corners] { static_cast<void>(runs_of_polygon(corners, 5, 6, "here")); };
  };
  expect_refusal(read({1, 1, 4, 1, 4, 3, 1}), "a polygon has 7 numbers");
  expect_refusal(read({1, 1, 4, 1}), "a polygon has 4 numbers");
  expect_refusal(read({1, 1, 4, 1, 4e9, 3}), "a polygon has the corner 4000000000, 3, the image 5 x 6");
  expect_refusal(read({1, 1, 4, 1, 4, std::nan("")}), "where: here");
}

TEST(Coco, SegmentationsArePixelsOfPycocotools) {
  const CocoFile file = read_coco(kAnnotated / "coco" / "cells.json", {"plate", "well", "nothing"});
  const std::vector<std::int32_t> all = expected("single");
  ASSERT_EQ(file.annotations.size(), 60U);
  std::size_t compared = 0;
  for (std::size_t image = 0; image < file.images.size(); ++image) {
    const std::vector<CocoObject> objects = read_coco_objects(file, image, true);
    for (std::size_t i = 0; i < objects.size(); ++i, ++compared) {
      const auto number = static_cast<std::ptrdiff_t>(file.annotations[file.first[image] + i].number);
      SCOPED_TRACE(objects[i].where);
      Mask mask = empty_mask(file.images[image].height, file.images[image].width);
      for (const RunLengths& region : objects[i].regions) paint(region, 1, mask);
      const auto pixels = std::ssize(mask.values);
      const auto begin = all.begin() + number * pixels;
      EXPECT_EQ(mask.values, std::vector<std::int32_t>(begin, begin + pixels));
    }
  }
  EXPECT_EQ(compared, 60U);
}

TEST(Coco, ListsStandInAnyOrderAndKeysOfImagesAreFacts) {
  const CocoFile file = read_coco(kAnnotated / "coco" / "cells.json", {"flickr_url", "plate", "well"});
  EXPECT_EQ(file.categories, (std::vector<std::string>{"mitosis", "nucleus", "debris"}));
  EXPECT_EQ(file.type_of.at(3), 1);
  ASSERT_EQ(file.images.size(), 4U);
  EXPECT_EQ(file.images[1].file, "b/1.png");
  for (std::size_t fact = 0; fact < 3; ++fact)
    EXPECT_EQ(file.facts[fact][1], (std::vector<std::string>{"", "P1", "1"})[fact]);
  EXPECT_TRUE(file.keys.contains("flickr_url"));
  EXPECT_EQ(file.crowds, (std::vector<std::int32_t>{6, 16, 26, 36, 46, 56}));
  EXPECT_EQ(file.first.back(), 60U);
  EXPECT_EQ(file.first[3], 60U);  // the last image has none
  for (std::size_t i = 1; i < file.annotations.size(); ++i) {
    const CocoFile::Place &before = file.annotations[i - 1], &here = file.annotations[i];
    EXPECT_LT(std::pair(before.image, before.number), std::pair(here.image, here.number));
  }
}

TEST(Coco, ComesToAnotherRankAsItWas) {
  const testing::TemporaryFolder folder;
  const std::string name = std::string("a\0b", 3) + "\xC3\xA9.png";
  const std::filesystem::path text =
      folder.write("c.json", R"({"images":[{"id":7,"file_name":"a\u0000b\u00e9.png","height":4,"width":6},
{"id":1,"file_name":"","height":1,"width":2}],"categories":[{"id":-5,"name":"x"},{"id":4,"name":"y"}],
"annotations":[]})");
  for (const std::filesystem::path& path : {kAnnotated / "coco" / "cells.json", text}) {
    const CocoFile whole = read_coco(path, {"plate"}), again = unpacked_coco(packed_coco(whole));
    EXPECT_EQ(again.path, whole.path);
    EXPECT_EQ(again.categories, whole.categories);
    EXPECT_EQ(again.type_of, whole.type_of);
    EXPECT_EQ(again.first, whole.first);
    EXPECT_EQ(again.crowds, whole.crowds);
    ASSERT_EQ(again.images.size(), whole.images.size());
    for (std::size_t image = 0; image < whole.images.size(); ++image) {
      EXPECT_EQ(again.images[image].file, whole.images[image].file);
      EXPECT_EQ(again.images[image].height, whole.images[image].height);
      EXPECT_EQ(again.images[image].width, whole.images[image].width);
      const auto objects = read_coco_objects(again, image, true),
                 expected = read_coco_objects(whole, image, true);
      ASSERT_EQ(objects.size(), expected.size());
      for (std::size_t i = 0; i < objects.size(); ++i) EXPECT_EQ(objects[i].box, expected[i].box);
    }
  }
  EXPECT_EQ(unpacked_coco(packed_coco(read_coco(text, {}))).images[0].file, name);
}

class CocoText : public ::testing::Test {
 protected:
  /// A file of one image, 4 x 6, with these annotations.
  [[nodiscard]] std::string with(
      const std::string& annotations,
      const std::string& images = R"({"id":1,"file_name":"a","height":4,"width":6})",
      const std::string& categories = R"({"id":1,"name":"cat"})") const {
    return whole(fmt::format(R"({{"images":[{}],"categories":[{}],"annotations":[{}]}})", images, categories,
                             annotations));
  }
  [[nodiscard]] std::string whole(const std::string& text) const {
    const std::filesystem::path file = folder_.write("c.json", text);
    return refusal_of([&] {
      const CocoFile coco = read_coco(file, {});
      for (std::size_t i = 0; i < coco.images.size(); ++i)
        static_cast<void>(read_coco_objects(coco, i, true));
    });
  }
  testing::TemporaryFolder folder_;
};

TEST_F(CocoText, EachMistakeHasItsPlace) {
  const std::string box = R"("image_id":1,"category_id":1,"bbox":[0,0,2,2])";
  const auto one = [&](const std::string& rest) { return with("{" + box + "," + rest + "}"); };
  EXPECT_EQ(one(R"("segmentation":[[0,0,2,0,2,2]])"), "nothing was refused");
  const auto says = [](const std::string& text, const std::string& what, const std::string& where) {
    EXPECT_NE(text.find(what), std::string::npos) << text;
    EXPECT_NE(text.find(where), std::string::npos) << text;
  };
  says(with(R"({"image_id":2,"category_id":1})"), "there is no image with the id 2",
       "c.json, annotations[0]");
  says(with(R"({"image_id":1,"category_id":4})"), "there is no category with the id 4", "annotations[0]");
  says(with(R"({"image_id":"1","category_id":4})"), "'image_id' is no integer", "annotations[0]");
  says(with(R"({"category_id":4})"), "the entry has no 'image_id'", "annotations[0]");
  says(with(R"({"id":5,"image_id":1,"category_id":1},{"id":5,"image_id":1,"category_id":1})"),
       "two annotations have the id 5", "c.json");
  says(with(R"({"image_id":1,"category_id":1,"bbox":[0,0,2]})"), "no bbox of x, y, width", "annotations[0]");
  says(with(R"({"image_id":1,"category_id":1,"bbox":[0,0,2,"2"]})"), "'bbox' holds what is no number", "[0]");
  says(one(R"("iscrowd":2)"), "'iscrowd' is 2", "annotations[0]");
  says(one(R"("iscrowd":0)"), "the annotation has no segmentation", "annotations[0]");
  says(one(R"("segmentation":[])"), "the annotation has no segmentation", "annotations[0]");
  says(one(R"("segmentation":[[0,0,2,0,2]])"), "a polygon has 5 numbers", "annotations[0]");
  says(one(R"("segmentation":{"size":[6,4],"counts":[24]})"), "has the size [6,4], its image [4,6]", "[0]");
  says(one(R"("segmentation":{"size":[4,6],"counts":[23]})"), "do not make 24 pixels", "annotations[0]");
  says(one(R"("segmentation":{"size":[4,6],"counts":[-1,25]})"), "what counts no pixels", "annotations[0]");
  says(one(R"("segmentation":{"size":[4,6]})"), "no 'counts' or no 'size'", "annotations[0]");
  says(with("{" + box + R"(},{"image_id":1,"image_id":1})"), "has the key 'image_id' twice",
       "annotations[1]");
  const std::string image = R"({"id":1,"file_name":"a","height":4,"width":6})";
  says(with("", image + "," + image), "two images have the id 1", "images[1]");
  says(with("", R"({"id":1,"file_name":"a","height":0,"width":6})"), "0 is no size of an image", "images[0]");
  says(with("", R"({"id":1,"file_name":7,"height":1,"width":6})"), "'file_name' is no text", "images[0]");
  says(with("", image, R"({"id":1,"name":"a"},{"id":1,"name":"b"})"), "two categories have the id 1",
       "categories[1]");
  says(with("7"), "the list 'annotations' holds what is no object", "c.json");
  says(with(R"({"image_id":1,"category_id":1e999})"), "a number that is too large", "annotations[0]");
  says(whole("[]"), "it is no JSON object", "c.json");
  says(whole(R"({"images":[],"categories":[]})"), "it has no list 'annotations'", "c.json");
  says(whole(R"({"images":[)"), "it is no JSON, from byte 12 on", "c.json");
  says(whole("{\"images\":" + std::string(100, '[')), "nested too deeply", "c.json");
}

TEST(Boxes, AreCutByUpToAPixelAndElseRefused) {
  const auto inside = [](Corners box) { return inside_image(box, 10, 20, "annotations[4]"); };
  EXPECT_EQ(inside({-1, -0.5, 20.25, 11}), (Corners{0, 0, 20, 10}));
  EXPECT_EQ(inside({3, 4, 3, 4}), (Corners{3, 4, 3, 4}));
  expect_refusal([&] { inside({-1.1, 0, 2, 2}); }, "the box [-1.1, 0, 2, 2] leaves its image");
  expect_refusal([&] { inside({0, 0, 2, 11.5}); }, "annotations[4]");
  expect_refusal([&] { inside({0, 0, std::nan(""), 2}); }, "leaves its image");
  expect_refusal([&] { inside({5, 0, 4, 2}); }, "ends before it begins");
}

// Against a search for each instance by itself.
TEST(Boxes, OfInstancesEncloseTheirPixels) {
  RandomStream random({.seed = 3, .purpose = Purpose::synthetic});
  for (int round = 0; round < 200; ++round) {
    Mask mask = empty_mask(1 + static_cast<std::int64_t>(random.below(9)),
                           1 + static_cast<std::int64_t>(random.below(9)));
    Mask classes = mask;
    mask.type = round % 2 == 0 ? data::ValueType::u8 : data::ValueType::i32;
    for (std::int32_t& value : mask.values) value = static_cast<std::int32_t>(random.below(5)) * 85 % 341;
    for (std::int32_t& value : classes.values) value = static_cast<std::int32_t>(random.below(3));
    std::vector<float> plain, typed;
    for (std::int32_t number = 1; number <= 340; ++number) {
      if (mask.type == data::ValueType::u8 && number == 255) continue;  // not known
      Corners box{1e9, 1e9, 0, 0};
      std::map<std::int32_t, int> votes;
      for (std::size_t i = 0; i < mask.values.size(); ++i) {
        if (mask.values[i] != number) continue;
        const auto y = static_cast<double>(static_cast<std::int64_t>(i) / mask.width),
                   x = static_cast<double>(static_cast<std::int64_t>(i) % mask.width);
        box = {std::min(box[0], x), std::min(box[1], y), std::max(box[2], x + 1), std::max(box[3], y + 1)};
        ++votes[classes.values[i]];
      }
      if (votes.empty()) continue;
      add_box(plain, box, 0);
      std::int32_t most = 0;
      for (const std::int32_t type : {2, 1, 0}) most = votes[type] >= votes[most] ? type : most;
      add_box(typed, box, most);
    }
    ASSERT_EQ(boxes_of_instances(mask, nullptr), plain) << round;
    ASSERT_EQ(boxes_of_instances(mask, &classes), typed) << round;
  }
}

/// Their numbers were read otherwise before: a dataset of that time is another one.
TEST(Masks, OfFewBitsHaveAnotherFingerprint) {
  for (const char* name : {"bits1", "bits2", "bits4"}) {
    const std::filesystem::path file = kAnnotated / (std::string(name) + ".png");
    EXPECT_NE(fingerprint_of(file, true), fingerprint_of(file)) << name;
  }
  for (const std::filesystem::path& file :
       {kAnnotated / "voc" / "SegmentationClass" / "2007_000027.png", kAnnotated / "expected.npz"})
    EXPECT_EQ(fingerprint_of(file, true), fingerprint_of(file)) << file;
}

TEST(Masks, OfPalettesAndFewBitsHoldTheirNumbers) {
  for (const char* name : {"bits1", "bits2", "bits4"})
    EXPECT_EQ(read_mask(kAnnotated / (std::string(name) + ".png")).values, expected(name)) << name;
  const std::string voc = "SegmentationClass_2007_000027";
  EXPECT_EQ(read_mask(kAnnotated / "voc" / "SegmentationClass" / "2007_000027.png").values, expected(voc));
}

std::string voc_text(const std::string& inside) {
  return "<annotation><size><width>20</width><height>10</height></size>" + inside + "</annotation>";
}

TEST(Voc, CoordinatesCountFromOneAndAreInside) {
  const VocAnnotation read = parse_voc(
      voc_text(
          "<object><name>dog &amp; cat</name><difficult>1</difficult><bndbox><xmax>20</xmax><xmin>1</xmin>"
          "<ymin>2.5</ymin><ymax>10</ymax></bndbox></object><source><image>flickr</image></source>"),
      "x");
  EXPECT_EQ(read.height, 10);
  EXPECT_EQ(read.width, 20);
  ASSERT_EQ(read.objects.size(), 1U);
  EXPECT_EQ(read.objects[0].name, "dog & cat");
  EXPECT_TRUE(read.objects[0].is_difficult);
  EXPECT_EQ(read.objects[0].box, (Corners{0, 1.5, 20, 10}));
  EXPECT_EQ(read.facts, (std::map<std::string, std::string>{
                            {"size.height", "10"}, {"size.width", "20"}, {"source.image", "flickr"}}));
}

TEST(Voc, WhatIsNoAnnotationIsRefused) {
  const auto refused = [](const std::string& xml, const std::string& part) {
    expect_refusal([&] { static_cast<void>(parse_voc(xml, "a.xml")); }, part);
  };
  refused("<annotation></annotation>", "it has no 'size.height'");
  refused("<other/>", "it has no element 'annotation'");
  refused("<annotation>\n<size>", "line 2");
  refused(voc_text("<object/>"), "an object has no 'name'");
  refused(voc_text("<object><name>a</name></object>"), "it has no 'bndbox.xmin'");
  refused(voc_text("<object><name>a</name><bndbox><xmin>1,5</xmin></bndbox></object>"),
          "'bndbox.xmin' is '1,5', which is no number");
  refused("<annotation><size><width>20</width><height>0</height></size></annotation>",
          "'size.height' is 0, which is no size");
  refused("<!DOCTYPE annotation [<!ENTITY a \"b\">]><annotation/>", "it declares a type of document");
}

// By recursion a million elements would end the process, whatever tries to hide how deep they are.
TEST(Voc, DepthIsBounded) {
  for (const std::string element : {"<a>", "<a><!--</a>-->", "<a><![CDATA[</a>]]>", "<a b='/>'>",
                                    "<a b=\"></a>\">", "<a><b/><?c </a> ?>", "<a\">", "<a='></a>'>"}) {
    std::string xml;
    for (int i = 0; i < 300000; ++i) xml += element;
    const std::string text = refusal_of([&] { static_cast<void>(parse_voc(xml, "a.xml")); });
    EXPECT_NE(text.find("cannot be read"), std::string::npos) << element << text;
  }
}

}  // namespace
}  // namespace cohort::data_prep

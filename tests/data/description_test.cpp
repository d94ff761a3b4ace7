#include "cohort/data/description.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/random.h"

#include "support/temporary_folder.h"

namespace cohort::data {
namespace {

using Json = nlohmann::json;

Description sample() {
  Description description;
  description.name = "nuclei";
  description.license = "MIT";
  description.source = 0xfedcba9876543210;
  description.images = {PixelType::u16, 2, 5, 7};
  description.channels = {"dapi", "actin"};
  description.preparation = Preparation{true, 5, 7, Fit::crop};
  description.mean = {0.1, 300.25};
  description.deviation = {1.0 / 3.0, 7};
  description.labels = {{"kind", {"round", "long"}}};
  description.contexts = {{"plate", {"p1", "p2", "Platte ü"}}};
  description.splits = {
      {"train", {{"train-00000.h5", 3, 4096, 1}, {"train-00001.h5", 2, 4097, 0xffffffffffffffff}}},
      {"test", {}}};
  return description;
}

class DescriptionFile : public ::testing::Test {
 protected:
  DescriptionFile() { sample().write(folder_.path()); }

  /// What read() says once `edit` changed the file.
  std::string refusal(const std::function<void(Json&)>& edit) {
    Json json = Json::parse(read_file(folder_.path() / "dataset.json"));
    edit(json);
    folder_.write("dataset.json", json.dump());
    try {
      static_cast<void>(Description::read(folder_.path()));
    } catch (const DataError& error) {
      return error.what();
    }
    return "it was accepted";
  }

  testing::TemporaryFolder folder_;
};

TEST_F(DescriptionFile, ReadsBackWhatWasWritten) {
  const Description read = Description::read(folder_.path()), wrote = sample();

  EXPECT_EQ(read.name, wrote.name);
  EXPECT_EQ(read.license, wrote.license);
  EXPECT_EQ(read.source, wrote.source);
  EXPECT_EQ(read.images, wrote.images);
  EXPECT_EQ(read.channels, wrote.channels);
  EXPECT_EQ(read.preparation, wrote.preparation);
  EXPECT_EQ(read.mean, wrote.mean);
  EXPECT_EQ(read.deviation, wrote.deviation);
  EXPECT_EQ(read.label("kind").classes, wrote.labels[0].classes);
  EXPECT_EQ(read.context("plate").values, wrote.contexts[0].values);
  ASSERT_EQ(read.split("train").shards.size(), 2U);
  EXPECT_EQ(read.split("train").shards[1].file, "train-00001.h5");
  EXPECT_EQ(read.split("train").shards[1].checksum, 0xffffffffffffffff);
  EXPECT_EQ(read.split("train").rows(), 5);
  EXPECT_EQ(read.split("test").rows(), 0);
}

TEST_F(DescriptionFile, OfEarlierProgramsDoesNotTellHowImagesWerePrepared) {
  Json json = Json::parse(read_file(folder_.path() / "dataset.json"));
  json["preparation"].erase("resize");
  folder_.write("dataset.json", json.dump());
  EXPECT_EQ(Description::read(folder_.path()).preparation, (Preparation{.gray = true}));
  json.erase("preparation");
  folder_.write("dataset.json", json.dump());
  EXPECT_EQ(Description::read(folder_.path()).preparation, std::nullopt);
}

TEST_F(DescriptionFile, NamesEveryMissingKeyAndTheFile) {
  for (const char* pointer : {"/format",
                              "/version",
                              "/name",
                              "/license",
                              "/source",
                              "/images",
                              "/images/type",
                              "/images/channels",
                              "/images/height",
                              "/images/width",
                              "/channels",
                              "/preparation/gray",
                              "/preparation/resize/height",
                              "/preparation/resize/fit",
                              "/mean",
                              "/deviation",
                              "/labels",
                              "/labels/0/name",
                              "/labels/0/classes",
                              "/contexts",
                              "/contexts/0/values",
                              "/splits",
                              "/splits/0/name",
                              "/splits/0/shards",
                              "/splits/0/shards/1/rows",
                              "/splits/0/shards/1/checksum"}) {
    sample().write(folder_.path());
    const Json::json_pointer place(pointer);
    const std::string message =
        refusal([&](Json& json) { json[place.parent_pointer()].erase(place.back()); });
    EXPECT_NE(message.find("key '"), std::string::npos) << pointer << ": " << message;
    EXPECT_NE(message.find(place.back() + "' is missing"), std::string::npos) << pointer << ": " << message;
    EXPECT_NE(message.find("dataset.json"), std::string::npos) << message;
  }
}

TEST_F(DescriptionFile, NamesInconsistentValues) {
  const std::vector<std::pair<std::string, std::function<void(Json&)>>> cases{
      {"key 'mean' has 1 values for 2 channels", [](Json& j) { j["mean"] = {1.0}; }},
      {"key 'channels' has 3 names for 2 channels",
       [](Json& j) {
         j["channels"] = {"a", "b", "c"};
       }},
      {"key 'deviation' has a value that is not positive",
       [](Json& j) {
         j["deviation"] = {1.0, 0.0};
       }},
      {"key 'images.type' is 'i8', none of u8, u16, f32", [](Json& j) { j["images"]["type"] = "i8"; }},
      {"key 'images.height' is 0, outside 1", [](Json& j) { j["images"]["height"] = 0; }},
      {"key 'images.width' is not an integer", [](Json& j) { j["images"]["width"] = 2.5; }},
      {"key 'contexts[0].values' has 'p1' twice",
       [](Json& j) {
         j["contexts"][0]["values"] = {"p1", "p1"};
       }},
      {"key 'splits[0].shards[0].file' is '../x.h5', not the name of a file",
       [](Json& j) { j["splits"][0]["shards"][0]["file"] = "../x.h5"; }},
      {"'12' is not a checksum", [](Json& j) { j["splits"][0]["shards"][0]["checksum"] = "12"; }},
      {"key 'splits' has 'train' twice", [](Json& j) { j["splits"][1]["name"] = "train"; }},
      {"key 'format' is not 'cohort-dataset'", [](Json& j) { j["format"] = "other"; }},
      {"version 9 of the dataset format is not known", [](Json& j) { j["version"] = 9; }},
      {"key 'labels' is not a list", [](Json& j) { j["labels"] = "none"; }},
  };
  for (const auto& [expected, edit] : cases) {
    sample().write(folder_.path());
    const std::string message = refusal(edit);
    EXPECT_NE(message.find(expected), std::string::npos) << message;
  }
}

Description with_fields() {
  Description description = sample();
  description.fields = {{"lungs", FieldKind::mask, ValueType::u8, {4, 5}, Codec::zstd, "", {"other", "lung"}},
                        {"second", FieldKind::image, ValueType::u16, {2, 4, 5}},
                        {"cells", FieldKind::boxes, ValueType::f32, {-1, 5}, Codec::raw, "second", {"cell"}},
                        {"report", FieldKind::text, ValueType::u8, {-1}},
                        {"report_tokens",
                         FieldKind::tokens,
                         ValueType::i32,
                         {-1},
                         Codec::raw,
                         "report",
                         {},
                         Tokenization{"wordpiece-cased", ~std::uint64_t{0}, 231, 64}}};
  return description;
}

TEST_F(DescriptionFile, FieldsMakeVersion3AndComeBack) {
  with_fields().write(folder_.path());
  const Json json = Json::parse(read_file(folder_.path() / "dataset.json"));
  EXPECT_EQ(json.at("version"), 3);
  EXPECT_EQ(json.at("images").at("codec"), "raw");
  EXPECT_EQ(Description::read(folder_.path()).fields, with_fields().fields);
  EXPECT_EQ(Description::read(folder_.path()).field("cells").of, "second");
}

TEST_F(DescriptionFile, RefusesFieldsThatContradict) {
  const std::vector<std::pair<std::string, std::function<void(Json&)>>> cases{
      {"key 'fields' is missing", [](Json& j) { j.erase("fields"); }},
      {"key 'fields' is empty", [](Json& j) { j["fields"] = Json::array(); }},
      {"key 'fields[0].kind' is 'masks', none of image, mask, boxes",
       [](Json& j) { j["fields"][0]["kind"] = "masks"; }},
      {"key 'fields[0].type' is 'u4', none of u8", [](Json& j) { j["fields"][0]["type"] = "u4"; }},
      {"key 'fields[0].codec' is 'gif', none of raw", [](Json& j) { j["fields"][0]["codec"] = "gif"; }},
      {"key 'fields[0]' has type f32, which no field of kind mask has",
       [](Json& j) { j["fields"][0]["type"] = "f32"; }},
      {"key 'fields[0].shape' is missing", [](Json& j) { j["fields"][0].erase("shape"); }},
      {"key 'fields[0].shape[1]' is -2, outside -1", [](Json& j) { j["fields"][0]["shape"][1] = -2; }},
      {"key 'fields' has 'lungs' twice", [](Json& j) { j["fields"][1]["name"] = "lungs"; }},
      {"key 'fields[1].name' is '../x', which cannot name a field",
       [](Json& j) { j["fields"][1]["name"] = "../x"; }},
      {"key 'fields[2].of' is 'lungs', none of the fields of kind image",
       [](Json& j) { j["fields"][2]["of"] = "lungs"; }},
      {"key 'fields[4].of' is 'second', none of the fields of kind text or tokens",
       [](Json& j) { j["fields"][4]["of"] = "second"; }},
      {"key 'fields[4].tokenization.size' is 0, outside 1",
       [](Json& j) { j["fields"][4]["tokenization"]["size"] = 0; }},
      {"key 'fields[4].tokenization.vocabulary' is missing",
       [](Json& j) { j["fields"][4]["tokenization"].erase("vocabulary"); }},
      {"key 'fields[0]' has a tokenization, which no field of kind mask has",
       [](Json& j) { j["fields"][0]["tokenization"] = j["fields"][4]["tokenization"]; }},
      {"key 'fields[0].names' has 'lung' twice",
       [](Json& j) {
         j["fields"][0]["names"] = {"lung", "lung"};
       }},
  };
  for (const auto& [expected, edit] : cases) {
    with_fields().write(folder_.path());
    const std::string message = refusal(edit);
    EXPECT_NE(message.find(expected), std::string::npos) << message;
  }
}

Description with_volumes() {
  Description description = sample();
  description.images.depth = 9;
  description.preparation->depth = 9;
  return description;
}

TEST_F(DescriptionFile, VolumesMakeVersion3AndComeBack) {
  with_volumes().write(folder_.path());
  Json json = Json::parse(read_file(folder_.path() / "dataset.json"));
  EXPECT_EQ(json.at("version"), 3);
  EXPECT_EQ(json.at("images").at("depth"), 9);
  EXPECT_FALSE(json.contains("fields"));
  EXPECT_EQ(Description::read(folder_.path()).images, with_volumes().images);
  EXPECT_EQ(Description::read(folder_.path()).images.sizes(), (std::vector<std::int64_t>{2, 9, 5, 7}));
  EXPECT_EQ(Description::read(folder_.path()).preparation, with_volumes().preparation);
  json["version"] = 2;
  folder_.write("dataset.json", json.dump());
  EXPECT_FALSE(Description::read(folder_.path()).images.is_volume()) << "unknown to version 2";

  sample().write(folder_.path());
  const std::string images = read_file(folder_.path() / "dataset.json");
  EXPECT_EQ(images.find("depth"), std::string::npos);
}

TEST_F(DescriptionFile, RefusesWhatVolumesCannotBe) {
  const auto field = [](const std::string& kind, const std::string& type, const Json& shape) {
    return Json{{"name", "f"}, {"kind", kind}, {"type", type}, {"shape", shape}, {"codec", "raw"}};
  };
  const std::vector<std::pair<std::string, std::function<void(Json&)>>> cases{
      {"key 'images.depth' is 1, outside 2", [](Json& j) { j["images"]["depth"] = 1; }},
      {"key 'images' asks for images of",
       [](Json& j) { j["images"]["depth"] = 1 << 20, j["images"]["width"] = 1 << 20; }},
      {"key 'images.codec' is 'png', which cannot keep volumes",
       [](Json& j) { j["images"]["codec"] = "png"; }},
      {"key 'fields[0]' has masks of 2 dimensions, of volumes",
       [&](Json& j) {
         j["fields"] = {field("mask", "u8", {5, 7})};
       }},
      {"key 'fields[0]' is of kind boxes, which lie in images",
       [&](Json& j) {
         j["fields"] = {field("boxes", "f32", {-1, 5})};
       }},
      {"key 'fields[0]' has masks of 3 dimensions, of images",
       [&](Json& j) {
         j["fields"] = {field("mask", "u8", {9, 5, 7})}, j["images"].erase("depth");
       }},
      {"it was accepted",
       [&](Json& j) {
         j["fields"] = {field("mask", "u8", {9, 5, 7})};
       }},
      {"it was accepted",
       [&](Json& j) {
         j["fields"] = {field("image", "u8", {1, 9, 5, 7})};
       }},
  };
  for (const auto& [expected, edit] : cases) {
    with_volumes().write(folder_.path());
    const std::string message = refusal(edit);
    EXPECT_NE(message.find(expected), std::string::npos) << message;
  }
}

TEST_F(DescriptionFile, AFieldIsNotCalledLikeALabelOrContext) {
  for (const char* taken : {"kind", "plate"}) {
    Description description = with_fields();
    description.fields[0].name = taken;
    EXPECT_THROW(description.write(folder_.path()), DataError) << taken;
  }
}

TEST_F(DescriptionFile, SaysWhichSplitMeanAndDeviationAreOf) {
  EXPECT_EQ(Description::read(folder_.path()).statistics, "train")
      << "the first, where the file does not say";
  Description description = sample();
  description.statistics = "test";
  description.write(folder_.path());
  EXPECT_EQ(Description::read(folder_.path()).statistics, "test");
  EXPECT_NE(refusal([](Json& j) {
              j["statistics"] = "tset";
            }).find("key 'statistics' is 'tset', none of the splits"),
            std::string::npos);
}

TEST_F(DescriptionFile, AKeyThatStandsTwiceIsRefused) {
  const std::string text = read_file(folder_.path() / "dataset.json");
  folder_.write("dataset.json", text.substr(0, text.rfind('}')) + R"(, "mean": [0, 0]})");
  try {
    static_cast<void>(Description::read(folder_.path()));
    ADD_FAILURE() << "it was accepted";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("dataset.json has the key 'mean' twice"), std::string::npos)
        << error.what();
  }
}

TEST_F(DescriptionFile, NamesThatNoFileCanHoldAreRefused) {
  const auto refused = [&](const auto& edit) {
    Description description = sample();
    edit(description);
    try {
      description.write(folder_.path());
    } catch (const DataError& error) {
      return std::string(error.what());
    }
    return std::string("it was written");
  };
  EXPECT_NE(refused([](Description& d) {
              d.contexts[0].values[1] = "Pl\xE4tte";
            }).find("the name of a value of 'plate' is not valid UTF-8: 'Pl\\xe4tte'"),
            std::string::npos);
  EXPECT_NE(refused([](Description& d) {
              d.labels[0].classes[1] = "round";
            }).find("'round' is twice the name of a class of 'kind'"),
            std::string::npos);
  EXPECT_EQ(refused([](Description&) {}), "it was written");
}

TEST_F(DescriptionFile, IgnoresKeysOfLaterProgramsAndSaysWhatIsMissing) {
  EXPECT_EQ(refusal([](Json& json) { json["masks"] = true; }), "it was accepted");
  EXPECT_THROW(static_cast<void>(Description::read(folder_.path() / "nothing")), DataError);
  const testing::TemporaryFolder empty;
  EXPECT_THROW(static_cast<void>(Description::read(empty.path())), DataError);
}

TEST_F(DescriptionFile, UnknownNamesGetASuggestion) {
  const Description description = Description::read(folder_.path());
  try {
    static_cast<void>(description.split("trian"));
    FAIL() << "an unknown split was found";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().what, "the dataset has no split 'trian'");
    EXPECT_NE(error.text().fix.find("'train'"), std::string::npos);
  }
  EXPECT_THROW(static_cast<void>(description.label("plate")), UsageError);
  EXPECT_THROW(static_cast<void>(description.context("kind")), UsageError);
}

// Whatever the file holds, read() returns or throws DataError.
TEST_F(DescriptionFile, FuzzedFilesNeverDoMoreThanThrow) {
  const std::string whole = read_file(folder_.path() / "dataset.json");
  int refused = 0;
  for (std::int64_t round = 0; round < 2000; ++round) {
    RandomStream random({.seed = 3, .purpose = Purpose::synthetic, .time = round});
    std::string text = whole;
    for (std::uint64_t edits = 1 + random.below(3); edits > 0; --edits) {
      const std::size_t at = random.below(text.size());
      if (random.below(2) == 0)
        text[at] = static_cast<char>(random.below(256));
      else
        text.erase(at, 1 + random.below(8));
    }
    folder_.write("dataset.json", text);
    try {
      static_cast<void>(Description::read(folder_.path()));
    } catch (const DataError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST_F(DescriptionFile, SaysNoMoreThanTheFilesCanHold) {
  const auto with = [&](const std::string& place, const Json& value) {
    return refusal([&](Json& json) { json[Json::json_pointer(place)] = value; });
  };

  EXPECT_NE(with("/splits/0/shards/0/rows", 513).find("is 513, more than 4096 bytes can hold"),
            std::string::npos);
  EXPECT_NE(with("/splits/0/shards/0/rows", 1).find("accepted"), std::string::npos);
  EXPECT_NE(with("/splits/0/shards/0/bytes", INT64_MAX).find("outside"), std::string::npos);
  EXPECT_NE(with("/splits/0/shards/0/bytes", 4096).find("accepted"), std::string::npos);
  for (const char* name : {"../../x", "/etc/x", "..", ""})
    EXPECT_NE(with("/splits/0/name", name).find("which cannot name files"), std::string::npos) << name;
  EXPECT_NE(with("/splits/0/name", "train").find("accepted"), std::string::npos);
  EXPECT_NE(refusal([](Json& json) {
              json["images"]["height"] = json["images"]["width"] = 1 << 20;
            }).find("asks for images of"),
            std::string::npos);
}

TEST(Channels, AreChosenByNameOrByTheNumberInIt) {
  Description cells;
  cells.name = "cells";
  cells.images = {PixelType::u16, 3, 8, 8};
  cells.channels = {"DAPI", "ER", "channel_2"};
  cells.mean = {1, 2, 3};
  cells.deviation = {4, 5, 6};

  const Description chosen = with_channels(cells, {"2", "DAPI"});

  EXPECT_EQ(chosen.channels, (std::vector<std::string>{"channel_2", "DAPI"}));
  EXPECT_EQ(chosen.images, (ImageLayout{PixelType::u16, 2, 8, 8}));
  EXPECT_EQ(chosen.mean, (std::vector<double>{3, 1}));
  EXPECT_EQ(chosen.deviation, (std::vector<double>{6, 4}));
  EXPECT_EQ(with_channels(cells, {}).channels, cells.channels);
  const auto refusal = [&](const std::vector<std::string>& wanted) -> std::string {
    try {
      (void)with_channels(cells, wanted);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(refusal({"DAPPI"}).find("did you mean 'DAPI'?"), std::string::npos) << refusal({"DAPPI"});
  EXPECT_NE(refusal({"2", "channel_2"}).find("named twice"), std::string::npos);
}

TEST(Description, ALabelGoesBeforeAContextOfItsName) {
  Description description;
  description.labels = {{"grade", {"low", "high"}}};
  description.contexts = {{"slide", {"s1"}}, {"grade", {"1", "2", "3"}}};

  EXPECT_EQ(description.values("grade").size(), 2U);
  EXPECT_EQ(description.values("slide").size(), 1U);
  EXPECT_THROW(static_cast<void>(description.values("side")), UsageError);
}

}  // namespace
}  // namespace cohort::data

// What a model knows of its training data, and another dataset in its words.
#include "cohort/data/signature.h"

#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort::data {
namespace {

using Names = std::vector<std::string>;

const std::filesystem::path kNuclei = std::filesystem::path(COHORT_TEST_DATA) / "data" / "nuclei";

Description cells() {
  Description description;
  description.name = "cells";
  description.images = {PixelType::u16, 3, 16, 64};
  description.channels = {"dna", "actin", "rna"};
  description.mean = {0.1, 300.25, 1.0 / 3.0};
  description.preparation = Preparation{false, 16, 64, Fit::pad};
  description.deviation = {1, 2, 3};
  description.labels = {{"grade", {"cat", "dog"}}, {"kind", {"x"}}};
  description.contexts = {{"plate", {"p1", "Platte ü"}}, {"well", {"w"}}};
  return description;
}

TEST(Signature, ReadsBackWhatWasWritten) {
  Signature wrote = signature_of(cells(), "grade", {"plate"});
  wrote.contexts.front().unseen = {"p1"};

  const Signature read = parse_signature(signature_text(wrote), "file");

  EXPECT_TRUE(differences(wrote, read).empty());
  EXPECT_EQ(read.classes, (Names{"cat", "dog"}));
  ASSERT_EQ(read.contexts.size(), 1U);
  EXPECT_EQ(read.contexts[0].values, (Names{"p1", "Platte ü"}));
  EXPECT_EQ(read.contexts[0].unseen, Names{"p1"});
  EXPECT_EQ(read.images, (ImageLayout{PixelType::u16, 3, 16, 64}));
  EXPECT_EQ(read.mean, cells().mean);
  EXPECT_EQ(read.preparation, cells().preparation);
}

TEST(Signature, OfVolumesKeepsTheirDepthAndModelsOfImagesRefuseThem) {
  Description volumes = cells();
  volumes.images.depth = 7;
  volumes.preparation->depth = 7;
  const Signature wrote = signature_of(volumes, "grade", {}),
                  read = parse_signature(signature_text(wrote), "file");
  EXPECT_EQ(read.images, volumes.images);
  EXPECT_EQ(read.preparation, volumes.preparation);
  const Signature of_images = signature_of(cells(), "grade", {});
  EXPECT_EQ(signature_text(of_images).find("depth"), std::string::npos);
  try {
    (void)in_words_of(volumes, of_images);
    ADD_FAILURE() << "volumes for a model of images";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().what, "the model takes images, those of the dataset are volumes of depth 7");
  }
}

TEST(Signature, OfEarlierProgramsDoesNotTellHowImagesWerePrepared) {
  Description unknown = cells();
  unknown.preparation.reset();
  const std::string text = signature_text(signature_of(unknown, "grade", {}));
  EXPECT_EQ(text.find("preparation"), std::string::npos);
  EXPECT_EQ(parse_signature(text, "file").preparation, std::nullopt);
}

TEST(Signature, OfSomebodyElseIsCheckedBeforeItIsUsed) {
  const std::string whole = signature_text(signature_of(cells(), "grade", {"plate"}));
  const auto refused = [&](const std::string& old_text, const std::string& text) {
    std::string changed = whole;
    changed.replace(changed.find(old_text), old_text.size(), text);
    EXPECT_THROW((void)parse_signature(changed, "file"), DataError) << changed;
  };
  refused("\"u16\"", "\"u17\"");
  refused("16,", "-1,");
  refused("[\"cat\",\"dog\"]", "[\"cat\",\"cat\"]");
  refused("[1.0,2.0,3.0]", "[1.0]");
  refused("\"channels\"", "\"canals\"");
  refused("\"pad\"", "\"cut\"");
  EXPECT_THROW((void)parse_signature("", "file"), DataError);
  EXPECT_THROW((void)parse_signature(std::string(100'000, '['), "file"), DataError);
}

TEST(Signature, ChannelsAndContextsAreInTheOrderOfTheOtherDataset) {
  const Signature model = signature_of(cells(), "grade", {"plate"});
  Description other = cells();
  other.channels = {"rna", "dna", "actin"};
  other.mean = {7, 7, 7};
  other.contexts = {{"plate", {"p9", "p1"}}};

  const Signature words = in_words_of(other, model);

  EXPECT_EQ(words.channels, other.channels);
  EXPECT_EQ(words.mean, (std::vector<double>{1.0 / 3.0, 0.1, 300.25}));
  EXPECT_EQ(words.deviation, (std::vector<double>{3, 1, 2}));
  EXPECT_EQ(words.contexts[0].values, (Names{"p9", "p1"}));
  EXPECT_EQ(words.classes, model.classes);
}

TEST(Signature, OtherChannelsAreRefusedWithBothLists) {
  const Signature model = signature_of(cells(), "grade", {});
  for (const Names& channels : {Names{"gray"}, Names{"dna", "actin", "dapi"}, Names{"dna", "actin"}}) {
    Description other = cells();
    other.channels = channels;
    try {
      (void)in_words_of(other, model);
      ADD_FAILURE() << "accepted";
    } catch (const UsageError& error) {
      EXPECT_NE(error.text().what.find("dna, actin, rna; the dataset has " + list_of(channels)),
                std::string::npos)
          << error.what();
    }
  }
}

TEST(Signature, LabelsGoByTheNamesOfTheClasses) {
  const Dataset dataset = Dataset::open(kNuclei, "test");
  const LabelColumn& column = dataset.description().labels.front();
  const std::vector<std::int32_t>& labels = dataset.labels(column.name);
  const Names reversed{"unknown to the dataset", column.classes[1], column.classes[0]};

  const ClassNumbers numbers(dataset.description(), "test", column.name, reversed);
  for (const std::int32_t label : labels) EXPECT_EQ(numbers(label), label < 0 ? -1 : 2 - label);
  const Names one{column.classes[0]};
  const ClassNumbers of_one(dataset.description(), "test", column.name, one);
  EXPECT_EQ(of_one(0), 0);
  EXPECT_THROW((void)of_one(1), UsageError);
}

TEST(Signature, KnowsWhichContextsHadNoImageToTrainOn) {
  const Dataset train = Dataset::open(kNuclei, "train"), test = Dataset::open(kNuclei, "test");
  const Signature model = signature_of(train, "", {"context"});

  EXPECT_EQ(model.contexts[0].values.size(), 12U);
  EXPECT_EQ(model.contexts[0].unseen.size(), 5U);
  EXPECT_EQ(context_without_token(train, model), "");
  EXPECT_NE(context_without_token(test, model), "");
}

TEST(Signature, DifferencesAreSaidByName) {
  const Signature before = signature_of(cells(), "grade", {"plate"});
  Description changed = cells();
  changed.labels[0].classes = {"dog", "cat"};
  changed.mean[0] = 0.2;

  EXPECT_EQ(differences(before, signature_of(changed, "grade", {"plate"})),
            (Names{"classes of 'grade': cat, dog -> dog, cat",
                   "mean: 0.1, 300.25, 0.333333333 -> 0.2, 300.25, 0.333333333"}));
}

TEST(Signature, ManyContextsAreNoBurden) {
  Description many = cells();
  many.contexts = {{"plate", {}}};
  for (int i = 0; i < 100'000; ++i) many.contexts[0].values.push_back(fmt::format("plate {}", i));
  const Signature model = parse_signature(signature_text(signature_of(many, "grade", {"plate"})), "file");
  Names reversed(many.contexts[0].values.rbegin(), many.contexts[0].values.rend());

  const std::vector<std::int64_t> places = places_of(reversed, model.contexts[0].values);

  EXPECT_EQ(places.front(), 99'999);
  EXPECT_EQ(places.back(), 0);
}

}  // namespace
}  // namespace cohort::data

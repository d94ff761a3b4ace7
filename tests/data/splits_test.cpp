// Random splits: exact sizes, classes in ratio, groups whole, and nothing that depends on order.
#include "data_prep/splits.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "data_prep/convert.h"

namespace cohort::data_prep {
namespace {

using Counts = std::vector<std::int64_t>;

std::vector<std::string> names(std::int64_t count, const char* what = "image") {
  std::vector<std::string> all;
  for (std::int64_t i = 0; i < count; ++i) all.push_back(fmt::format("{}{}", what, i));
  return all;
}

std::vector<std::int32_t> unpacked(const data::PackedIndices& indices) {
  std::vector<std::int32_t> all;
  for (std::int64_t i = 0; i < indices.size(); ++i) all.push_back(indices[i]);
  return all;
}

data::PackedIndices packed(const std::vector<std::int32_t>& values) {
  data::PackedIndices all;
  for (const std::int32_t value : values) all.add(value);
  return all;
}

std::vector<std::int32_t> reversed(const data::PackedIndices& indices) {
  std::vector<std::int32_t> all = unpacked(indices);
  std::reverse(all.begin(), all.end());
  return all;
}

Counts sizes(const std::vector<std::int32_t>& part_of, std::size_t parts) {
  Counts counts(parts, 0);
  for (const std::int32_t part : part_of) ++counts[static_cast<std::size_t>(part)];
  return counts;
}

Counts sizes(const data::PackedIndices& part_of, std::size_t parts) {
  return sizes(unpacked(part_of), parts);
}

template <class Action>
std::string refusal(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was refused";
}

const std::vector<Part> kParts = parts_of("train=0.8,val=0.1,test=0.1");

TEST(Fractions, AddUpToOne) {
  EXPECT_EQ(kParts[1].name, "val");
  EXPECT_EQ(kParts[0].weight, 800'000'000);
  for (const auto& [text, message] : {std::pair{"train=0.8,val=0.1", "add up to 0.9, not to 1"},
                                      {"train=0.8,val=0.3", "add up to 1.1"},
                                      {"train=1,val=0", "'1' in"},
                                      {"train=x,val=0.5", "'x' in"},
                                      {"train,val=0.5", "'train' in"},
                                      {"a=0.5,a=0.5", "names no split of its own"}})
    EXPECT_NE(refusal([&, line = text] { parts_of(line); }).find(message), std::string::npos)
        << refusal([&, line = text] { parts_of(line); });
}

TEST(Divide, SizesAreThoseOfTheFractions) {
  for (const std::int64_t count : {10, 37, 1000}) {
    const data::PackedTexts ids = names(count);
    const Counts found = sizes(divide({.ids = ids}, kParts, 0), 3);
    for (std::size_t part = 0; part < 3; ++part)
      EXPECT_NEAR(static_cast<double>(found[part]), static_cast<double>(count * kParts[part].weight) / 1e9, 1)
          << count;
  }
  const data::PackedTexts ids = names(1000);
  EXPECT_EQ(sizes(divide({.ids = ids}, kParts, 0), 3), (Counts{800, 100, 100}));
}

TEST(Divide, DependsOnSeedAndIdsAndNotOnTheirOrder) {
  const data::PackedTexts ids = names(200);
  const auto part_of = unpacked(divide({.ids = ids}, kParts, 7));
  std::vector<std::string> backwards = names(200);
  std::reverse(backwards.begin(), backwards.end());
  const data::PackedTexts turned = backwards;
  EXPECT_EQ(part_of, reversed(divide({.ids = turned}, kParts, 7)));
  EXPECT_NE(part_of, unpacked(divide({.ids = ids}, kParts, 8)));
  // Random: the first half of the names has about half of the images of each part.
  const Counts half = sizes({part_of.begin(), part_of.begin() + 100}, 3);
  EXPECT_GT(half[1] + half[2], 8);
  EXPECT_LT(half[1] + half[2], 32);
}

/// The order that images are drawn in, from numbers that have room for a place and an image.
std::vector<std::int32_t> divided_by_whole_places(const std::vector<std::string>& ids,
                                                  const std::vector<std::int32_t>& classes,
                                                  std::uint64_t seed) {
  std::vector<std::tuple<std::int32_t, std::uint64_t, std::string, std::size_t>> drawn;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::uint64_t sum = checksum(std::as_bytes(std::span(ids[i])));
    RandomStream stream({.seed = seed, .purpose = Purpose::split, .sample = static_cast<std::int64_t>(sum)});
    const std::uint64_t high = stream();
    drawn.emplace_back(classes[i], high << 32U | stream(), ids[i], i);
  }
  std::sort(drawn.begin(), drawn.end());
  std::vector<std::int32_t> part_of(ids.size());
  for (std::size_t place = 0; place < drawn.size(); ++place)  // halves: one after the other
    part_of[std::get<3>(drawn[place])] = static_cast<std::int32_t>(place % 2);
  return part_of;
}

TEST(Divide, DrawsByClassThenPlace) {
  const auto ids = names(200'000);  // of which some have places that begin alike
  std::vector<std::int32_t> classes;
  for (std::int32_t i = 0; i < 200'000; ++i) classes.push_back(i % 7 % 3);
  const data::PackedTexts packed_ids = ids;
  const Divisible images{
      .ids = packed_ids, .label = "kind", .classes = packed(classes), .class_names = names(3, "class")};
  for (const std::uint64_t seed : {0, 1, 9})
    EXPECT_EQ(unpacked(divide(images, std::vector<Part>(2), seed)),
              divided_by_whole_places(ids, classes, seed));
}

TEST(Divide, ImagesThatAreNotChosenHaveNoPartAndNoInfluence) {
  const data::PackedTexts all = names(300), some = names(100);
  std::vector<bool> chosen(300, false);
  std::fill(chosen.begin(), chosen.begin() + 100, true);
  const auto part_of = unpacked(divide({.ids = all, .chosen = chosen}, kParts, 5));
  EXPECT_EQ(std::vector(part_of.begin(), part_of.begin() + 100), unpacked(divide({.ids = some}, kParts, 5)));
  EXPECT_EQ(std::vector(part_of.begin() + 100, part_of.end()), std::vector<std::int32_t>(200, -1));
}

TEST(Divide, GroupsOfManyClassesDoNotDependOnTheOrderOfImagesEither) {
  const data::PackedTexts ids = names(630);
  std::vector<std::string> backwards = names(630);
  std::reverse(backwards.begin(), backwards.end());
  const data::PackedTexts turned = backwards;
  Divisible images{.ids = ids,
                   .label = "grade",
                   .class_names = names(7, "grade"),
                   .group = "patient",
                   .group_names = names(90, "patient")};
  for (std::int32_t i = 0; i < 630; ++i) {
    images.groups.add(i % 90);
    images.classes.add(i / 90 * (i + 1) % 7);  // uneven, with many parts that lack as much as others
  }
  const Divisible others{.ids = turned,
                         .label = images.label,
                         .classes = packed(reversed(images.classes)),
                         .class_names = images.class_names,
                         .group = images.group,
                         .groups = packed(reversed(images.groups)),
                         .group_names = images.group_names};
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto again = reversed(divide(others, std::vector<Part>(7), seed));
    EXPECT_EQ(unpacked(divide(images, std::vector<Part>(7), seed)), again) << seed;
  }
}

TEST(Divide, StratifiedPartsHaveTheClassesInRatio) {
  const data::PackedTexts ids = names(3000);
  Divisible images{.ids = ids, .label = "grade", .class_names = {"a", "b", "c"}};
  for (std::int32_t i = 0; i < 3000; ++i) images.classes.add(i < 2500 ? 0 : i < 2987 ? 1 : i < 2997 ? 2 : -1);
  const auto part_of = divide(images, kParts, 1);
  const Counts found = sizes(part_of, 3);
  for (std::size_t part = 0; part < 3; ++part)
    EXPECT_NEAR(static_cast<double>(found[part]), static_cast<double>(kParts[part].weight) * 3e-6, 2)
        << "two small classes are in each";
  std::map<std::int32_t, Counts> of_class;
  for (std::int64_t i = 0; i < ids.size(); ++i) {
    Counts& counts = of_class.try_emplace(images.classes[i], Counts(3, 0)).first->second;
    ++counts[static_cast<std::size_t>(part_of[i])];
  }
  EXPECT_EQ(of_class[0], (Counts{2000, 250, 250}));
  EXPECT_NEAR(static_cast<double>(of_class[1][0]), 389.6, 2);
  EXPECT_GE(*std::min_element(of_class[2].begin(), of_class[2].end()), 1) << "a small class is in every part";
  EXPECT_EQ(of_class[-1], (Counts{1, 1, 1})) << "so are images without one";
}

TEST(Divide, ManySmallClassesDoNotMoveTheWhole) {
  const data::PackedTexts ids = names(28'000);
  Divisible images{.ids = ids, .label = "kind", .class_names = names(1000, "class")};
  for (std::int32_t i = 0; i < 28'000; ++i) images.classes.add(i % 1000);
  const Counts found = sizes(divide(images, parts_of("train=0.85,val=0.1,test=0.05"), 0), 3);
  EXPECT_EQ(found, (Counts{23'800, 2'800, 1'400}));
}

TEST(Divide, GroupsStayWhole) {
  const data::PackedTexts ids = names(1000);
  Divisible images{.ids = ids, .group = "patient", .group_names = names(90, "patient")};
  for (std::int32_t i = 0; i < 1000; ++i) images.groups.add(i * i % 89 % 50);  // of uneven sizes; some empty
  const auto part_of = divide(images, kParts, 3);
  std::map<std::int32_t, std::int32_t> part_of_group;
  for (std::int64_t i = 0; i < ids.size(); ++i)
    EXPECT_EQ(part_of_group.emplace(images.groups[i], part_of[i]).first->second, part_of[i]);
  const Counts of_group = sizes(images.groups, 90), found = sizes(part_of, 3);
  const auto largest = static_cast<double>(*std::max_element(of_group.begin(), of_group.end()));
  EXPECT_NEAR(static_cast<double>(found[0]), 800, largest);
  EXPECT_NEAR(static_cast<double>(found[1]), 100, largest);
}

TEST(Divide, StratifiedGroupsHaveTheClassesAboutInRatio) {
  const data::PackedTexts ids = names(2000);
  Divisible images{.ids = ids,
                   .label = "grade",
                   .class_names = {"usual", "rare"},
                   .group = "patient",
                   .group_names = names(200, "patient")};
  for (std::int32_t i = 0; i < 2000; ++i) {
    images.groups.add(i % 200);
    images.classes.add(i % 200 < 20 ? 1 : 0);  // a patient has one class
  }
  const std::vector<Part> folds(5);
  const auto fold_of = divide(images, folds, 0);
  std::vector<Counts> of_fold(5, Counts(2, 0));
  for (std::int64_t i = 0; i < ids.size(); ++i)
    ++of_fold[static_cast<std::size_t>(fold_of[i])][static_cast<std::size_t>(images.classes[i])];
  for (const Counts& counts : of_fold) EXPECT_EQ(counts, (Counts{360, 40}));
}

TEST(Divide, TooFewAreRefusedWithTheirNumber) {
  const data::PackedTexts ids = names(20);
  Divisible images{.ids = ids, .label = "grade", .class_names = {"usual", "rare"}};
  images.classes = data::PackedIndices(20, 0);
  images.classes.set(3, 1);
  images.classes.set(4, 1);
  EXPECT_NE(refusal([&] {
              divide(images, kParts, 0);
            }).find("class 'rare' of 'grade' has 2 images, too few for 3 splits"),
            std::string::npos);
  images.group = "patient";
  images.group_names = {"p", "q"};
  images.groups = data::PackedIndices(20, 0);
  images.groups.set(3, 1);
  EXPECT_NE(refusal([&] {
              divide(images, kParts, 0);
            }).find("there are 2 values of 'patient', too few for 3 splits"),
            std::string::npos);
  const data::PackedTexts two = names(2);
  EXPECT_NE(refusal([&] { divide({.ids = two}, kParts, 0); }).find("there are 2 images"), std::string::npos);
}

TEST(Divide, EveryPartGetsAGroup) {
  const data::PackedTexts ids = names(100);
  Divisible images{.ids = ids, .group = "slide", .group_names = names(5, "slide")};
  for (std::int32_t i = 0; i < 100; ++i) images.groups.add(i % 5);
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_EQ(sizes(divide(images, kParts, seed), 3), (Counts{60, 20, 20})) << seed;
}

Source twenty_images() {
  Source source;
  source.where = "here";
  source.ids = names(20);
  Column site{"site", {}}, grade{"grade", {}};
  for (int i = 0; i < 20; ++i) {
    site.values.push_back(fmt::format("s{}", i % 4));
    grade.values.push_back(i < 10 ? "a" : "b");
  }
  source.contexts = {site};
  source.labels = {grade};
  return source;
}

std::string split_text_of(const Source& source, const ConvertOptions& options) {
  const Plan plan = make_plan(source, options);
  std::string text;
  for (std::size_t split = 0; split < plan.description.splits.size(); ++split) {
    std::int64_t rows = 0;
    for (std::int64_t i = 0; i < plan.rows.size(); ++i)
      rows += plan.rows[i].split == static_cast<std::int32_t>(split) ? 1 : 0;
    text += fmt::format("{} {} ", plan.description.splits[split].name, rows);
  }
  return text;
}

TEST(MakePlan, FractionsDivideWhatIsNotHeldOut) {
  ConvertOptions options;
  options.division.fractions = "val=0.2,train=0.8";
  EXPECT_EQ(split_text_of(twenty_images(), options), "train 16 val 4 ");
  options.hold_out = {4, 0};
  EXPECT_EQ(split_text_of(twenty_images(), options), "train 12 val 3 unseen_test 5 ");
  options.division.folds = 3;
  options.division.fold = 1;
  EXPECT_EQ(split_text_of(twenty_images(), options), "train 8 val 2 unseen_test 5 test 5 ");
  options.division.fractions = "train=0.8,test=0.2";
  EXPECT_NE(
      refusal([&] { make_plan(twenty_images(), options); }).find("the split 'test' is held out already"),
      std::string::npos);
}

TEST(MakePlan, FoldsTogetherAreAllImages) {
  ConvertOptions options;
  options.division.folds = 3;
  options.division.stratify = "grade";
  std::vector<int> times(20, 0);
  for (std::int64_t fold = 0; fold < 3; ++fold) {
    options.division.fold = fold;
    const Plan plan = make_plan(twenty_images(), options);
    ASSERT_EQ(plan.description.splits[1].name, "test");
    for (std::int64_t i = 0; i < 20; ++i) times[static_cast<std::size_t>(i)] += plan.rows[i].split;
  }
  EXPECT_EQ(times, std::vector<int>(20, 1));
}

TEST(MakePlan, FractionsDivideTheSplitsOfTheSourceThatTheyName) {
  Source source = twenty_images();
  for (int i = 0; i < 20; ++i) source.splits.push_back(i < 10 ? "train" : "test");
  ConvertOptions options;
  options.division.fractions = "train=0.8,val=0.2";
  EXPECT_EQ(split_text_of(source, options), "train 8 val 2 test 10 ");
  options.division.fractions = "training=0.8,val=0.2";
  EXPECT_NE(
      refusal([&] { make_plan(source, options); }).find("the splits train, test, of which none is named"),
      std::string::npos);
}

TEST(MakePlan, ImagesAreGroupedByAContextOrAColumn) {
  ConvertOptions options;
  options.division.fractions = "train=0.5,test=0.5";
  options.division.group_by = "site";
  const Plan by_site = make_plan(twenty_images(), options);
  for (std::size_t i = 4; i < 20; ++i) EXPECT_EQ(by_site.rows[i].split, by_site.rows[i - 4].split);
  options.division.group_by = "patient";
  EXPECT_NE(refusal([&] { make_plan(twenty_images(), options); }).find("there is no context key 'patient'"),
            std::string::npos);
  Source source = twenty_images();
  read_groups(source, options, [](const std::string& name, const std::string&) {
    EXPECT_EQ(name, "patient");
    std::vector<std::string> patients(20, "p");
    std::fill(patients.begin(), patients.begin() + 10, "q");
    return patients;
  });
  const Plan by_patient = make_plan(source, options);
  for (std::size_t i = 0; i < 20; ++i)
    EXPECT_EQ(by_patient.rows[i].split, by_patient.rows[i < 10 ? 0 : 19].split);
  EXPECT_NE(by_patient.rows[0].split, by_patient.rows[19].split);
}

TEST(MakePlan, OptionsThatLackAnotherAreNamed) {
  const auto refused = [](const auto& change) {
    ConvertOptions options;
    change(options.division);
    return refusal([&] { make_plan(twenty_images(), options); });
  };
  EXPECT_NE(refused([](auto& o) { o.folds = 5; }).find("add --fold 0"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.fold = 0; }).find("add --folds"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.folds = 5, o.fold = 5; }).find("give 0 … 4"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.stratify = "grade"; }).find("add --fractions or --folds"),
            std::string::npos);
  EXPECT_NE(refused([](auto& o) {
              o.fractions = "a=0.5,b=0.5", o.stratify = "grad";
            }).find("did you mean 'grade'?"),
            std::string::npos);
}

}  // namespace
}  // namespace cohort::data_prep

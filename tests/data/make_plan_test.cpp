// What a conversion makes of its columns: vocabularies, splits, classes and the table of counts.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"

#include "data_prep/convert.h"
#include "data_prep/counts.h"
#include "data_prep/options.h"
#include "data_prep/vocabulary.h"

namespace cohort::data_prep {
namespace {

template <class Action>
std::string refusal_of_plan(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Vocabulary, NumbersByValueTextsByBytes) {
  EXPECT_EQ(distinct({"10", "9", "", "-1", "9"}), (std::vector<std::string>{"-1", "9", "10"}));
  EXPECT_EQ(distinct({"b10", "b9", "a"}), (std::vector<std::string>{"a", "b10", "b9"}));
  EXPECT_EQ(distinct({"10.0", "0.5", "9", "1e1", "-.5"}),
            (std::vector<std::string>{"-.5", "0.5", "9", "10.0", "1e1"}));
  EXPECT_EQ(distinct({"10.0", "9", "nan"}), (std::vector<std::string>{"10.0", "9", "nan"}));
  EXPECT_EQ(indices({"b", "", "a"}, {"a", "b"}, "label", ""), (std::vector<std::int32_t>{1, -1, 0}));
  EXPECT_NE(refusal_of_plan([] {
              indices({"bad"}, {"bat"}, "label 'x'", "--classes");
            }).find("label 'x' has the value 'bad'"),
            std::string::npos);
}

TEST(Vocabulary, DoubtsAreSaid) {
  EXPECT_TRUE(doubts_about("label 'x'", {"cat", "dog", "category"}).empty());
  for (const char* missing : {"NA", "NaN", "None", "n/a", "NULL"})
    EXPECT_NE(join(doubts_about("label 'x'", {"cat", missing}), "\n")
                  .find(fmt::format("label 'x' has the value '{}', a value like any other", missing)),
              std::string::npos);
  for (const auto& [one, other] :
       {std::pair("Z\xC3\xBCrich", "Zu\xCC\x88rich"), std::pair("Cat", "cat"), std::pair("cat", "cat "),
        std::pair("ÄRZTIN", "ärztin"), std::pair("10 \xC2\xB5m", "10 \xCE\xBCm")})
    EXPECT_NE(join(doubts_about("label 'x'", {one, "dog", other}), "\n")
                  .find(fmt::format("'{}' and '{}'", one, other)),
              std::string::npos);
  EXPECT_EQ(doubts_about("label 'x'", {"a", "A", "b", "B", "c", "C", "d", "D", "e", "E"}).front(),
            "label 'x' has names that differ in case, blanks or the way accents are written alone: 'a' and "
            "'A', 'b' and 'B', 'c' and 'C', …");
}

TEST(HoldOut, EveryNthContextAndEveryNthImageOfTheOthers) {
  data::PackedIndices context;
  for (const std::int32_t value : {0, 0, 0, 1, 1, 1, 1, 0}) context.add(value);
  const std::vector<std::string> ids{"h", "b", "c", "d", "e", "f", "g", "a"};  // context 0 in order: a b c h
  const auto splits = [&](const HoldOut& rule) {
    const data::PackedIndices of_image = hold_out(context, ids, rule);
    std::vector<std::int32_t> all;
    for (std::int64_t i = 0; i < of_image.size(); ++i) all.push_back(of_image[i]);
    return all;
  };
  EXPECT_EQ(splits({2, 2}), (std::vector<std::int32_t>{2, 2, 2, 1, 0, 1, 0, 2}));
  EXPECT_EQ(splits({0, 0}), std::vector<std::int32_t>(8, 0));
}

Source three_images() {
  Source source;
  source.where = "here";
  source.ids = {"a", "b", "c"};
  source.splits = {"test", "training", "test"};
  source.labels = {{"kind", {"x", "", "y"}}};
  source.contexts = {{"site", {"2", "10", "2"}}};
  return source;
}

TEST(MakePlan, OrdersSplitsVocabulariesAndClasses) {
  ConvertOptions options;
  options.out = "data/mine/";
  options.classes = {"y,x"};
  const Plan plan = make_plan(three_images(), options);
  EXPECT_EQ(plan.description.name, "mine");
  EXPECT_EQ(plan.description.splits[0].name, "training");
  EXPECT_EQ(plan.description.contexts[0].values, (std::vector<std::string>{"2", "10"}));
  EXPECT_EQ(plan.rows[0].labels, std::vector<std::int32_t>{1});
  EXPECT_EQ(plan.rows[1].labels, std::vector<std::int32_t>{-1});
  EXPECT_EQ(plan.rows[2].split, 1);
  EXPECT_EQ(plan.description.statistics, "training");
  EXPECT_EQ(count_table(plan.description, plan.rows, false),
            "split     context    images    kind=y    kind=x\n"
            "training  all             1         0         0\n"
            "training  site=10         1         0         0\n"
            "test      all             2         1         1\n"
            "test      site=2          2         1         1\n");
}

TEST(MakePlan, StatisticsAreOfTheTrainingSplitWhateverItsName) {
  const auto statistics = [](const std::vector<std::string>& splits, const std::string& option,
                             const std::string& source_says) {
    Source source = three_images();
    source.splits = splits;
    source.statistics = source_says;
    ConvertOptions options;
    options.statistics_split = option;
    return make_plan(source, options).description.statistics;
  };
  EXPECT_EQ(statistics({"dev", "fit", "dev"}, "fit", ""), "fit");
  EXPECT_EQ(statistics({"dev", "train", "fit"}, "", ""), "train");
  EXPECT_EQ(statistics({"dev", "train", "fit"}, "dev", ""), "dev");
  EXPECT_EQ(statistics({"dev", "fit", "fit"}, "", "fit"), "fit");
  EXPECT_EQ(statistics({"dev", "fit", "fit"}, "", "of another dataset"), "dev");
  EXPECT_NE(refusal_of_plan([&] {
              statistics({"dev", "fit", "fit"}, "fits", "");
            }).find("did you mean 'fit'?"),
            std::string::npos);
}

TEST(MakePlan, NamesThatCannotBeWrittenAreFoundFirst) {
  const auto refusal = [](const auto& edit) {
    Source source = three_images();
    source.place = [](std::int64_t i) { return fmt::format("list.csv:{}", i + 2); };
    edit(source);
    return refusal_of_plan([&] { make_plan(source, {}); });
  };
  EXPECT_NE(refusal([](Source& s) {
              s.ids = {"a", "b", "a"};
            }).find("two images have the id 'a'\n  where: list.csv:2 and list.csv:4"),
            std::string::npos);
  const std::string id = refusal([](Source& s) { s.ids = {"a", "K\xF6ln.png", "c"}; });
  EXPECT_NE(id.find("the id of an image is not valid UTF-8: 'K\\xf6ln.png'\n  where: list.csv:3"),
            std::string::npos)
      << id;
  EXPECT_NE(refusal([](Source& s) {
              s.contexts[0].values = {"K\xF6ln", "10", "2"};
            }).find("the name of a value of 'site' is not valid UTF-8: 'K\\xf6ln'"),
            std::string::npos);
  EXPECT_NE(refusal([](Source& s) {
              s.labels[0].values = {"\xFF", "", "y"};
            }).find("the name of a class of 'kind' is not valid UTF-8"),
            std::string::npos);
  EXPECT_NE(
      refusal([](Source& s) { s.labels.push_back(s.labels[0]); }).find("'kind' is twice the name of a label"),
      std::string::npos);
}

TEST(CountTable, OfManyContextsAndClassesShowsTheLargestAndSmallest) {
  Source source;
  source.contexts = {{"site", {}}};
  source.labels = {{"kind", {}}};
  for (int context = 0; context < 3000; ++context) {
    for (int i = 0; i < (context == 7 ? 9 : context == 8 ? 1 : 2); ++i) {
      source.ids.push_back(fmt::format("{}-{}", context, i));
      source.contexts[0].values.push_back(fmt::format("{}", context));
      source.labels[0].values.push_back(fmt::format("class {}", context % 100));
    }
  }
  const Plan plan = make_plan(source, {});

  const std::string table = count_table(plan.description, plan.rows, false);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 20) << table;
  EXPECT_LT(table.find("site=7 "), table.find("site=8 ")) << "largest first";
  EXPECT_NE(table.find("train  … 2,984 more of 2 to 2 images each\n"), std::string::npos) << table;
  EXPECT_NE(table.find("kind: the 8 largest of 100 classes\n"), std::string::npos) << table;
  EXPECT_NE(table.find("kind=class 7"), std::string::npos) << table;

  const std::string all = count_table(plan.description, plan.rows, true);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 3002);
  EXPECT_NE(all.find("kind=class 99"), std::string::npos);
}

TEST(CountTable, OfANarrowTerminalLeavesClassesOutAndSaysSo) {
  Source source = three_images();
  source.labels[0].values = {"a", "b", "c"};
  const Plan plan = make_plan(source, {});

  const std::string table = count_table(plan.description, plan.rows, false, 50);

  for (const std::string& line : split_text(table, '\n')) EXPECT_LE(display_width(line), 50U) << line;
  EXPECT_NE(table.find("kind=b"), std::string::npos) << table;
  EXPECT_EQ(table.find("kind=c"), std::string::npos) << table;
  EXPECT_TRUE(table.ends_with("for a wider terminal, or a file: 1 more class\n")) << table;
  EXPECT_EQ(count_table(plan.description, plan.rows, false, 60),
            count_table(plan.description, plan.rows, false));
}

TEST(CountTable, NamesOfOthersAreEscapedAndCut) {
  Source source = three_images();
  source.contexts[0].values = {"\x1b[31mred", "a\nb", std::string(300, 'x')};
  const Plan plan = make_plan(source, {});

  const std::string table = count_table(plan.description, plan.rows, false);

  EXPECT_EQ(table.find('\x1b'), std::string::npos);
  EXPECT_NE(table.find("site=\\x1b[31mred"), std::string::npos);
  EXPECT_NE(table.find("site=a\\nb "), std::string::npos);
  std::size_t longest = 0;
  for (const std::string& line : split_text(table, '\n')) longest = std::max(longest, display_width(line));
  EXPECT_LT(longest, 100U);
}

TEST(MakePlan, RefusesRulesBesideSplitsAndMissingContexts) {
  ConvertOptions rule;
  rule.hold_out.images = 4;
  EXPECT_NE(refusal_of_plan([&] { make_plan(three_images(), rule); }).find("the images already have splits"),
            std::string::npos);
  Source source = three_images();
  source.contexts[0].values = {"2", "", "2"};
  EXPECT_NE(
      refusal_of_plan([&] { make_plan(source, {}); }).find("image 'b' has no value for context key 'site'"),
      std::string::npos);
  source = three_images();
  source.contexts.clear();
  source.splits = {};
  rule.hold_out = {3, 0};
  EXPECT_NE(refusal_of_plan([&] { make_plan(source, rule); }).find("there are no contexts to hold out"),
            std::string::npos);
}

TEST(MakePlan, RulesThatAreOffGiveNoSplit) {
  Source source = three_images();
  source.splits = {};
  source.ids.push_back("d");  // so that a rule for every second one leaves some to train on
  source.labels[0].values.push_back("x");
  source.contexts[0].values.push_back("10");
  const auto names = [&](HoldOut rule) {
    ConvertOptions options;
    options.hold_out = rule;
    std::string all;
    for (const auto& split : make_plan(source, options).description.splits) all += split.name + " ";
    return all;
  };
  EXPECT_EQ(names({0, 0}), "train ");
  EXPECT_EQ(names({2, 0}), "train unseen_test ");
  EXPECT_EQ(names({0, 2}), "train seen_test ");
  EXPECT_EQ(names({2, 2}), "train seen_test unseen_test ");
}

}  // namespace
}  // namespace cohort::data_prep

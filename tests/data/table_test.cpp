#include "data_prep/table.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"

#include "data_prep/convert.h"
#include "data_prep/counts.h"
#include "data_prep/numpy_random.h"
#include "data_prep/options.h"
#include "data_prep/vocabulary.h"
#include "support/temporary_folder.h"

namespace cohort::data_prep {
namespace {

template <class Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

class TableFile : public ::testing::Test {
 protected:
  Table read(const std::string& content) { return Table::read(folder_.write("t.csv", content)); }
  testing::TemporaryFolder folder_;
};

TEST_F(TableFile, CommasAndQuotes) {
  const Table table = read("path,note\r\na.png,\"x, \"\"y\"\"\nz\"\r\n\nb.png,\n");
  EXPECT_EQ(table.columns, (std::vector<std::string>{"path", "note"}));
  ASSERT_EQ(table.lines.size(), 2U);
  EXPECT_EQ(table.lines[0].cells[1], "x, \"y\"\nz");
  EXPECT_EQ(table.lines[1].cells, (std::vector<std::string>{"b.png", ""}));
  EXPECT_EQ(table.lines[1].number, 5);
}

TEST_F(TableFile, BlanksAndTabs) {
  EXPECT_EQ(read("a  b\n 1   2 \n").lines[0].cells, (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(read("a\tb\n1 2\t\n").lines[0].cells, (std::vector<std::string>{"1 2", ""}));
}

TEST_F(TableFile, SemicolonsAndWhatTheFirstLineHasMostOf) {
  EXPECT_EQ(read("path;note\na.png;0,5\n").lines[0].cells, (std::vector<std::string>{"a.png", "0,5"}));
  EXPECT_EQ(read("path;\"x, y, z\"\na;b\n").columns, (std::vector<std::string>{"path", "x, y, z"}));
  EXPECT_EQ(read("path\tx, y\tz\na\tb\tc\n").columns, (std::vector<std::string>{"path", "x, y", "z"}));
  EXPECT_EQ(read("path,x;y\na,b\n").columns, (std::vector<std::string>{"path", "x;y"}))
      << "commas, where there are as many";
}

TEST_F(TableFile, LinesEndInAnyWay) {
  for (const char* end : {"\n", "\r\n", "\r"}) {
    const Table table = read(fmt::format("a,b{0}1,\"x{0}y\"{0}{0}3,4{0}", end));
    ASSERT_EQ(table.lines.size(), 2U);
    EXPECT_EQ(table.lines[0].cells[1], fmt::format("x{}y", end));
    EXPECT_EQ(table.lines[1].cells, (std::vector<std::string>{"3", "4"}));
    EXPECT_EQ(table.lines[1].number, 5);
  }
}

TEST_F(TableFile, EncodingsAreReadOrNamed) {
  const auto utf16 = [](std::u16string_view text, bool is_big) {
    std::string bytes;
    for (const char16_t unit : text) {
      const auto high = static_cast<char>(unit >> 8), low = static_cast<char>(unit & 0xFF);
      bytes += {is_big ? high : low, is_big ? low : high};
    }
    return bytes;
  };
  const std::u16string_view text = u"\uFEFFpath,ort\na.png,K\u00F6ln \U0001F600\n";
  for (const bool is_big : {false, true}) {
    const Table table = read(utf16(text, is_big));
    EXPECT_EQ(table.columns[0], "path");
    EXPECT_EQ(table.lines[0].cells[1], "Köln 😀");
  }
  EXPECT_EQ(read("\xEF\xBB\xBFpath\na\n").columns, std::vector<std::string>{"path"});

  EXPECT_NE(message_of([&] { read(utf16(text.substr(1), false)); }).find("UTF-16 without a byte order mark"),
            std::string::npos);
  const char16_t half = 0xD83D;
  for (const std::u16string& rest : {std::u16string(u"A\n"), std::u16string(1, half), std::u16string()}) {
    const std::u16string damaged = u"\uFEFFpath\n" + std::u16string(1, half) + rest;
    EXPECT_NE(message_of([&] { read(utf16(damaged, false)); }).find("damaged UTF-16"), std::string::npos);
  }
  EXPECT_NE(message_of([&] { read(utf16(text, true) + "x"); }).find("damaged UTF-16"), std::string::npos);
  const std::string latin1 = message_of([&] { read("path,ort\na.png,Bonn\nb.png,K\xF6ln\n"); });
  EXPECT_NE(latin1.find("the table is not UTF-8, but Latin-1"), std::string::npos) << latin1;
  EXPECT_NE(latin1.find("t.csv:3\n"), std::string::npos) << latin1;
}

TEST_F(TableFile, RefusalsNameTheLine) {
  EXPECT_NE(message_of([&] { read("a,b\n1,2\n1,2,3\n"); }).find("the line has 3 cells for 2 columns\n"),
            std::string::npos);
  EXPECT_NE(message_of([&] { read("a,b\n1,2\n1,2,3\n"); }).find("t.csv:3"), std::string::npos);
  EXPECT_NE(message_of([&] { read("a,b\n1,\"2\n"); }).find("a quoted cell does not end"), std::string::npos);
  EXPECT_NE(message_of([&] { read("a,a\n"); }).find("two columns are called 'a'"), std::string::npos);
  EXPECT_NE(message_of([&] { read(""); }).find("the table is empty"), std::string::npos);
  const Table table = read("path,label\n");
  EXPECT_NE(
      message_of([&] { static_cast<void>(table.column("lable", "--label")); }).find("did you mean 'label'?"),
      std::string::npos);
}

/// What LargeTable reads of a file is what Table reads of it.
void expect_alike(const std::filesystem::path& file) {
  const Table table = Table::read(file);
  const LargeTable large(file);
  EXPECT_EQ(large.columns(), table.columns);
  ASSERT_EQ(large.rows(), std::ssize(table.lines));
  const std::int64_t rows = large.rows();
  for (std::int64_t i = 0; i < 2 * rows; ++i) {  // in order, then in another one
    const std::int64_t row = i < rows ? i : i * 37 % rows;
    const Line &expected = table.lines[static_cast<std::size_t>(row)], found = large.line(row);
    ASSERT_EQ(found.cells, expected.cells) << row;
    ASSERT_EQ(found.number, expected.number) << row;
  }
}

TEST_F(TableFile, ALargeTableReadsTheSame) {
  std::string text = "path,note\n";
  for (int i = 0; i < 3000; ++i) {  // longer than what is read at once
    text += fmt::format("{}.png,{}", i, std::string(static_cast<std::size_t>(i % 200), 'x'));
    text += i % 7 == 0 ? "\r\n\r\n" : i % 11 == 0 ? "\n\n" : "\n";
    if (i % 13 == 0) text += "\"a \"\"b\"\"\n\nc, d\",\n";
  }
  text += fmt::format("\"last\n{}\",ende", std::string(600'000, 'y'));
  expect_alike(folder_.write("commas.csv", text));
  expect_alike(folder_.write("mark.csv", "\xEF\xBB\xBF" + text));
  expect_alike(folder_.write("blanks.txt", "\na  b\n1\t2\n\n  \"3 4\" 5\r6 7"));
  expect_alike(folder_.write("tabs.tsv", "\"a\"\tb\r1,5\t2\r\r3\t\r"));
  expect_alike(std::filesystem::path(COHORT_TEST_DATA) / "data" / "table.parquet");
  std::string wide;
  for (const char letter : text.substr(0, 500)) wide += {letter, '\0'};
  expect_alike(folder_.write("utf16.csv", "\xFF\xFE" + wide));
}

TEST_F(TableFile, ALargeTableRefusesTheSame) {
  for (const std::string& text :
       {std::string(), std::string("\n\n"), std::string("a,b\n1\n"), std::string("a,a\n"),
        std::string("a,b\nK\xF6ln,2\n"), std::string("a,b\n1,\"2"), std::string("a\0,b\n", 5)}) {
    const auto file = folder_.write("bad.csv", text);
    EXPECT_EQ(message_of([&] { LargeTable{file}; }), message_of([&] { Table::read(file); })) << text;
  }
  // Lines behind a bad one are not read for it.
  const auto first = folder_.write("first.csv", "a,b\n1\nK\xF6ln,2\n");
  EXPECT_NE(message_of([&] { LargeTable{first}; }).find("the line has 1 cells for 2 columns"),
            std::string::npos);
  const LargeTable table(folder_.write("good.csv", "a,b\n1,2\n"));
  EXPECT_NE(
      message_of([&] { static_cast<void>(table.column("c", "--id")); }).find("the table has no column 'c'"),
      std::string::npos);
}

TEST_F(TableFile, ALargeTableNoticesThatItsFileWasChanged) {
  std::string text = "a,b\n";
  for (int i = 0; i < 100; ++i) text += "1,2\n";
  const auto replaced = [&](char by_comma, char by_line_end) {
    std::string changed = text;
    for (std::size_t at = 4; at < changed.size(); ++at) {
      if (changed[at] == ',') changed[at] = by_comma;
      if (changed[at] == '\n') changed[at] = by_line_end;
    }
    return changed;
  };
  std::string fewer = text;  // lines, of as many cells
  for (std::size_t at = 4; at < fewer.size(); at += 8) fewer.replace(at, 4, "\n\n\n\n");
  for (const std::string& changed :
       {replaced(';', '\n'), replaced(',', ','), replaced(',', ' '), text.substr(0, 20), fewer}) {
    const LargeTable table(folder_.write("changing.csv", text));
    EXPECT_EQ(table.cell(99, 1), "2");
    folder_.write("changing.csv", changed);
    for (const std::int64_t row : {0, 40}) {
      EXPECT_NE(message_of([&] {
                  static_cast<void>(table.cell(row, 1));
                }).find("the table has changed while it was read"),
                std::string::npos)
          << changed.substr(0, 30);
      EXPECT_NE(message_of([&] { static_cast<void>(table.line(row)); }).find("the table has changed"),
                std::string::npos);
    }
  }
}

TEST(Vocabulary, NumbersByValueTextsByBytes) {
  EXPECT_EQ(distinct({"10", "9", "", "-1", "9"}), (std::vector<std::string>{"-1", "9", "10"}));
  EXPECT_EQ(distinct({"b10", "b9", "a"}), (std::vector<std::string>{"a", "b10", "b9"}));
  EXPECT_EQ(distinct({"10.0", "0.5", "9", "1e1", "-.5"}),
            (std::vector<std::string>{"-.5", "0.5", "9", "10.0", "1e1"}));
  EXPECT_EQ(distinct({"10.0", "9", "nan"}), (std::vector<std::string>{"10.0", "9", "nan"}));
  EXPECT_EQ(indices({"b", "", "a"}, {"a", "b"}, "label", ""), (std::vector<std::int32_t>{1, -1, 0}));
  EXPECT_NE(message_of([] {
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
  const std::vector<std::int32_t> context{0, 0, 0, 1, 1, 1, 1, 0};
  const std::vector<std::string> ids{"h", "b", "c", "d", "e", "f", "g", "a"};  // context 0 in order: a b c h
  EXPECT_EQ(hold_out(context, ids, {2, 2}), (std::vector<std::int32_t>{2, 2, 2, 1, 0, 1, 0, 2}));
  EXPECT_EQ(hold_out(context, ids, {0, 0}), std::vector<std::int32_t>(8, 0));
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
  EXPECT_NE(message_of([&] {
              statistics({"dev", "fit", "fit"}, "fits", "");
            }).find("did you mean 'fit'?"),
            std::string::npos);
}

TEST(MakePlan, NamesThatCannotBeWrittenAreFoundFirst) {
  const auto refusal = [](const auto& edit) {
    Source source = three_images();
    source.place = [](std::int64_t i) { return fmt::format("list.csv:{}", i + 2); };
    edit(source);
    return message_of([&] { make_plan(source, {}); });
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

TEST(Cells, FormulasAreThoseThatSpreadsheetsCompute) {
  for (const char* formula : {"=1+1", "+A1", "-B2", "@SUM(A1)", "\t=1"})
    EXPECT_TRUE(is_formula(formula)) << formula;
  for (const char* text : {"", "a=b", "-1", "+2.5", "-1e3", "cat-2"}) EXPECT_FALSE(is_formula(text)) << text;
}

TEST(MakePlan, RefusesRulesBesideSplitsAndMissingContexts) {
  ConvertOptions rule;
  rule.hold_out.images = 4;
  EXPECT_NE(message_of([&] { make_plan(three_images(), rule); }).find("the images already have splits"),
            std::string::npos);
  Source source = three_images();
  source.contexts[0].values = {"2", "", "2"};
  EXPECT_NE(message_of([&] { make_plan(source, {}); }).find("image 'b' has no value for context key 'site'"),
            std::string::npos);
  source = three_images();
  source.contexts.clear();
  source.splits = {};
  rule.hold_out = {3, 0};
  EXPECT_NE(message_of([&] { make_plan(source, rule); }).find("there are no contexts to hold out"),
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

TEST(Options, SizesAreChecked) {
  ConvertOptions options;
  options.resize = "64x48";
  EXPECT_EQ(options.preparation(), (data::Preparation{false, 64, 48, data::Fit::stretch}));
  options.resize = "32";
  options.fit = "pad";
  EXPECT_EQ(options.preparation(), (data::Preparation{false, 32, 32, data::Fit::pad}));
  for (const char* bad : {"0", "x", "3x", "64 x 64", "-2", "70000"}) {
    options.resize = bad;
    EXPECT_THROW(static_cast<void>(options.preparation()), UsageError) << bad;
  }
  options.resize.clear();
  EXPECT_THROW(static_cast<void>(options.preparation()), UsageError) << "nothing to fit to";
  options.shard_size = "3";
  EXPECT_THROW(static_cast<void>(options.shard_bytes()), UsageError);
  EXPECT_EQ(renamed("y=kind"), std::pair(std::string("y"), std::string("kind")));
  EXPECT_EQ(renamed("y"), std::pair(std::string("y"), std::string("y")));
}

// table.parquet was made by arrays.py beside it, in row groups of three and one rows.
TEST(Parquet, ColumnsAreTextsOfAnyType) {
  const std::filesystem::path file = std::filesystem::path(COHORT_TEST_DATA) / "data" / "table.parquet";

  const Table table = Table::read(file);

  EXPECT_EQ(table.columns,
            (std::vector<std::string>{"name", "kind", "count", "part", "flag", "long", "nan", "nan32"}))
      << "lists are left out";
  ASSERT_EQ(table.lines.size(), 4U);
  EXPECT_EQ(table.lines[0].cells, (std::vector<std::string>{"a", "x", "1", "0.5", "true", "p", "1", ""}));
  EXPECT_EQ(table.lines[1].cells,
            (std::vector<std::string>{"", "y", "-2", "-1.25", "false", "q", "", "2.5"}));
  EXPECT_EQ(table.lines[2].cells,
            (std::vector<std::string>{"größer, \"b\"", "", "", "3", "", "r", "0.5", "-1"}));
  EXPECT_EQ(table.lines[3].cells,
            (std::vector<std::string>{"", "x", "9007199254740993", "", "true", "", "", "0"}));
  EXPECT_EQ(table.lines[3].number, 4);
}

TEST(Parquet, DamageIsNamed) {
  const std::filesystem::path file = std::filesystem::path(COHORT_TEST_DATA) / "data" / "table.parquet";
  const testing::TemporaryFolder folder;
  std::string content = read_file(file);
  const auto whole = content.size();
  for (const std::size_t kept : {std::size_t{4}, whole / 2, whole - 1}) {
    const auto damaged = folder.write("t.parquet", content.substr(0, kept));
    EXPECT_NE(message_of([&] { (void)Table::read(damaged); }).find("the Parquet table cannot be read"),
              std::string::npos);
  }
}

// numpy.random.RandomState(0).permutation(10), and (3).permutation(5), as printed by NumPy 2.4.
TEST(NumpyPermutation, IsThatOfNumpy) {
  EXPECT_EQ(numpy_permutation(0, 10), (std::vector<std::int64_t>{2, 8, 4, 9, 1, 6, 7, 3, 0, 5}));
  EXPECT_EQ(numpy_permutation(3, 5), (std::vector<std::int64_t>{3, 4, 1, 0, 2}));
  EXPECT_EQ(numpy_permutation(0, 1), (std::vector<std::int64_t>{0}));
  EXPECT_TRUE(numpy_permutation(0, 0).empty());
}

}  // namespace
}  // namespace cohort::data_prep

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

TEST(Cells, FormulasAreThoseThatSpreadsheetsCompute) {
  for (const char* formula : {"=1+1", "+A1", "-B2", "@SUM(A1)", "\t=1"})
    EXPECT_TRUE(is_formula(formula)) << formula;
  for (const char* text : {"", "a=b", "-1", "+2.5", "-1e3", "cat-2"}) EXPECT_FALSE(is_formula(text)) << text;
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

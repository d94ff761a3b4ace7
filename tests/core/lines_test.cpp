#include "cohort/core/lines.h"

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "../support/temporary_folder.h"

namespace cohort {
namespace {

using Lines = std::vector<std::string>;

template <class Reader>
Lines all_of(Reader reader) {
  Lines lines;
  std::string_view line;
  while (reader.next(line)) lines.emplace_back(line);
  return lines;
}

class LinesOf : public ::testing::Test {
 protected:
  [[nodiscard]] Lines forwards(const std::string& text) const {
    return all_of(LineReader(folder.write("f", text), Links::refuse));
  }
  [[nodiscard]] Lines backwards(const std::string& text) const {
    Lines lines = all_of(LinesFromEnd(folder.write("f", text), Links::refuse));
    std::reverse(lines.begin(), lines.end());
    return lines;
  }

  testing::TemporaryFolder folder;
};

TEST_F(LinesOf, SmallFiles) {
  for (const auto& [text, lines] : std::vector<std::pair<std::string, Lines>>{
           {"", {}}, {"\n", {""}}, {"a\n", {"a"}}, {"\n\na\n", {"", "", "a"}}, {"ab\ncd\n", {"ab", "cd"}}}) {
    EXPECT_EQ(forwards(text), lines) << text;
    EXPECT_EQ(backwards(text), lines) << text;
  }
}

TEST_F(LinesOf, ALastLineWithoutItsEndIsReadForwardsAlone) {
  EXPECT_EQ(forwards("a\nb"), (Lines{"a", "b"}));
  EXPECT_EQ(backwards("a\nb"), Lines{"a"});
  EXPECT_EQ(backwards("b"), Lines{});
  LineReader reader(folder.write("f", "a\nb"), Links::refuse);
  std::string_view line;
  EXPECT_TRUE(reader.next(line) && reader.has_end());
  EXPECT_TRUE(reader.next(line) && !reader.has_end());
}

// Blocks are of 1 MiB: ends of lines on both sides of their borders, and lines of several blocks.
TEST_F(LinesOf, FilesOfManyBlocks) {
  constexpr std::size_t kBlock = std::size_t{1} << 20;
  for (const std::size_t length : {kBlock - 1, kBlock, kBlock + 1, 3 * kBlock + 7}) {
    const Lines lines{std::string(length - 1, 'a'), "b", std::string(length, 'c'),
                      std::string(2 * kBlock, 'd'), "e"};
    std::string text;
    for (const std::string& line : lines) text += line + "\n";

    EXPECT_TRUE(forwards(text) == lines) << length;
    EXPECT_TRUE(backwards(text) == lines) << length;
    EXPECT_TRUE(backwards(text + std::string(length, 'f')) == lines) << length;
  }
  Lines many;
  std::string text;
  for (std::int64_t i = 0; i < 300'000; ++i) text += many.emplace_back(std::to_string(i * 7919)) + "\n";
  EXPECT_TRUE(forwards(text) == many);
  EXPECT_TRUE(backwards(text) == many);
}

TEST_F(LinesOf, ALinkInARunFolderIsNotFollowed) {
  std::filesystem::create_symlink(folder.write("f", "a\n"), folder.path() / "link");
  EXPECT_THROW(LineReader(folder.path() / "link", Links::refuse), DataError);
  EXPECT_THROW(LinesFromEnd(folder.path() / "link", Links::refuse), DataError);
}

}  // namespace
}  // namespace cohort

#include "cohort/core/checksum.h"

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "../support/temporary_folder.h"

namespace cohort {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string random_bytes(std::size_t count) {
  RandomStream random(RandomKey{.seed = 3});
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Published values of XXH3_64bits with seed 0.
TEST(ChecksumTest, KnownValues) {
  EXPECT_EQ(checksum({}), 0x2d06800538d394c2U);
  EXPECT_EQ(checksum(bytes_of("a")), 0xe6c632b61e964e1fU);
  EXPECT_EQ(checksum(bytes_of("abc")), 0x78af5f94892f3950U);
}

TEST(ChecksumTest, PiecesGiveTheValueOfTheWhole) {
  const std::string bytes = random_bytes(100'000);
  for (const std::size_t size : {1, 3, 255, 256, 1024, 65536}) {
    Checksum sum;
    for (std::size_t at = 0; at < bytes.size(); at += size) sum.update(bytes_of(bytes.substr(at, size)));
    EXPECT_EQ(sum.value(), checksum(bytes_of(bytes))) << size;
  }
}

TEST(ChecksumTest, MovesItsState) {
  Checksum first;
  first.update(bytes_of("a"));
  Checksum second(std::move(first));
  Checksum third;
  third = std::move(second);
  third.update(bytes_of("bc"));

  EXPECT_EQ(third.value(), 0x78af5f94892f3950U);
}

TEST(ChecksumTest, EveryBitCounts) {
  std::string bytes = random_bytes(300);
  const std::uint64_t whole = checksum(bytes_of(bytes));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
    EXPECT_NE(checksum(bytes_of(bytes)), whole) << at;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
  }
}

TEST(ChecksumTest, OfAFileEqualsThatOfItsContent) {
  const cohort::testing::TemporaryFolder folder;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{4} << 20, (std::size_t{4} << 20) + 1}) {
    const std::string content = random_bytes(size);
    EXPECT_EQ(checksum_file(folder.write("file", content)), checksum(bytes_of(content))) << size;
  }
}

TEST(ChecksumTest, OfAMissingFileOrAFolderIsADataError) {
  const cohort::testing::TemporaryFolder folder;

  EXPECT_THROW(checksum_file(folder.path() / "none"), DataError);
  EXPECT_THROW(checksum_file(folder.path()), DataError);
}

TEST(ChecksumTest, TextReadsBack) {
  EXPECT_EQ(checksum_text(0x2d06800538d394c2U), "2d06800538d394c2");
  EXPECT_EQ(checksum_text(1), "0000000000000001");
  EXPECT_EQ(parse_checksum("2d06800538d394c2", "x"), 0x2d06800538d394c2U);
}

TEST(ChecksumTest, DamagedTextNamesItsPlace) {
  for (const char* bad : {"", "1", "2d06800538d394c", "2d06800538d394c20", "2d06800538d394cg",
                          "-d06800538d394c2", "0x06800538d394c2"}) {
    try {
      parse_checksum(bad, "data/dataset.json");
      ADD_FAILURE() << bad;
    } catch (const DataError& error) {
      EXPECT_EQ(error.text().what, std::string("'") + bad + "' is not a checksum");
      EXPECT_EQ(error.text().where, "data/dataset.json");
    }
  }
}

}  // namespace
}  // namespace cohort

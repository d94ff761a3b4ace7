// arrays.npz was made by arrays.py beside it, which says what it holds.
#include "data_prep/npz.h"

#include <cstring>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "support/temporary_folder.h"

namespace cohort::data_prep {
namespace {

const std::filesystem::path kFile = std::filesystem::path(COHORT_TEST_DATA) / "data" / "arrays.npz";

std::vector<std::string> texts(const LargeArray& array) {
  check_texts(array.facts());
  std::vector<std::string> all;
  for (std::int64_t i = 0; i < array.facts().shape.front(); ++i) all.push_back(text_of(array, i));
  return all;
}

std::string refusal(const std::string& name, const std::filesystem::path& file = kFile) {
  try {
    texts(Npz(file).large_array(name));
  } catch (const DataError& error) {
    return error.what();
  }
  return "it was accepted";
}

TEST(Npz, ReadsDeflatedArrays) {
  const Array images = Npz(kFile).array("images_u2");
  EXPECT_EQ(images.type, "u2");
  ASSERT_EQ(images.shape, (std::vector<std::int64_t>{4, 3, 5}));
  for (std::uint16_t i = 0; i < 60; ++i) {
    std::uint16_t value = 0;
    std::memcpy(&value, images.bytes.data() + 2 * i, 2);
    ASSERT_EQ(value, i * 1000);
  }
}

TEST(Npz, ReadsStoredArrays) {
  const Array images = Npz(kFile.parent_path() / "stored.npz").array("x");
  EXPECT_EQ(images.type, "f4");
  float values[3];
  ASSERT_EQ(images.bytes.size(), sizeof values);
  std::memcpy(values, images.bytes.data(), sizeof values);
  EXPECT_EQ(values[0], 0.5F);
  EXPECT_EQ(values[2], -3.0F);
}

/// Packed, and stored as they are.
TEST(Npz, LargeArraysHaveTheSameValues) {
  for (const auto& [file, name] :
       {std::pair(kFile, "images_u2"), {kFile.parent_path() / "stored.npz", "x"}}) {
    const Array whole = Npz(file).array(name);
    const LargeArray large = Npz(file).large_array(name);
    EXPECT_EQ(large.facts().type, whole.type);
    EXPECT_EQ(large.facts().shape, whole.shape);
    std::string bytes(whole.bytes.size() - 3, '\0');
    large.read(3, std::as_writable_bytes(std::span(bytes)));
    EXPECT_EQ(bytes, whole.bytes.substr(3));
  }
}

/// Damage is looked for by one of several ranks: reading all of it takes long.
TEST(Npz, AStoredArrayIsReadWholeWhereItIsChecked) {
  const testing::TemporaryFolder folder;
  std::string archive = read_file(kFile.parent_path() / "stored.npz");
  const std::uint32_t half = 0x3f000000;  // 0.5, the first value
  archive[archive.find(std::string(reinterpret_cast<const char*>(&half), 4), archive.find("\x93NUMPY"))] = 1;
  const std::filesystem::path file = folder.write("damaged.npz", archive);
  EXPECT_THROW(Npz(file).large_array("x"), DataError);
  EXPECT_EQ(Npz(file, false).large_array("x").facts().shape, std::vector<std::int64_t>{3});
}

TEST(Npz, AStoredArrayThatIsDamagedIsRefused) {
  const testing::TemporaryFolder folder;
  std::string archive = read_file(kFile.parent_path() / "stored.npz");
  const std::size_t at = archive.find("\x93NUMPY");
  const std::uint32_t half = 0x3f000000;  // 0.5, the first value
  const std::size_t value = archive.find(std::string(reinterpret_cast<const char*>(&half), 4), at);
  archive[value] = 1;
  const auto file = folder.write("damaged.npz", archive);
  EXPECT_THROW(Npz(file).large_array("x"), DataError);
}

TEST(Npz, TurnsColumnsIntoTexts) {
  const Npz npz(kFile);
  EXPECT_EQ(texts(npz.large_array("names")), (std::vector<std::string>{"a", "größer", "", "日本𝄞"}));
  EXPECT_EQ(texts(npz.large_array("i4")), (std::vector<std::string>{"-1", "0", "1", "2147483647"}));
  EXPECT_EQ(texts(npz.large_array("i8")), (std::vector<std::string>{"-1", "0", "1", "9007199254740993"}));
  EXPECT_EQ(texts(npz.large_array("flags")), (std::vector<std::string>{"true", "false", "true", "true"}));
}

TEST(Npz, NamesWhatItCannotRead) {
  EXPECT_NE(refusal("image_u2").find("the file has no array 'image_u2'"), std::string::npos);
  EXPECT_NE(refusal("image_u2").find("'images_u2'"), std::string::npos);
  EXPECT_NE(refusal("fortran").find("the array is in Fortran order"), std::string::npos);
  EXPECT_NE(refusal("complex").find("type '<c8' is not supported"), std::string::npos);
  EXPECT_NE(refusal("big_endian").find("type '>i4' is not supported"), std::string::npos);
  EXPECT_NE(refusal("images_u2").find("cannot name something"), std::string::npos);
}

TEST(Npz, DamageIsFound) {
  const testing::TemporaryFolder folder;
  const std::string whole = read_file(kFile);
  EXPECT_NE(
      refusal("i4", folder.write("cut.npz", whole.substr(0, whole.size() / 2))).find("not a zip archive"),
      std::string::npos);
  EXPECT_NE(refusal("i4", folder.write("text.npz", "not a zip")).find("not a zip archive"),
            std::string::npos);
  EXPECT_NE(refusal("i4", folder.path() / "none.npz").find("cannot be opened"), std::string::npos);

  std::string stored = read_file(kFile.parent_path() / "stored.npz");
  float value = -3.0F;
  stored[stored.find(std::string(reinterpret_cast<const char*>(&value), 4))] ^= 1;
  EXPECT_NE(refusal("x", folder.write("flipped.npz", stored)).find("its checksum does not match"),
            std::string::npos);
}

}  // namespace
}  // namespace cohort::data_prep

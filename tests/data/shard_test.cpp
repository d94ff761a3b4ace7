#include <cmath>

#include <gtest/gtest.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/image_codec.h"
#include "cohort/data/pixel_type.h"
#include "cohort/data/shard_reader.h"

#include "data/shard_format.h"
#include "data/shard_writer.h"
#include "support/hdf5.h"
#include "support/temporary_folder.h"

namespace cohort::data {
namespace {

constexpr std::int64_t kRows = 5;

/// Byte `i` of row `row`: all rows differ.
std::byte pixel(std::int64_t row, std::size_t i) {
  return static_cast<std::byte>(static_cast<std::size_t>(row) * 37 + i * 11);
}

void fill(std::int64_t row, std::span<std::byte> out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = pixel(row, i);
}

void expect_same(const std::vector<Moments>& channels, const std::vector<Moments>& expected) {
  ASSERT_EQ(channels.size(), expected.size());
  for (std::size_t c = 0; c < channels.size(); ++c) {
    EXPECT_EQ(channels[c].count, expected[c].count) << c;
    EXPECT_EQ(channels[c].mean, expected[c].mean) << c;
    EXPECT_EQ(channels[c].squares, expected[c].squares) << c;
  }
}

/// Of a channel of one image: plain sums in the order of its pixels.
Moments plain_moments(const auto* values, std::int64_t count) {
  Moments moments{static_cast<double>(count), 0, 0};
  for (std::int64_t i = 0; i < count; ++i) moments.mean += static_cast<double>(values[i]);
  moments.mean /= moments.count;
  for (std::int64_t i = 0; i < count; ++i) {
    const double distance = static_cast<double>(values[i]) - moments.mean;
    moments.squares += distance * distance;
  }
  return moments;
}

class Shard : public ::testing::TestWithParam<PixelType> {
 protected:
  explicit Shard(Codec codec = Codec::raw) {
    description_.images = {GetParam(), 2, 3, 4};
    description_.codec = codec;
    description_.labels = {{"kind", {"a", "b"}}};
    description_.contexts = {{"site", {"x", "y"}}, {"plate", {"p"}}};
    for (std::int64_t i = 0; i < kRows; ++i) {
      rows_.push_back({"image" + std::string(static_cast<std::size_t>(i), '-'),
                       0,
                       {static_cast<std::int32_t>(i % 3) - 1},
                       {static_cast<std::int32_t>(i % 2), 0}});
    }
    written_ = write();
  }

  WrittenShard write(const PixelSource& source = fill) {
    const std::vector<std::int64_t> order{4, 3, 2, 1, 0};
    return write_shard(folder_.path(), "train-00000.h5", description_, shard_rows(RowTable(rows_), order),
                       source, [] {});
  }

  [[nodiscard]] ShardReader open() const {
    return ShardReader::open(folder_.path(), written_.entry, description_.images, description_.codec);
  }

  [[nodiscard]] std::filesystem::path path() const { return folder_.path() / "train-00000.h5"; }

  /// What open() and, if that goes well, reading all rows say.
  std::string refusal() {
    try {
      const ShardReader reader = open();
      std::vector<std::byte> image(static_cast<std::size_t>(description_.images.bytes()));
      for (std::int64_t row = 0; row < kRows; ++row) reader.read(row, image);
    } catch (const DataError& error) {
      return error.what();
    }
    return "nothing was refused";
  }

  /// Adds 1 to the first byte of what follows `content`'s place in the file.
  void damage(std::span<const std::byte> content) {
    std::string file = read_file(path());
    const void* start = content.data();
    const std::size_t at = file.find(std::string_view(static_cast<const char*>(start), content.size()));
    ASSERT_NE(at, std::string::npos);
    ++file[at];
    folder_.write("train-00000.h5", file);
  }

  testing::TemporaryFolder folder_;
  Description description_;
  std::vector<Row> rows_;
  WrittenShard written_;
};

TEST_P(Shard, ReadsBackWhatWasWritten) {
  const ShardReader reader = open();

  ASSERT_EQ(reader.rows(), kRows);
  std::vector<std::byte> image(static_cast<std::size_t>(description_.images.bytes()));
  for (std::int64_t row = 0; row < kRows; ++row) {
    reader.read(row, image);
    for (std::size_t i = 0; i < image.size(); ++i) ASSERT_EQ(image[i], pixel(4 - row, i)) << "row " << row;
  }
  EXPECT_EQ(reader.labels("kind"), (std::vector<std::int32_t>{0, -1, 1, 0, -1}));
  EXPECT_EQ(reader.contexts("site"), (std::vector<std::int32_t>{0, 1, 0, 1, 0}));
  EXPECT_EQ(reader.ids(), (std::vector<std::string>{"image----", "image---", "image--", "image-", "image"}));
}

TEST_P(Shard, EqualContentGivesEqualBytes) {
  const std::string first = read_file(path());

  const WrittenShard again = write();

  EXPECT_EQ(read_file(path()), first);
  EXPECT_EQ(again.entry.checksum, checksum(std::as_bytes(std::span(first))));
  EXPECT_EQ(again.entry.bytes, first.size());
}

TEST_P(Shard, RowsAreReadInTheOrderOfTheirList) {
  std::vector<std::int64_t> asked;
  write([&](std::int64_t row, std::span<std::byte> out) {
    asked.push_back(row);
    fill(row, out);
  });
  EXPECT_EQ(asked, (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
}

TEST_P(Shard, MomentsAreThoseOfPlainSumsInTheOrderOfTheFile) {
  const auto finite = [](std::int64_t row, std::span<std::byte> out) {  // as numbers of 32 bits, too
    fill(row, out);
    for (std::byte& value : out) value &= std::byte{0x3F};
  };
  for (const std::int64_t channels : {1, 3, 5}) {
    description_.images = {GetParam(), channels, 7, 9};
    std::vector<std::byte> image(static_cast<std::size_t>(description_.images.bytes()));
    std::vector<Moments> expected(static_cast<std::size_t>(channels));
    for (const std::int64_t row : {4, 3, 2, 1, 0}) {
      finite(row, image);
      visit_pixels(GetParam(), image.data(), [&](const auto* values) {
        for (std::size_t c = 0; c < expected.size(); ++c) expected[c].add(plain_moments(values + c * 63, 63));
      });
    }
    expect_same(write(finite).channels, expected);
  }
}

TEST_P(Shard, ADamagedPixelNamesFileRowAndId) {
  std::vector<std::byte> image(static_cast<std::size_t>(description_.images.bytes()));
  fill(2, image);
  damage(image);

  const std::string message = refusal();

  EXPECT_NE(message.find("row 2 ('image--') is damaged"), std::string::npos) << message;
  EXPECT_NE(message.find("train-00000.h5"), std::string::npos) << message;
  EXPECT_NE(message.find("cohort-data verify"), std::string::npos) << message;
}

TEST_P(Shard, TruncatedMissingAndForeignFilesAreNamed) {
  const std::string whole = read_file(path());
  folder_.write("train-00000.h5", whole.substr(0, whole.size() / 2));
  EXPECT_NE(refusal().find("the shard is truncated: it has"), std::string::npos) << refusal();

  folder_.write("train-00000.h5", std::string(whole.size(), 'x'));
  EXPECT_NE(refusal().find("the shard is not an HDF5 file"), std::string::npos) << refusal();

  std::filesystem::remove(path());
  EXPECT_NE(refusal().find("the shard cannot be opened: No such file"), std::string::npos) << refusal();
}

TEST_P(Shard, AnotherLayoutThanThatOfTheDescriptionIsRefused) {
  description_.images.width = 5;
  EXPECT_NE(refusal().find("/images has shape [5, 2, 3, 4], dataset.json says [5, 2, 3, 5]"),
            std::string::npos)
      << refusal();

  description_.images.width = 4;
  description_.images.type = GetParam() == PixelType::u8 ? PixelType::u16 : PixelType::u8;
  EXPECT_NE(refusal().find("/images is not of type"), std::string::npos) << refusal();

  description_.images.type = GetParam();
  written_.entry.rows = 4;
  EXPECT_NE(refusal().find("dataset.json says [4, 2, 3, 4]"), std::string::npos) << refusal();
}

TEST_P(Shard, AMissingColumnIsNamed) {
  const ShardReader reader = open();
  EXPECT_THROW(static_cast<void>(reader.labels("size")), DataError);
  EXPECT_THROW(static_cast<void>(reader.contexts("kind")), DataError);
}

TEST_P(Shard, AFailingSourceLeavesNothingBehind) {
  std::filesystem::remove(path());
  const auto failing = [](std::int64_t row, std::span<std::byte> out) {
    if (row == 1) throw DataError({"the image is missing", "x.png", ""});
    fill(row, out);
  };

  EXPECT_THROW(write(failing), DataError);

  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

/// Rows of zstd differ in length.
class EncodedShard : public Shard {
 protected:
  EncodedShard() : Shard(Codec::zstd) {}
  void change(const std::string& name, const auto& values, hid_t type) {
    hdf5::File file(H5Fopen(path().c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    const hdf5::Dataset dataset = hdf5::open_dataset(file.get(), name, path().string());
    ASSERT_GE(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  }
};

TEST_P(EncodedShard, ReadsBackWhatWasWrittenAndIsTheSameAgain) {
  const std::string first = read_file(path());
  const ShardReader reader = open();
  std::vector<std::byte> image(static_cast<std::size_t>(description_.images.bytes()));
  for (std::int64_t row = 0; row < kRows; ++row) {
    reader.read(row, image);
    for (std::size_t i = 0; i < image.size(); ++i) ASSERT_EQ(image[i], pixel(4 - row, i)) << "row " << row;
  }
  EXPECT_EQ(reader.ids().front(), "image----");
  write();
  EXPECT_EQ(read_file(path()), first);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
}

TEST_P(EncodedShard, ADamagedImageNamesFileRowAndId) {
  std::vector<std::byte> image(static_cast<std::size_t>(description_.images.bytes()));
  fill(2, image);
  damage(encode_image(Codec::zstd, description_.images, 0, image));

  EXPECT_NE(refusal().find("row 2 ('image--') is damaged: its checksum does not match"), std::string::npos)
      << refusal();
}

TEST_P(EncodedShard, WhatIsNoImageOfTheLayoutIsNamed) {
  description_.images.width = 5;
  EXPECT_NE(refusal().find("row 0 ('image----') cannot be decoded: zstd: "), std::string::npos) << refusal();
}

TEST_P(EncodedShard, OffsetsThatDoNotAscendAreNamed) {
  std::vector<std::uint64_t> offsets(kRows + 1);
  {
    hdf5::File file = hdf5::open_file(path());
    const hdf5::Dataset dataset = hdf5::open_dataset(file.get(), "/offset", path().string());
    H5Dread(dataset.get(), H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, offsets.data());
  }
  std::swap(offsets[1], offsets[2]);
  change("/offset", offsets, H5T_NATIVE_UINT64);

  EXPECT_NE(refusal().find("/offset does not begin at 0 and ascend"), std::string::npos) << refusal();
}

TEST_P(EncodedShard, OffsetsThatChangeWhileTheShardIsOpenAreNamed) {
  const ShardReader reader = open();
  std::vector<std::byte> image(static_cast<std::size_t>(description_.images.bytes()));
  reader.read(2, image);
  std::vector<std::uint64_t> offsets(kRows + 1, std::uint64_t{1} << 40);
  offsets[0] = 0;
  change("/offset", offsets, H5T_NATIVE_UINT64);

  try {
    reader.read(2, image);
    FAIL() << "a row of nowhere was read";
  } catch (const DataError& error) {
    EXPECT_NE(error.text().what.find("row 2 ('image--') is damaged"), std::string::npos) << error.what();
  }
  EXPECT_THROW(reader.read(0, image), DataError) << "an image of a terabyte";
}

INSTANTIATE_TEST_SUITE_P(AllTypes, EncodedShard,
                         ::testing::Values(PixelType::u8, PixelType::u16, PixelType::f32),
                         [](const auto& type) { return std::string(pixel_type_name(type.param)); });

INSTANTIATE_TEST_SUITE_P(AllTypes, Shard, ::testing::Values(PixelType::u8, PixelType::u16, PixelType::f32),
                         [](const auto& type) { return std::string(pixel_type_name(type.param)); });

TEST(ShardFile, WithoutImagesIsRefused) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "train-00000.h5";
  hdf5::NewFile(path).save();
  const ShardEntry entry{"train-00000.h5", 1, std::filesystem::file_size(path), 0};

  try {
    ShardReader::open(folder.path(), entry, {PixelType::u8, 1, 1, 1}, Codec::raw);
    FAIL() << "a file without images was opened";
  } catch (const DataError& error) {
    EXPECT_EQ(error.text().what, "the shard has no /images");
  }
}

// Values that lie in another file of this machine are none of the shard's.
TEST(ShardFile, ValuesOutsideTheFileAreRefused) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "x.h5",
                              secret = folder.write("secret", std::string(64, 's'));
  {
    hdf5::NewFile file(path);
    const hsize_t rows = 4;
    const hdf5::Space space(H5Screate_simple(1, &rows, nullptr));
    const hdf5::List outside(H5Pcreate(H5P_DATASET_CREATE)), packed(H5Pcreate(H5P_DATASET_CREATE));
    H5Pset_external(outside.get(), secret.c_str(), 0, 16);
    H5Pset_chunk(packed.get(), 1, &rows);
    const auto make = [&](const char* name, const hdf5::List& list) {
      hdf5::Dataset(
          H5Dcreate2(file.get(), name, H5T_STD_I32LE, space.get(), H5P_DEFAULT, list.get(), H5P_DEFAULT));
    };
    make("outside", outside);
    make("packed", packed);
    hdf5::create_dataset(file.get(), "own", H5T_STD_I32LE, std::vector<std::int64_t>{4}, "x.h5");
    H5Lcreate_external("other.h5", "/x", file.get(), "linked", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/own", file.get(), "soft", H5P_DEFAULT, H5P_DEFAULT);
    file.save();
  }
  const hdf5::File file = hdf5::open_file(path);

  EXPECT_TRUE(hdf5::is_contiguous(file.get(), "/own", "x.h5"));
  for (const char* name : {"/outside", "/packed", "/linked", "/soft", "/none"})
    EXPECT_FALSE(hdf5::is_contiguous(file.get(), name, "x.h5")) << name;
}

TEST(Hdf5, ErrorsQuoteTheInnermostReason) {
  const testing::TemporaryFolder folder;
  try {
    hdf5::open_file(folder.path() / "none.h5");
    FAIL() << "a missing file was opened";
  } catch (const DataError& error) {
    EXPECT_NE(error.text().what.find("H5Fopen failed: "), std::string::npos);
    EXPECT_NE(error.text().what.find("No such file or directory"), std::string::npos) << error.text().what;
  }
}

TEST(Moments, OfPartsAreThoseOfTheWhole) {
  const std::vector<double> values{3, 5, 4, 10, 1000, -7, 2.5};
  Moments parts;
  for (const double value : values) parts.add({1, value, 0});
  Moments left, right;
  for (std::size_t i = 0; i < values.size(); ++i) (i < 3 ? left : right).add({1, values[i], 0});
  left.add(right);

  double mean = 0, squares = 0;
  for (const double value : values) mean += value / 7;
  for (const double value : values) squares += (value - mean) * (value - mean);

  EXPECT_NEAR(parts.mean, mean, 1e-10);
  EXPECT_NEAR(left.mean, mean, 1e-10);
  EXPECT_NEAR(left.deviation(), std::sqrt(squares / 7), 1e-9);
  EXPECT_EQ((Moments{5, 3, 0}).deviation(), 1);
}

}  // namespace
}  // namespace cohort::data

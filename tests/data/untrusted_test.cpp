// Files of others that claim what they do not hold.
#include <cstring>
#include <string>

#include <gtest/gtest.h>
#include <zlib.h>

#include "cohort/core/error.h"

#include "data/tar_file.h"
#include "data/zip_file.h"
#include "data_prep/image_file.h"
#include "data_prep/npz.h"
#include "data_prep/tar.h"
#include "data_prep/zip.h"
#include "support/temporary_folder.h"

namespace cohort::data_prep {
namespace {

using testing::little;

template <class Body>
std::string answer_to(Body&& body) {
  try {
    body();
  } catch (const DataError& error) {
    return error.text().what;
  }
  return "accepted";
}

std::string big(std::uint32_t value) {
  const std::string bytes = little(value, 4);
  return {bytes.rbegin(), bytes.rend()};
}

std::string npy(const std::string& type, const std::string& shape, const std::string& content) {
  const std::string header =
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }\n";
  return std::string("\x93NUMPY\x01\x00", 8) + little(header.size(), 2) + header + content;
}

TEST(Untrusted, ShapesWhoseSizeWrapsAroundAreNoArrays) {
  const std::string largest = "9223372036854775807";  // its square is 1, modulo 2^64
  const std::string refused = "the entry is not an array in NumPy's format";

  EXPECT_EQ(answer_to([&] { parse_npy(npy("|u1", largest + ", " + largest, "x"), "x", "x.npz"); }), refused);
  EXPECT_EQ(answer_to([&] { parse_npy(npy("|u1", "4294967296, 4294967296", ""), "x", "x.npz"); }), refused);
  EXPECT_EQ(answer_to([&] { parse_npy(npy("|u1", "1, 1", "x"), "x", "x.npz"); }), "accepted");
}

TEST(Untrusted, TextsWithoutALengthOrOfAnyLengthAreRefused) {
  for (const std::string type : {"<U", "<U99999999999999999999"})
    EXPECT_EQ(answer_to([&] { parse_npy(npy(type, "1", "abcd"), "x", "x.npz"); }),
              "type '" + type + "' is not supported");
}

// "0000000003" is a record of 3 bytes whose length alone takes 10.
TEST(Untrusted, APaxRecordShorterThanItsOwnLengthIsIgnored) {
  const testing::TemporaryFolder folder;
  const std::string record = "0000000003";
  const auto file =
      folder.write("x.tar", testing::tar_header("pax", 'x', record.size()) + testing::padded(record) +
                                testing::tar_file("name.txt", "ab") + testing::tar_end());

  LeftOut left_out;
  const auto entries = read_tar(file, left_out);

  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries.front().name, "name.txt");
}

/// An archive with one deflated entry `x.npy` that says it has `size` bytes.
std::string zip_of(const std::string& content, std::uint32_t size) {
  std::string packed(compressBound(content.size()), '\0');
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string input = content;
  stream.next_in = static_cast<Bytef*>(static_cast<void*>(input.data()));
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = static_cast<Bytef*>(static_cast<void*>(packed.data()));
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return testing::zip_of({{"x.npy", content, packed, Z_DEFLATED, size}});
}

TEST(Untrusted, AnArchiveEntryCannotClaimMoreThanDeflateCanPack) {
  const testing::TemporaryFolder folder;
  const std::string content(1000, 'a');

  EXPECT_EQ(Zip::open(folder.write("good.npz", zip_of(content, 1000))).read("x.npy"), content);
  const Zip bomb = Zip::open(folder.write("bomb.npz", zip_of(content, 0xFFFF0000)));

  EXPECT_EQ(answer_to([&] { (void)bomb.read("x.npy"); }),
            "the archive is damaged: an entry cannot be as large as it says");
}

TEST(Untrusted, TheEndOfAnArchiveIsNotWhatItsCommentSays) {
  const testing::TemporaryFolder folder;
  std::string archive = zip_of("abc", 3);
  const std::string comment = "a PK\5\6 of the comment, with 22 bytes behind it";
  archive.replace(archive.size() - 2, 2, little(comment.size(), 2) + comment);

  EXPECT_EQ(Zip::open(folder.write("x.npz", archive)).read("x.npy"), "abc");
}

TEST(Untrusted, AnArchiveBehindSomethingElseIsNotAnEmptyOne) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("x.npz", "#!/bin/sh\n" + zip_of("abc", 3));

  EXPECT_EQ(answer_to([&] { (void)Zip::open(file); }),
            "the archive's directory is damaged, or something stands before the archive in its file");
}

// Their end counts entries in 16 bits.
TEST(Untrusted, ArchivesOfManyEntriesMayBeWrittenWithoutZip64) {
  const testing::TemporaryFolder folder;
  std::vector<testing::ZipEntry> entries;
  for (int i = 0; i <= 65536; ++i) entries.push_back(testing::stored(std::to_string(i), ""));

  EXPECT_EQ(Zip::open(folder.write("x.npz", testing::zip_of(entries))).entries().size(), 65537U);
  std::string archive = testing::zip_of(entries);
  archive.replace(archive.size() - 12, 2, little(2, 2));
  EXPECT_EQ(answer_to([&] { (void)Zip::open(folder.write("y.npz", archive)); }),
            "the archive's directory is damaged, or something stands before the archive in its file");
}

TEST(Untrusted, AnEncryptedEntryIsNamed) {
  const testing::TemporaryFolder folder;
  std::string archive = zip_of("abc", 3);
  archive[archive.find("PK\1\2") + 8] = 1;
  const Zip zip = Zip::open(folder.write("x.npz", archive));

  EXPECT_EQ(answer_to([&] { (void)zip.read("x.npy"); }), "entry 'x.npy' is encrypted");
}

// GNU tar --format=posix --sparse: the member has a map of its holes, and what is between them.
TEST(Untrusted, SparseMembersAreLeftOut) {
  const testing::TemporaryFolder folder;
  const std::string records = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n";
  const auto file =
      folder.write("x.tar", testing::tar_header("pax", 'x', records.size()) + testing::padded(records) +
                                testing::tar_file("GNUSparseFile.1/a.png", "1\n0\n3\nabc") +
                                testing::tar_file("b.png", "ab") + testing::tar_end());

  LeftOut left_out;
  const auto entries = read_tar(file, left_out);

  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries.front().name, "b.png");
}

std::string png_chunk(const std::string& type, const std::string& content) {
  const std::string body = type + content;
  const void* bytes = body.data();
  return big(static_cast<std::uint32_t>(content.size())) + body +
         big(static_cast<std::uint32_t>(
             crc32(0, static_cast<const Bytef*>(bytes), static_cast<uInt>(body.size()))));
}

TEST(Untrusted, AFewBytesCannotClaimAnImageOfGigabytes) {
  const std::string png =
      "\x89PNG\r\n\x1a\n" +
      png_chunk("IHDR", big(900'000) + big(900'000) + std::string("\x08\x02\x00\x00\x00", 5)) +
      png_chunk("IDAT", "x") + png_chunk("IEND", "");
  const std::string jpeg(
      "\xff\xd8\xff\xc0\x00\x0b\x08\xff\xdc\xff\xdc\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
      "\x00",
      27);

  EXPECT_EQ(answer_to([&] { decode_image(png, "x.png"); }),
            "the image cannot be read: PNG: it claims more pixels than it can hold");
  EXPECT_EQ(answer_to([&] { decode_image(jpeg, "x.jpg"); }),
            "the image cannot be read: JPEG: it claims more pixels than it can hold");
  EXPECT_FALSE(is_plausible({data::PixelType::f32, 65535, 0xFFFFFFFF, 0xFFFFFFFF}, 1000));
  EXPECT_TRUE(is_plausible({data::PixelType::u8, 3, 512, 512}, 1000));
}

}  // namespace
}  // namespace cohort::data_prep

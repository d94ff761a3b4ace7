// What image files say beside their pixels: how they lie, profiles, transparency, bytes that belong to
// nothing.
#include <cstdlib>
#include <functional>

#include <gtest/gtest.h>
#include <jpeglib.h>
#include <zlib.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/image_codec.h"

#include "data/image_files.h"
#include "data_prep/exif.h"
#include "data_prep/image_file.h"
#include "support/temporary_folder.h"

namespace cohort::data_prep {
namespace {

using data::PixelType;
using Values = std::vector<int>;

Values levels_of(const Image& image) {
  Values values;
  for (const std::byte value : image.pixels) values.push_back(std::to_integer<int>(value));
  return values;
}

// Two rows of three pixels, as NumPy and Pillow turn them.
TEST(Upright, TurnsAndMirrorsAsPillowDoes) {
  const Image stored{{PixelType::u8, 1, 2, 3},
                     {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}, std::byte{6}}};
  const std::vector<Values> seen{{1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1},
                                 {4, 5, 6, 1, 2, 3}, {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3},
                                 {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Image image = upright(stored, orientation);
    EXPECT_EQ(levels_of(image), seen[static_cast<std::size_t>(orientation - 1)]) << orientation;
    EXPECT_EQ(image.layout.height, orientation < 5 ? 2 : 3) << orientation;
    EXPECT_EQ(image.layout.width, orientation < 5 ? 3 : 2) << orientation;
    EXPECT_EQ(image.remarks.turned, orientation > 1) << orientation;
  }
}

TEST(Upright, TurnsEveryChannelOfAnyType) {
  Image stored{{PixelType::u16, 2, 1, 2}, {}};
  for (const int value : {1, 0, 2, 0, 3, 0, 4, 0}) stored.pixels.push_back(static_cast<std::byte>(value));
  const Image image = upright(stored, 6);
  EXPECT_EQ(image.layout, (data::ImageLayout{PixelType::u16, 2, 2, 1}));
  EXPECT_EQ(levels_of(image), (Values{1, 0, 2, 0, 3, 0, 4, 0}));
  EXPECT_EQ(levels_of(upright(stored, 8)), (Values{2, 0, 1, 0, 4, 0, 3, 0}));
}

std::string encoded_number(unsigned value, int bytes, bool big_endian) {
  std::string text;
  for (int i = 0; i < bytes; ++i)
    text += static_cast<char>(value >> (8 * (big_endian ? bytes - 1 - i : i)) & 0xFFU);
  return text;
}

/// EXIF data whose first directory says when, and how the image lies.
std::string exif(unsigned orientation, bool big_endian = false, unsigned type = 3, unsigned count = 1) {
  const auto put = [&](unsigned value, int bytes) { return encoded_number(value, bytes, big_endian); };
  const std::string value = type == 3 ? put(orientation, 2) + put(0, 2) : put(orientation, 4);
  return (big_endian ? std::string("MM\0*", 4) : std::string("II*\0", 4)) + put(8, 4) + put(2, 2) +
         put(259, 2) + put(3, 2) + put(1, 4) + put(6, 2) + put(0, 2) + put(274, 2) + put(type, 2) +
         put(count, 4) + value + put(0, 4);
}

TEST(Exif, OrientationIsReadInBothByteOrders) {
  for (const bool big_endian : {false, true}) {
    for (unsigned orientation = 1; orientation <= 8; ++orientation) {
      const int expected = static_cast<int>(orientation);
      EXPECT_EQ(exif_orientation(exif(orientation, big_endian)), expected);
      EXPECT_EQ(exif_orientation(std::string("Exif\0\0", 6) + exif(orientation, big_endian, 4)), expected);
    }
  }
}

TEST(Exif, WhatCannotBeReadIsNoOrientation) {
  EXPECT_EQ(exif_orientation(""), std::nullopt);
  EXPECT_EQ(exif_orientation(exif(6).substr(0, 8) + std::string(6, '\0')),
            std::nullopt);  // an empty directory
  EXPECT_EQ(exif_orientation(exif(0)), 0);
  EXPECT_EQ(exif_orientation(exif(9)), 0);
  EXPECT_EQ(exif_orientation(exif(6, false, 12)), 0);    // a number of another type
  EXPECT_EQ(exif_orientation(exif(6, false, 3, 2)), 0);  // two of them
  EXPECT_EQ(exif_orientation("no TIFF header"), 0);
  EXPECT_EQ(exif_orientation(std::string("II*\0\xff\xff\xff\xff", 8)), 0);
  for (std::size_t size = 1; size < 32; ++size)
    EXPECT_EQ(exif_orientation(exif(6).substr(0, size)), 0) << size;
  std::string endless = exif(6);
  endless.replace(8, 2, "\xff\xff");
  EXPECT_EQ(exif_orientation(endless), 6);
}

TEST(Exif, XmpCountsWhereThereIsNone) {
  const std::string xmp = R"(<rdf:Description tiff:Make="x" tiff:Orientation="8"/>)";
  EXPECT_EQ(xmp_orientation(xmp), 8);
  EXPECT_EQ(xmp_orientation("<tiff:Orientation>3</tiff:Orientation>"), 3);
  EXPECT_EQ(xmp_orientation("tiff:Orientation=\""), std::nullopt);
  EXPECT_EQ(orientation_of("", xmp), 8);
  EXPECT_EQ(orientation_of(exif(6), xmp), 6);
  EXPECT_EQ(orientation_of("", ""), 1);
}

/// A gray or colour JPEG file, white above and black below.
std::string jpeg_of(J_COLOR_SPACE colours, int channels,
                    const std::function<void(jpeg_compress_struct&)>& write_markers) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* content = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &content, &size);
  jpeg.image_width = 8;
  jpeg.image_height = 16;
  jpeg.input_components = channels;
  jpeg.in_color_space = colours;
  jpeg_set_defaults(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  write_markers(jpeg);
  while (jpeg.next_scanline < jpeg.image_height) {
    std::vector<std::uint8_t> row(8 * static_cast<std::size_t>(channels), jpeg.next_scanline < 8 ? 255 : 0);
    JSAMPROW start = row.data();
    jpeg_write_scanlines(&jpeg, &start, 1);
  }
  jpeg_finish_compress(&jpeg);
  const std::string text(content, content + size);
  jpeg_destroy_compress(&jpeg);
  std::free(content);
  return text;
}

void write_marker(jpeg_compress_struct& jpeg, int marker, const std::string& data) {
  const void* start = data.data();
  jpeg_write_marker(&jpeg, marker, static_cast<const JOCTET*>(start), static_cast<unsigned>(data.size()));
}

std::string jpeg_with(int marker, const std::string& data) {
  return jpeg_of(JCS_GRAYSCALE, 1, [&](jpeg_compress_struct& jpeg) { write_marker(jpeg, marker, data); });
}

std::string jpeg_lying(unsigned orientation) {
  return jpeg_with(JPEG_APP0 + 1, std::string("Exif\0\0", 6) + exif(orientation, orientation % 2 == 0));
}

int pixel(const Image& image, std::int64_t y, std::int64_t x) {
  return std::to_integer<int>(image.pixels[static_cast<std::size_t>(y * image.layout.width + x)]);
}

TEST(ImageMetadata, JpegFilesStandUpright) {
  const Image stored = decode_image(jpeg_lying(1), "a.jpg"), clockwise = decode_image(jpeg_lying(6), "a.jpg"),
              upside_down = decode_image(jpeg_lying(3), "a.jpg");
  EXPECT_EQ(stored.layout, (data::ImageLayout{PixelType::u8, 1, 16, 8}));
  EXPECT_EQ(clockwise.layout, (data::ImageLayout{PixelType::u8, 1, 8, 16}));
  EXPECT_EQ(Values({pixel(stored, 0, 0), pixel(stored, 15, 7)}), (Values{255, 0}));
  EXPECT_EQ(Values({pixel(clockwise, 0, 15), pixel(clockwise, 7, 0)}),
            (Values{255, 0}));  // the top is at the right
  EXPECT_EQ(Values({pixel(upside_down, 15, 0), pixel(upside_down, 0, 0)}), (Values{255, 0}));
  EXPECT_EQ(resize(clockwise, 4, 8).layout.width, 8);
  EXPECT_TRUE(resize(clockwise, 4, 8).remarks.turned);
}

TEST(ImageMetadata, XmpOfAJpegFileCounts) {
  const std::string xmp = std::string("http://ns.adobe.com/xap/1.0/\0", 29) + "<x tiff:Orientation=\"6\"/>";
  EXPECT_EQ(decode_image(jpeg_with(JPEG_APP0 + 1, xmp), "a.jpg").layout.width, 16);
}

TEST(ImageMetadata, OnlyUprightJpegFilesAreKept) {
  EXPECT_TRUE(upright_jpeg(jpeg_lying(1)).has_value());
  for (unsigned orientation = 2; orientation <= 8; ++orientation)
    EXPECT_FALSE(upright_jpeg(jpeg_lying(orientation)).has_value()) << orientation;
  EXPECT_TRUE(upright_jpeg(jpeg_lying(9)).value().no_orientation);
  EXPECT_TRUE(upright_jpeg(jpeg_with(JPEG_APP0 + 2, std::string("ICC_PROFILE\0\1\1x", 15))).value().profile);
  EXPECT_FALSE(upright_jpeg("\x89PNG").has_value());
}

TEST(ImageMetadata, DamagedExifIsReadOverAndSaid) {
  const Image image = decode_image(jpeg_with(JPEG_APP0 + 1, std::string("Exif\0\0II*\0\xff", 11)), "a.jpg");
  EXPECT_EQ(image.layout.height, 16);
  EXPECT_TRUE(image.remarks.no_orientation);
}

/// Bytes of `junk` before the first marker `marker`.
std::string with_junk(std::string jpeg, unsigned char marker, const std::string& junk) {
  return jpeg.insert(jpeg.find(std::string("\xff") + static_cast<char>(marker)), junk);
}

TEST(ImageMetadata, JunkBetweenMarkersOfAJpegFileIsReadOverByBothReaders) {
  const std::string good = jpeg_lying(1);
  const Image expected = decode_image(good, "a.jpg");
  EXPECT_FALSE(expected.remarks.junk);
  for (const std::string& jpeg :
       {with_junk(good, 0xC0, std::string("\0\1\2", 3)), with_junk(good, 0xD9, "\1"),
        with_junk(good, 0xDA, "\xff\xff"), good + "behind the end"}) {
    EXPECT_EQ(levels_of(decode_image(jpeg, "a.jpg")), levels_of(expected));
    std::vector<std::byte> pixels(expected.pixels.size());
    data::decode_image(data::Codec::jpeg, expected.layout, std::as_bytes(std::span(jpeg)), pixels);
    EXPECT_EQ(pixels, expected.pixels);
  }
  EXPECT_TRUE(decode_image(with_junk(good, 0xC0, "\1"), "a.jpg").remarks.junk);
}

std::string jpeg_refusal(const std::string& content) {
  try {
    decode_image(content, "a.jpg");
  } catch (const DataError& error) {
    return error.text().what;
  }
  return "it was accepted";
}

TEST(ImageMetadata, JpegOfOtherKindsIsRefusedByName) {
  std::string lossless = jpeg_lying(1), fine = lossless;
  lossless[lossless.find("\xff\xc0") + 1] = '\xc3';
  fine[fine.find("\xff\xc0") + 4] = 12;
  EXPECT_EQ(jpeg_refusal(lossless), "the image cannot be read: JPEG: lossless JPEG is not supported");
  EXPECT_EQ(jpeg_refusal(fine), "the image cannot be read: JPEG: 12 bits a sample are not supported");
}

// Stored inverted, as Photoshop and all who read its files do: 255 is no ink.
TEST(ImageMetadata, JpegForPrintBecomesRgb) {
  const Image image = decode_image(jpeg_of(JCS_CMYK, 4, [](jpeg_compress_struct&) {}), "a.jpg");
  EXPECT_EQ(image.layout, (data::ImageLayout{PixelType::u8, 3, 16, 8}));
  EXPECT_EQ(Values({pixel(image, 0, 0), pixel(image, 15, 7)}), (Values{255, 0}));
  EXPECT_TRUE(image.remarks.converted);
}

std::string chunk_of(const std::string& type, const std::string& content) {
  const std::string body = type + content;
  const void* bytes = body.data();
  const auto check = crc32(0, static_cast<const Bytef*>(bytes), static_cast<uInt>(body.size()));
  return encoded_number(static_cast<unsigned>(content.size()), 4, true) + body +
         encoded_number(static_cast<unsigned>(check), 4, true);
}

class PngMetadata : public ::testing::Test {
 protected:
  /// Of 1 × 2 gray pixels, 7 and 9, with a chunk before the pixels or behind them.
  std::string png_with(const std::string& chunk, bool behind) {
    testing::write_png(folder_.path() / "a.png", 1, 2, 1, {7, 9});
    std::string png = read_file(folder_.path() / "a.png");
    return png.insert(behind ? png.size() - 12 : 33, chunk);
  }
  testing::TemporaryFolder folder_;
};

TEST_F(PngMetadata, PngFilesStandUpright) {
  for (const bool behind : {false, true}) {
    const Image image = decode_image(png_with(chunk_of("eXIf", exif(8, behind)), behind), "a.png");
    EXPECT_EQ(image.layout.height, 2);
    EXPECT_EQ(levels_of(image), (Values{9, 7}));
  }
}

TEST_F(PngMetadata, TextsOfOlderProgramsCount) {
  std::string digits;
  for (const char byte : std::string("Exif\0\0", 6) + exif(2)) {
    constexpr const char* kDigits = "0123456789abcdef";
    digits += {kDigits[static_cast<unsigned char>(byte) / 16], kDigits[byte & 15]};
  }
  digits.insert(20, "\n");
  const std::string profile =
      std::string("Raw profile type exif\0", 22) + "\nexif\n      40\n" + digits + "\n";
  EXPECT_EQ(levels_of(decode_image(png_with(chunk_of("tEXt", profile), false), "a.png")), (Values{9, 7}));
  const std::string xmp = std::string("XML:com.adobe.xmp\0\0\0\0\0", 22) + "<x tiff:Orientation=\"2\"/>";
  EXPECT_EQ(levels_of(decode_image(png_with(chunk_of("iTXt", xmp), true), "a.png")), (Values{9, 7}));
  const std::string broken = std::string("Raw profile type exif\0", 22) + "\nexif\n";
  EXPECT_EQ(levels_of(decode_image(png_with(chunk_of("tEXt", broken), false), "a.png")), (Values{7, 9}));
}

TEST_F(PngMetadata, TransparencyIsLeftOutAndSaid) {
  const Image image = decode_image(png_with(chunk_of("tRNS", std::string("\0\7", 2)), false), "a.png");
  EXPECT_EQ(levels_of(image), (Values{7, 9}));
  EXPECT_TRUE(image.remarks.alpha);
  EXPECT_FALSE(decode_image(png_with("", false), "a.png").remarks.alpha);
}

}  // namespace
}  // namespace cohort::data_prep

// TIFF: how samples are stored, what they mean, and which page is the image. Files are written by libtiff.
#include <functional>

#include <gtest/gtest.h>
#include <tiffio.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "data/image_files.h"
#include "data_prep/image_file.h"
#include "support/temporary_folder.h"

namespace cohort::data_prep {
namespace {

using data::PixelType;
using testing::values_of;

using Bytes = std::vector<std::uint8_t>;
using Shorts = std::vector<std::uint16_t>;

/// What libtiff is told of a page before its pixels.
struct Page {
  std::uint32_t height = 1, width = 2;
  std::uint16_t samples = 1, bits = 8, photometric = PHOTOMETRIC_MINISBLACK;
  std::vector<std::uint16_t> extra{};
  std::uint16_t planes = PLANARCONFIG_CONTIG;
  std::function<void(TIFF*)> more = [](TIFF*) {};
};

void start_page(TIFF* tiff, const Page& page) {
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, page.width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, page.height);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, page.bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, page.samples);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, page.photometric);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, page.planes);
  if (!page.extra.empty())
    TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, static_cast<int>(page.extra.size()), page.extra.data());
  page.more(tiff);
}

class TiffFiles : public ::testing::Test {
 protected:
  /// Pages of the same pixels: the rows as they are stored, one plane after the other. `mode` as TIFFOpen()
  /// takes it.
  template <class T>
  std::string file_of(const std::vector<Page>& pages, std::vector<T> rows, const char* mode = "w") {
    const std::string path = (folder_.path() / "a.tif").string();
    TIFF* tiff = TIFFOpen(path.c_str(), mode);
    for (const Page& page : pages) {
      start_page(tiff, page);
      const std::vector<T> copy = rows;  // libtiff turns the bytes over where it is written to
      const void* at = rows.data();
      const std::uint16_t planes = page.planes == PLANARCONFIG_CONTIG ? 1 : page.samples;
      for (std::uint16_t plane = 0; plane < planes; ++plane) {
        for (std::uint32_t y = 0; y < page.height; ++y) {
          TIFFWriteScanline(tiff, const_cast<void*>(at), y, plane);
          at = static_cast<const char*>(at) + TIFFScanlineSize(tiff);
        }
      }
      rows = copy;
      TIFFWriteDirectory(tiff);
    }
    TIFFClose(tiff);
    return read_file(path);
  }
  template <class T>
  Image image_of(const Page& page, const std::vector<T>& rows, const char* mode = "w") {
    return decode_image(file_of<T>({page}, rows, mode), "a.tif");
  }
  static std::string refusal(const std::string& content) {
    try {
      decode_image(content, "a.tif");
    } catch (const DataError& error) {
      EXPECT_EQ(error.text().where, "a.tif");
      return error.text().what;
    }
    return "it was accepted";
  }
  testing::TemporaryFolder folder_;
};

TEST_F(TiffFiles, AllSamplesOfGrayAreChannels) {
  const Page five{.samples = 5, .bits = 16, .extra = {0, 0, 0, 0}};
  for (const char* mode : {"wl", "wb", "wl8", "wb8"}) {  // both byte orders, TIFF and BigTIFF
    const Image image = image_of<std::uint16_t>(five, {1, 2, 3, 4, 60000, 6, 7, 8, 9, 60001}, mode);
    EXPECT_EQ(image.layout, (data::ImageLayout{PixelType::u16, 5, 1, 2})) << mode;
    EXPECT_EQ(values_of<std::uint16_t>(image), (Shorts{1, 6, 2, 7, 3, 8, 4, 9, 60000, 60001})) << mode;
    EXPECT_FALSE(image.remarks.alpha);
  }
}

TEST_F(TiffFiles, SamplesThatNothingIsSaidOfAreChannels) {
  const Image image = image_of<std::uint8_t>({.samples = 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(values_of<std::uint8_t>(image), (Bytes{1, 4, 2, 5, 3, 6}));
}

TEST_F(TiffFiles, SamplesBeyondRgbAreChannelsAndAlphaIsLeftOut) {
  const Page near_infrared{.samples = 4, .photometric = PHOTOMETRIC_RGB, .extra = {EXTRASAMPLE_UNSPECIFIED}},
      alpha_between{.samples = 6, .photometric = PHOTOMETRIC_RGB, .extra = {0, EXTRASAMPLE_UNASSALPHA, 0}},
      premultiplied{
          .width = 1, .samples = 4, .photometric = PHOTOMETRIC_RGB, .extra = {EXTRASAMPLE_ASSOCALPHA}};
  EXPECT_EQ(values_of<std::uint8_t>(image_of<std::uint8_t>(near_infrared, {1, 2, 3, 4, 5, 6, 7, 8})),
            (Bytes{1, 5, 2, 6, 3, 7, 4, 8}));
  const Image mixed = image_of<std::uint8_t>(alpha_between, {1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16});
  EXPECT_EQ(values_of<std::uint8_t>(mixed), (Bytes{1, 11, 2, 12, 3, 13, 4, 14, 6, 16}));
  EXPECT_TRUE(mixed.remarks.alpha);
  EXPECT_EQ(values_of<std::uint8_t>(image_of<std::uint8_t>(premultiplied, {1, 2, 3, 4})), (Bytes{1, 2, 3}));
}

TEST_F(TiffFiles, PlanesMayLieByThemselves) {
  const Page page{.height = 2,
                  .width = 1,
                  .samples = 4,
                  .bits = 16,
                  .photometric = PHOTOMETRIC_RGB,
                  .extra = {EXTRASAMPLE_UNASSALPHA},
                  .planes = PLANARCONFIG_SEPARATE};
  const Image image = image_of<std::uint16_t>(page, {1, 2, 3, 4, 5, 6, 7, 8}, "wb");
  EXPECT_EQ(image.layout, (data::ImageLayout{PixelType::u16, 3, 2, 1}));
  EXPECT_EQ(values_of<std::uint16_t>(image), (Shorts{1, 2, 3, 4, 5, 6}));
}

TEST_F(TiffFiles, WhereZeroIsWhiteIsInverted) {
  const auto white = [](std::uint16_t bits) {
    return Page{.bits = bits, .photometric = PHOTOMETRIC_MINISWHITE};
  };
  EXPECT_EQ(values_of<std::uint8_t>(image_of<std::uint8_t>(white(1), {0b01000000})), (Bytes{255, 0}));
  EXPECT_EQ(values_of<std::uint8_t>(image_of<std::uint8_t>(white(4), {0x0A})), (Bytes{255, 85}));
  EXPECT_EQ(values_of<std::uint8_t>(image_of<std::uint8_t>(white(8), {0, 200})), (Bytes{255, 55}));
  EXPECT_EQ(values_of<std::uint16_t>(image_of<std::uint16_t>(white(16), {0, 65000})), (Shorts{65535, 535}));
}

TEST_F(TiffFiles, FewerThanEightBitsAreStretched) {
  const Page three{.width = 3, .bits = 2};
  EXPECT_EQ(values_of<std::uint8_t>(image_of<std::uint8_t>(three, {0b00011100})), (Bytes{0, 85, 255}));
}

TEST_F(TiffFiles, PalettesAreRgb) {
  std::vector<std::uint16_t> red(16), green(16), blue(16);
  red[10] = 0x1234, green[10] = 0x5600, blue[10] = 0xFFFF, red[2] = 0x0100;
  const auto page = [&](std::uint16_t least) {
    return Page{.bits = 4, .photometric = PHOTOMETRIC_PALETTE, .more = [&, least](TIFF* tiff) {
                  red[2] = least;
                  TIFFSetField(tiff, TIFFTAG_COLORMAP, red.data(), green.data(), blue.data());
                }};
  };
  const Image image = image_of<std::uint8_t>(page(0x0100), {0xA2});
  EXPECT_EQ(image.layout, (data::ImageLayout{PixelType::u8, 3, 1, 2}));
  EXPECT_EQ(values_of<std::uint8_t>(image), (Bytes{0x12, 1, 0x56, 0, 0xFF, 0}));
  red[10] = 12, green[10] = 34, blue[10] = 255;  // of a program that takes 8 bits for 16
  EXPECT_EQ(values_of<std::uint8_t>(image_of<std::uint8_t>(page(7), {0xA2})), (Bytes{12, 7, 34, 0, 255, 0}));
}

TEST_F(TiffFiles, TilesAreJoinedAndCut) {
  const std::string path = (folder_.path() / "a.tif").string();
  TIFF* tiff = TIFFOpen(path.c_str(), "w");
  start_page(tiff, {.height = 17, .width = 18});
  TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 16);
  TIFFSetField(tiff, TIFFTAG_TILELENGTH, 16);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
  for (std::uint8_t tile = 0; tile < 4; ++tile) {
    Bytes values(256, static_cast<std::uint8_t>(10 * tile));
    values[0] = static_cast<std::uint8_t>(10 * tile + 1);
    TIFFWriteEncodedTile(tiff, tile, values.data(), 256);
  }
  TIFFClose(tiff);
  const Bytes values = values_of<std::uint8_t>(decode_image(read_file(path), "a.tif"));
  const auto at = [&](std::size_t y, std::size_t x) { return values[y * 18 + x]; };
  EXPECT_EQ(values.size(), 17U * 18U);
  EXPECT_EQ(Bytes({at(0, 0), at(0, 15), at(0, 16), at(1, 17), at(16, 0), at(16, 15), at(16, 16), at(16, 17)}),
            (Bytes{1, 0, 11, 10, 21, 20, 31, 30}));
}

TEST_F(TiffFiles, StandUpright) {
  const auto lying = [](std::uint16_t orientation) {
    return Page{.height = 2, .width = 3, .more = [=](TIFF* tiff) {
                  TIFFSetField(tiff, TIFFTAG_ORIENTATION, orientation);
                }};
  };
  const Image turned = image_of<std::uint8_t>(lying(6), {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(turned.layout, (data::ImageLayout{PixelType::u8, 1, 3, 2}));
  EXPECT_EQ(values_of<std::uint8_t>(turned), (Bytes{4, 1, 5, 2, 6, 3}));
  EXPECT_TRUE(turned.remarks.turned);
  EXPECT_EQ(values_of<std::uint8_t>(image_of<std::uint8_t>(lying(3), {1, 2, 3, 4, 5, 6})),
            (Bytes{6, 5, 4, 3, 2, 1}));
}

TEST_F(TiffFiles, ColoursForPrintBecomeRgbAndAreTurnedOnce) {
  const Page print{.samples = 4, .photometric = PHOTOMETRIC_SEPARATED, .more = [](TIFF* tiff) {
                     TIFFSetField(tiff, TIFFTAG_ORIENTATION, 2);
                   }};
  const Image image = image_of<std::uint8_t>(print, {255, 0, 0, 0, 0, 0, 255, 255});
  EXPECT_EQ(values_of<std::uint8_t>(image), (Bytes{0, 0, 0, 255, 0, 255}));
  EXPECT_TRUE(image.remarks.converted);
}

TEST_F(TiffFiles, SmallerCopiesAndMasksAreNoPages) {
  const auto kind = [](std::uint32_t type) {
    return Page{.more = [=](TIFF* tiff) { TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, type); }};
  };
  const Page copy{.width = 1, .more = kind(FILETYPE_REDUCEDIMAGE).more};
  for (const std::vector<Page>& pages : {std::vector<Page>{kind(0), copy, kind(FILETYPE_MASK)},
                                         {copy, kind(0)},
                                         {kind(FILETYPE_REDUCEDIMAGE)}})
    EXPECT_EQ(decode_image(file_of<std::uint8_t>(pages, {7, 8}), "a.tif").layout.width, 2);
  EXPECT_EQ(refusal(file_of<std::uint8_t>({kind(FILETYPE_PAGE), kind(FILETYPE_PAGE)}, {7, 8})),
            "the image cannot be read: TIFF: it has more than one page; tiffsplit of libtiff writes each as "
            "a file, and OME-TIFF has to be called .ome.tif");
}

TEST_F(TiffFiles, ProfilesAreSaid) {
  const Page page{.more = [](TIFF* tiff) { TIFFSetField(tiff, TIFFTAG_ICCPROFILE, 4, "icc"); }};
  EXPECT_TRUE(image_of<std::uint8_t>(page, {7, 8}).remarks.profile);
}

TEST_F(TiffFiles, OtherTypesAreRefusedByName) {
  const auto format = [](std::uint16_t bits, std::uint16_t kind) {
    return Page{.bits = bits, .more = [=](TIFF* tiff) { TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, kind); }};
  };
  const auto answer = [&](std::uint16_t bits, std::uint16_t kind) {
    return refusal(file_of<std::uint8_t>({format(bits, kind)}, Bytes(16)));
  };
  EXPECT_NE(answer(16, SAMPLEFORMAT_INT).find("16 bits and format 2 (signed integers)"), std::string::npos);
  EXPECT_NE(answer(64, SAMPLEFORMAT_IEEEFP).find("64 bits and format 3 (floating-point numbers)"),
            std::string::npos);
  EXPECT_NE(answer(32, SAMPLEFORMAT_UINT).find("32 bits and format 1 (unsigned integers)"),
            std::string::npos);
  EXPECT_NE(answer(64, SAMPLEFORMAT_COMPLEXIEEEFP).find("format 6 (complex numbers)"), std::string::npos);
  EXPECT_NE(refusal(file_of<std::uint8_t>({{.samples = 3, .photometric = PHOTOMETRIC_CIELAB}}, Bytes(6)))
                .find("8 (CIE L*a*b*)"),
            std::string::npos);
}

TEST_F(TiffFiles, AGuessOrALossIsRefused) {
  const Page white{.samples = 2, .photometric = PHOTOMETRIC_MINISWHITE, .extra = {EXTRASAMPLE_UNSPECIFIED}},
      print{.samples = 5, .photometric = PHOTOMETRIC_SEPARATED, .extra = {EXTRASAMPLE_UNSPECIFIED}};
  EXPECT_NE(refusal(file_of<std::uint8_t>({white}, Bytes(4)))
                .find("2 samples of 8 bits with photometric interpretation 0"),
            std::string::npos);
  EXPECT_NE(refusal(file_of<std::uint8_t>({print}, Bytes(10))).find("interpretation 5 (CMYK)"),
            std::string::npos);
}

/// The first entry of `tag` in a little-endian file, two bytes of which are changed.
std::string changed(std::string content, std::uint16_t tag, std::size_t offset, std::uint16_t value) {
  const auto bytes = [](std::uint16_t number) {
    return std::string{static_cast<char>(number & 0xFFU), static_cast<char>(number >> 8U)};
  };
  const std::size_t entry = content.find(bytes(tag) + bytes(3) + std::string("\1\0\0\0", 4));
  return content.replace(entry + offset, 2, bytes(value));
}

TEST_F(TiffFiles, WhatIsMissingOrUnknownIsNamed) {
  const std::string good = file_of<std::uint8_t>({Page{}}, Bytes{7, 8}, "wl");
  EXPECT_EQ(
      refusal(changed(good, TIFFTAG_COMPRESSION, 8, 34712)),
      "the image cannot be read: TIFF: this machine's libtiff does not read compression 34712 (JPEG 2000)");
  EXPECT_NE(refusal(changed(good, TIFFTAG_PHOTOMETRIC, 0, 263)).find("it has no photometric interpretation"),
            std::string::npos);
  EXPECT_NE(refusal(changed(good, TIFFTAG_PHOTOMETRIC, 8, 32803)).find("32803 (colour filter array)"),
            std::string::npos);
}

}  // namespace
}  // namespace cohort::data_prep

#include "data_prep/image.h"

#include <cstdio>
#include <cstring>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <jpeglib.h>
#include <tiffio.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "data/image_files.h"
#include "data_prep/axes.h"
#include "data_prep/image_file.h"
#include "support/temporary_folder.h"

namespace cohort::data_prep {
namespace {

using data::PixelType;
using testing::values_of;

template <class T>
Image image_of(data::ImageLayout layout, const std::vector<T>& values) {
  Image image{layout, std::vector<std::byte>(values.size() * sizeof(T))};
  std::memcpy(image.pixels.data(), values.data(), image.pixels.size());
  return image;
}

using Bytes = std::vector<std::uint8_t>;

TEST(Resize, ShrinksToTheMeanOfTheArea) {
  const Image image = image_of<std::uint8_t>({PixelType::u8, 1, 2, 4}, {10, 20, 0, 255, 30, 41, 0, 255});
  EXPECT_EQ(values_of<std::uint8_t>(resize(image, 1, 2)), (Bytes{25, 128}));  // 25.25 and 127.5, half up
}

TEST(Resize, FractionsOfPixelsCountByArea) {
  const Image image = image_of<float>({PixelType::f32, 1, 1, 3}, {3, 6, 30});
  const auto values = values_of<float>(resize(image, 1, 2));
  EXPECT_FLOAT_EQ(values[0], (3.0F + 0.5F * 6.0F) / 1.5F);
  EXPECT_FLOAT_EQ(values[1], (0.5F * 6.0F + 30.0F) / 1.5F);
}

TEST(Resize, GrowsLinearlyBetweenPixelCentres) {
  const Image image = image_of<float>({PixelType::f32, 1, 1, 2}, {0, 8});
  EXPECT_EQ(values_of<float>(resize(image, 1, 4)), (std::vector<float>{0, 2, 6, 8}));
}

TEST(Resize, EachChannelAndAxisByItself) {
  const Image image = image_of<std::uint16_t>({PixelType::u16, 2, 2, 2}, {0, 0, 60000, 60000, 1, 3, 1, 3});
  const auto values = values_of<std::uint16_t>(resize(image, 4, 1));
  EXPECT_EQ(values, (std::vector<std::uint16_t>{0, 15000, 45000, 60000, 2, 2, 2, 2}));
}

TEST(Resize, ConstantImagesStayConstantAtAnySize) {
  const Image image = image_of<std::uint8_t>({PixelType::u8, 1, 3, 5}, Bytes(15, 201));
  for (const auto& [height, width] : {std::pair{1, 1}, {2, 7}, {7, 2}, {64, 3}, {3, 5}}) {
    EXPECT_EQ(values_of<std::uint8_t>(resize(image, height, width)),
              Bytes(static_cast<std::size_t>(height * width), 201));
  }
}

TEST(Resize, CropAndPadKeepTheAspectRatio) {
  const Image wide =
      image_of<std::uint8_t>({PixelType::u8, 1, 2, 6}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  EXPECT_EQ(values_of<std::uint8_t>(resize(wide, {false, 2, 2, data::Fit::crop})), (Bytes{3, 4, 9, 10}));
  EXPECT_EQ(values_of<std::uint8_t>(resize(wide, {false, 4, 6, data::Fit::pad})),
            (Bytes{0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(values_of<std::uint8_t>(resize(wide, {false, 2, 3, data::Fit::stretch})),
            (Bytes{2, 4, 6, 8, 10, 12}));

  const Image tall = image_of<std::uint16_t>({PixelType::u16, 2, 3, 1}, {10, 20, 30, 40, 50, 60});
  EXPECT_EQ(values_of<std::uint16_t>(resize(tall, {false, 1, 1, data::Fit::crop})),
            (std::vector<std::uint16_t>{20, 50}));
  EXPECT_EQ(values_of<std::uint16_t>(resize(tall, {false, 3, 4, data::Fit::pad})),
            (std::vector<std::uint16_t>{0, 10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0,
                                        0, 40, 0, 0, 0, 50, 0, 0, 0, 60, 0, 0}));
}

TEST(Resize, CropsAndPadsAfterTheMeanOfTheArea) {
  const Image image = image_of<float>({PixelType::f32, 1, 2, 4}, {1, 3, 5, 7, 1, 3, 5, 7});
  EXPECT_EQ(values_of<float>(resize(image, {false, 1, 1, data::Fit::crop})), (std::vector<float>{2}));
  EXPECT_EQ(values_of<float>(resize(image, {false, 2, 2, data::Fit::pad})), (std::vector<float>{2, 6, 0, 0}));
}

TEST(Resize, VolumesGoWithTheirDepthOrSliceBySlice) {
  const Image volume = image_of<std::uint8_t>({PixelType::u8, 1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  const auto values = [&](const data::Preparation& to) {
    return values_of<std::uint8_t>(resize(volume, to));
  };
  EXPECT_EQ(values({false, 1, 2, data::Fit::stretch, 2}), (Bytes{2, 3, 6, 7}));
  EXPECT_EQ(values({false, 1, 2, data::Fit::pad, 6}), (Bytes{0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0}));
  EXPECT_EQ(values({false, 1, 2, data::Fit::crop, 2}), (Bytes{3, 4, 5, 6}));
  EXPECT_EQ(values({false, 1, 1}), (Bytes{2, 4, 6, 8}));  // means of two, half up
  EXPECT_EQ(resize(volume, {false, 3, 5, data::Fit::pad, 7}).layout,
            (data::ImageLayout{PixelType::u8, 1, 3, 5, 7}));
  const Image two = image_of<std::uint8_t>({PixelType::u8, 2, 1, 1, 2}, {1, 2, 3, 4});
  EXPECT_EQ(values_of<std::uint8_t>(resize(two, {false, 1, 2, data::Fit::pad, 2})),
            (Bytes{1, 0, 2, 0, 3, 0, 4, 0}));
}

TEST(Resize, OfAnyShapeHasTheSizeThatWasAskedFor) {
  for (const auto& [height, width] : {std::pair{1, 9}, {9, 1}, {7, 5}, {5, 7}, {100, 3}}) {
    const Image image = image_of<std::uint8_t>({PixelType::u8, 1, height, width},
                                               Bytes(static_cast<std::size_t>(height * width), 9));
    for (const data::Fit fit : {data::Fit::stretch, data::Fit::crop, data::Fit::pad})
      EXPECT_EQ(resize(image, {false, 6, 4, fit}).layout, (data::ImageLayout{PixelType::u8, 1, 6, 4}));
  }
}

TEST(ToGray, IsTheLumaOfBt601) {
  const Image image =
      image_of<std::uint8_t>({PixelType::u8, 3, 1, 4}, {255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255});
  EXPECT_EQ(values_of<std::uint8_t>(to_gray(image)), (Bytes{76, 150, 29, 255}));
}

class ImageFile : public ::testing::Test {
 protected:
  std::string refusal(const std::string& content) {
    try {
      decode_image(content, "here.png");
    } catch (const DataError& error) {
      EXPECT_EQ(error.text().where, "here.png");
      return error.text().what;
    }
    return "it was accepted";
  }
  testing::TemporaryFolder folder_;
};

TEST_F(ImageFile, PngColourBecomesPlanes) {
  testing::write_png(folder_.path() / "a.png", 1, 2, 3, {1, 2, 3, 4, 5, 6});
  const Image image = read_image(folder_.path() / "a.png");
  EXPECT_EQ(image.layout, (data::ImageLayout{PixelType::u8, 3, 1, 2}));
  EXPECT_EQ(values_of<std::uint8_t>(image), (Bytes{1, 4, 2, 5, 3, 6}));
}

TEST_F(ImageFile, DamagedPngIsNamed) {
  testing::write_png(folder_.path() / "a.png", 40, 40, 1, Bytes(1600, 9));
  std::string content = read_file(folder_.path() / "a.png");
  EXPECT_NE(refusal(content.substr(0, content.size() - 20)).find("PNG: the file ends too early"),
            std::string::npos);
  content[content.size() / 2] ^= 0x55;
  EXPECT_NE(refusal(content).find("the image cannot be read: PNG: "), std::string::npos);
}

TEST_F(ImageFile, OtherContentIsNamed) {
  EXPECT_NE(refusal("").find("the file is empty"), std::string::npos);
  EXPECT_NE(refusal("GIF89a").find("neither PNG nor JPEG nor TIFF"), std::string::npos);
  EXPECT_THROW(read_image(folder_.path() / "none.png"), DataError);
}

std::string jpeg_of(std::uint8_t level, unsigned height, unsigned width) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* content = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &content, &size);
  jpeg.image_width = width;
  jpeg.image_height = height;
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  Bytes row(std::size_t{3} * width, level);
  JSAMPROW start = row.data();
  while (jpeg.next_scanline < height) jpeg_write_scanlines(&jpeg, &start, 1);
  jpeg_finish_compress(&jpeg);
  const std::string text(content, content + size);
  jpeg_destroy_compress(&jpeg);
  std::free(content);
  return text;
}

TEST_F(ImageFile, JpegIsDecodedAndItsDamageIsNamed) {
  const std::string content = jpeg_of(120, 32, 48);
  const Image image = decode_image(content, "a.jpg");
  EXPECT_EQ(image.layout, (data::ImageLayout{PixelType::u8, 3, 32, 48}));
  EXPECT_EQ(values_of<std::uint8_t>(image), Bytes(std::size_t{3} * 32 * 48, 120));
  EXPECT_NE(refusal(content.substr(0, content.size() - 30)).find("JPEG: its data are damaged"),
            std::string::npos);
  EXPECT_NE(refusal(content.substr(0, 40)).find("JPEG: "), std::string::npos);
}

void write_tiff(const std::filesystem::path& file, std::uint16_t bits, const void* values, int pages) {
  TIFF* tiff = TIFFOpen(file.c_str(), "w");
  for (int page = 0; page < pages; ++page) {
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, 2);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, 1);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, bits);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_LZW);
    std::uint16_t row[2];
    std::memcpy(row, values, sizeof row);
    TIFFWriteScanline(tiff, row, 0, 0);
    TIFFWriteDirectory(tiff);
  }
  TIFFClose(tiff);
}

TEST_F(ImageFile, TiffOf16Bits) {
  const std::uint16_t values[] = {7, 65000};
  write_tiff(folder_.path() / "a.tif", 16, values, 1);
  const Image image = read_image(folder_.path() / "a.tif");
  EXPECT_EQ(image.layout, (data::ImageLayout{PixelType::u16, 1, 1, 2}));
  EXPECT_EQ(values_of<std::uint16_t>(image), (std::vector<std::uint16_t>{7, 65000}));
}

TEST_F(ImageFile, TiffOfSeveralPagesIsRefused) {
  const std::uint16_t values[] = {7, 65000};
  write_tiff(folder_.path() / "a.tif", 16, values, 2);
  EXPECT_NE(refusal(read_file(folder_.path() / "a.tif")).find("more than one page"), std::string::npos);
}

TEST(ImageNames, AreKnownByTheirEnding) {
  EXPECT_TRUE(has_image_name("a/b.PNG"));
  EXPECT_TRUE(has_image_name("b.tiff"));
  EXPECT_FALSE(has_image_name("png"));
  EXPECT_FALSE(has_image_name("a.png.txt"));
}

/// As numpy.save writes it.
std::string npy(const std::string& type, const std::string& shape, const std::string& values) {
  std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.resize(117, ' ');
  header += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + std::string("\x76\x00", 2) + header + values;
}

TEST_F(ImageFile, NumpyArraysAreImages) {
  const Image image = decode_image(npy("|u1", "2, 1, 3", "abcdef"), "x.npy", "CHW");
  EXPECT_EQ(image.layout.channels, 2);
  EXPECT_EQ(image.layout.height, 1);
  EXPECT_EQ(image.layout.width, 3);
  EXPECT_EQ(values_of<std::uint8_t>(image), (Bytes{'a', 'b', 'c', 'd', 'e', 'f'}));
  EXPECT_EQ(decode_image(npy("<u2", "1, 2", std::string("\x01\x02\x03\x04", 4)), "x.npy").layout.type,
            PixelType::u16);
  const Image last = decode_image(npy("|u1", "2, 1, 3", "abcdef"), "x.npy", "HWC");
  EXPECT_EQ(last.layout, (data::ImageLayout{PixelType::u8, 3, 2, 1}));
  EXPECT_EQ(values_of<std::uint8_t>(last), (Bytes{'a', 'd', 'b', 'e', 'c', 'f'}));
  EXPECT_NE(refusal(npy("<i8", "1, 1", "12345678")).find("type i8 with 2 dimensions is no image"),
            std::string::npos);
  EXPECT_NE(refusal(npy("|u1", "3", "abc")).find("1 dimensions is no image"), std::string::npos);
  EXPECT_NE(refusal(npy("|u1", "2, 2", "abc")).find("not an array in NumPy's format"), std::string::npos);
}

std::string axes_text(const std::vector<std::int64_t>& shape, const std::string& wanted, bool is_stack) {
  try {
    const Axes axes = axes_of(shape, wanted, is_stack, "here");
    return fmt::format("{}: {} of {} x {}", axes.name, axes.channels, axes.height, axes.width);
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(ArrayAxes, AreThoseThatTheShapeTells) {
  EXPECT_EQ(axes_text({64, 48}, "", false), "HW: 1 of 64 x 48");
  EXPECT_EQ(axes_text({64, 64, 5}, "", false), "HWC: 5 of 64 x 64");
  EXPECT_EQ(axes_text({5, 64, 64}, "", false), "CHW: 5 of 64 x 64");
  EXPECT_EQ(axes_text({8, 8, 3}, "", false), "HWC: 3 of 8 x 8");
  EXPECT_EQ(axes_text({9, 64, 64}, "", true), "NHW: 1 of 64 x 64");
  EXPECT_EQ(axes_text({9, 64, 48, 5}, "", true), "NHWC: 5 of 64 x 48");
  EXPECT_EQ(axes_text({3, 3, 96, 80}, "", true), "NCHW: 3 of 96 x 80");
}

TEST(ArrayAxes, AreRefusedWithBothReadingsWhereItDoesNot) {
  const std::string message = axes_text({20, 16, 16}, "", false);
  EXPECT_NE(message.find("an array of the shape [20, 16, 16] can be read in more than one way"),
            std::string::npos);
  EXPECT_NE(message.find("--axes HWC (16 channels of 20 x 16) or --axes CHW (20 channels of 16 x 16)"),
            std::string::npos)
      << message;
  EXPECT_NE(axes_text({7, 64, 64, 64}, "", true).find("--axes NHWC (64 channels of 64 x 64)"),
            std::string::npos);
  EXPECT_NE(axes_text({64, 64, 3}, "", true).find("--axes NHW (1 channel of 64 x 3)"), std::string::npos);
  EXPECT_EQ(axes_text({20, 16, 16}, "CHW", false), "CHW: 20 of 16 x 16");
  EXPECT_NE(axes_text({20, 16, 16}, "CWH", false).find("'CWH' are no axes of images"), std::string::npos);
  EXPECT_NE(axes_text({5, 20, 16, 16}, "NHW", true).find("the array has 4 dimensions"), std::string::npos);
}

}  // namespace
}  // namespace cohort::data_prep

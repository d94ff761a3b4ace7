// Whole slides against what OpenSlide gives of them.
#include "data_prep/slides.h"

#include <array>

#include <gtest/gtest.h>
#include <tiffio.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "data/reader_files.h"
#include "data_prep/slide_tiles.h"
#include "support/temporary_folder.h"

namespace cohort::data_prep {
namespace {

namespace fs = std::filesystem;
using data::PixelType;

#ifdef COHORT_OPENSLIDE
TEST(Slides, RegionsAreThoseOfOpenSlide) {
  const Slide slide(kReaders / "slide.svs");
  ASSERT_EQ(slide.levels().size(), 2U);
  EXPECT_EQ(slide.microns_per_pixel(), 0.5);
  EXPECT_EQ(slide.property("aperio.ScanScope ID"), "S1");
  expect_same(slide.region(0, 90, 50, 40, 48), expected("slide_region"));
  expect_same(slide.region(1, 80, 40, 20, 30), expected("slide_level"));
}

/// A level of an Aperio slide in tiles of 32 x 48 pixels; the last ones reach beyond it.
struct SlideFile {
  std::uint16_t compression, photometric = PHOTOMETRIC_RGB;
  bool has_hole = false;
  std::int64_t height = 75, width = 130;
};

fs::path write_slide(const testing::TemporaryFolder& folder, const SlideFile& slide) {
  const fs::path path = folder.path() / "a.svs";
  TIFF* tiff = TIFFOpen(path.c_str(), "w");
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(slide.height));
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(slide.width));
  TIFFSetField(tiff, TIFFTAG_TILELENGTH, 32);
  TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 48);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, slide.photometric);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, slide.compression);
  TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, "Aperio Image Library v11|AppMag = 20|MPP = 0.5");
  if (slide.photometric == PHOTOMETRIC_YCBCR) {
    TIFFSetField(tiff, TIFFTAG_YCBCRSUBSAMPLING, 2, 2);
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  }
  std::vector<std::uint8_t> tile(static_cast<std::size_t>(TIFFTileSize(tiff)));
  for (std::uint32_t number = 0; number < TIFFNumberOfTiles(tiff); ++number) {
    if (slide.has_hole && number == 4) continue;
    for (std::size_t i = 0; i < tile.size(); ++i)
      tile[i] = static_cast<std::uint8_t>(100 + 40 * (i % 3) + i / 48 % 40 + number * 7 % 13);
    TIFFWriteEncodedTile(tiff, number, tile.data(), static_cast<tmsize_t>(tile.size()));
  }
  TIFFClose(tiff);
  return path;
}

/// The same part of a larger image.
Image cut_out(const Image& whole, std::int64_t y, std::int64_t x, std::int64_t height, std::int64_t width) {
  Image part{{PixelType::u8, 3, height, width}, {}};
  for (std::int64_t row = 0; row < 3 * height; ++row) {
    const std::int64_t from =
        (row / height * whole.layout.height + y + row % height) * whole.layout.width + x;
    part.pixels.insert(part.pixels.end(), whole.pixels.begin() + from, whole.pixels.begin() + from + width);
  }
  return part;
}

// OpenSlide itself reads what reaches beyond a level, and all of a level that has a hole.
TEST(Slides, StoredTilesGiveThePixelsOfOpenSlide) {
  for (const SlideFile& file :
       {SlideFile{COMPRESSION_JPEG}, SlideFile{COMPRESSION_JPEG, PHOTOMETRIC_YCBCR},
        SlideFile{COMPRESSION_LZW}, SlideFile{COMPRESSION_JPEG, PHOTOMETRIC_RGB, true}}) {
    const testing::TemporaryFolder folder;
    const Slide slide(write_slide(folder, file));
    const Image whole = slide.region(0, 0, 0, file.height + 1, file.width + 1);
    for (const auto& [y, x, height, width] :
         {std::array<std::int64_t, 4>{0, 0, 75, 130}, {31, 47, 2, 2}, {10, 20, 60, 100}, {64, 96, 11, 34}}) {
      const Image read = slide.region(0, x, y, height, width);
      EXPECT_EQ(read.pixels, cut_out(whole, y, x, height, width).pixels)
          << file.compression << ' ' << file.photometric << ' ' << y << ' ' << x;
    }
  }
}

TEST(Slides, OnlyPlainTilesOfRgbAreReadPastOpenSlide) {
  const testing::TemporaryFolder folder;
  const auto refusal = [&](const SlideFile& file, const char* vendor, std::int64_t height) -> std::string {
    try {
      SlideTiles(write_slide(folder, file), vendor, height, 130);
    } catch (const TiffProblem& problem) {
      return problem.what();
    }
    return "it was accepted";
  };
  EXPECT_EQ(refusal({COMPRESSION_JPEG}, "aperio", 75), "it was accepted");
  EXPECT_EQ(refusal({COMPRESSION_JPEG}, "generic-tiff", 75), "it was accepted");
  EXPECT_EQ(refusal({COMPRESSION_JPEG}, "ventana", 75), "its tiles may lie anywhere");
  EXPECT_EQ(refusal({COMPRESSION_JPEG}, "aperio", 74), "no page has this size");
  EXPECT_EQ(refusal({COMPRESSION_LZW, PHOTOMETRIC_CIELAB}, "aperio", 75), "its tiles are not of RGB");
  EXPECT_EQ(refusal({COMPRESSION_JPEG, PHOTOMETRIC_RGB, true}, "aperio", 75), "its tiles are not of RGB");
}

// What libtiff finds damaged OpenSlide reads, or refuses.
TEST(Slides, ADamagedTileIsRefusedAsByOpenSlide) {
  const testing::TemporaryFolder folder;
  const fs::path path = write_slide(folder, {COMPRESSION_LZW});
  std::string content = read_file(path);
  content.replace(8, 40, std::string(40, '\xff'));  // where the first tile lies
  folder.write("a.svs", content);
  EXPECT_NE(refusal_of([&] {
              static_cast<void>(Slide(path).region(0, 0, 0, 20, 20));
            }).find("the slide cannot be read: "),
            std::string::npos);
}

TEST(Slides, TissueIsWhatHasColour) {
  const TissueMask mask = tissue_mask(Slide(kReaders / "slide.svs"));
  const auto saturation = values_of_array<std::uint8_t>(expected("slide_saturation"));
  ASSERT_EQ(mask.is_tissue.size(), saturation.size());  // no level is large: all of level 0
  for (std::size_t i = 0; i < saturation.size(); ++i) ASSERT_EQ(mask.is_tissue[i], saturation[i] > 60) << i;
  EXPECT_EQ(mask.share(100, 60, 64), 1.0);
  EXPECT_EQ(mask.share(68, 60, 64), 0.5);
  EXPECT_EQ(mask.share(0, 0, 64), 0.0);
}

TEST(Slides, OthersAreRefused) {
  EXPECT_EQ(refusal_of([] { Slide(kReaders / "expected.npz"); }),
            "the slide cannot be read: OpenSlide does not know its format");
}
#endif

/// The threshold that parts the values into two classes of least variance, by trying all of them.
int best_threshold(const std::vector<int>& values) {
  double least = 1e300;
  int best = 0;
  for (int threshold = 0; threshold < 255; ++threshold) {
    double variance = 0;
    for (const bool upper : {false, true}) {
      double sum = 0, squares = 0, count = 0;
      for (const int value : values) {
        if ((value > threshold) != upper) continue;
        sum += value, squares += static_cast<double>(value) * value, ++count;
      }
      if (count > 0) variance += squares - sum * sum / count;
    }
    if (variance < least - 1e-6) least = variance, best = threshold;
  }
  return best;
}

TEST(Slides, OtsuPartsWithLeastVariance) {
  std::vector<int> values;
  for (int i = 0; i < 200; ++i) values.push_back(10 + i * i % 37);
  for (int i = 0; i < 60; ++i) values.push_back(120 + i * 7 % 90);
  std::vector<std::int64_t> counts(256, 0);
  for (const int value : values) ++counts[static_cast<std::size_t>(value)];
  EXPECT_EQ(otsu_threshold(counts), best_threshold(values));
}

}  // namespace
}  // namespace cohort::data_prep

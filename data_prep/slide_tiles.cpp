#include "data_prep/slide_tiles.h"

#include <algorithm>

#include <tiffio.h>

namespace cohort::data_prep {
namespace {

constexpr std::int64_t kColours = 3;
constexpr std::int64_t kKeptTileBytes = std::int64_t{64} << 20;

/// In files of others, tiles of a level overlap, lie elsewhere than on a grid, or have borders.
bool has_plain_grid(const std::string& vendor) {
  return vendor == "aperio" || vendor == "generic-tiff";
}

/// OpenSlide fills a tile of which nothing is stored with pixels of another level.
bool has_all_tiles(const TiffFile& file) {
  const std::uint64_t* bytes = nullptr;
  if (TIFFGetField(file.get(), TIFFTAG_TILEBYTECOUNTS, &bytes) == 0 || bytes == nullptr) return false;
  return std::find(bytes, bytes + TIFFNumberOfTiles(file.get()), 0) == bytes + TIFFNumberOfTiles(file.get());
}

/// Where a stretch of a level and one of its tiles overlap.
struct Stretch {
  std::int64_t start, end;
  Stretch(std::int64_t first, std::int64_t count, std::int64_t tile, std::int64_t side)
      : start(std::max(first, tile)), end(std::min(first + count, tile + side)) {}
};

}  // namespace

SlideTiles::SlideTiles(const std::filesystem::path& file, const std::string& vendor, std::int64_t height,
                       std::int64_t width)
    : file_(file), height_(height), width_(width) {
  if (!has_plain_grid(vendor)) throw TiffProblem("its tiles may lie anywhere");
  choose_page();
  if (!is_readable()) throw TiffProblem("its tiles are not of RGB");
  tile_height_ = file_.field<std::uint32_t>(TIFFTAG_TILELENGTH);
  tile_width_ = file_.field<std::uint32_t>(TIFFTAG_TILEWIDTH);
  if (TIFFTileSize(file_.get()) != tile_height_ * tile_width_ * kColours ||
      TIFFTileSize(file_.get()) > kKeptTileBytes)
    throw TiffProblem("its tiles are too large");
}

/// The one of this size that has tiles.
void SlideTiles::choose_page() {
  std::int64_t found = -1;
  const std::int64_t pages = TIFFNumberOfDirectories(file_.get());
  for (std::int64_t page = 0; page < pages; ++page) {
    file_.open_page(page);
    const bool is_it = TIFFIsTiled(file_.get()) != 0 &&
                       file_.field<std::uint32_t>(TIFFTAG_IMAGELENGTH) == height_ &&
                       file_.field<std::uint32_t>(TIFFTAG_IMAGEWIDTH) == width_;
    if (is_it && found >= 0) throw TiffProblem("two pages have this size");
    if (is_it) found = page;
  }
  if (found < 0) throw TiffProblem("no page has this size");
  file_.open_page(found);
}

/// From here on libtiff gives RGB.
bool SlideTiles::is_readable() const {
  const auto compression = file_.field<std::uint16_t>(TIFFTAG_COMPRESSION),
             photometric = file_.field<std::uint16_t>(TIFFTAG_PHOTOMETRIC);
  const bool is_jpeg = compression == COMPRESSION_JPEG;
  if (is_jpeg) TIFFSetField(file_.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  return TIFFIsCODECConfigured(compression) != 0 && file_.field<std::uint16_t>(TIFFTAG_BITSPERSAMPLE) == 8 &&
         file_.field<std::uint16_t>(TIFFTAG_SAMPLESPERPIXEL) == kColours &&
         file_.field<std::uint16_t>(TIFFTAG_SAMPLEFORMAT) == SAMPLEFORMAT_UINT &&
         file_.field<std::uint16_t>(TIFFTAG_PLANARCONFIG) == PLANARCONFIG_CONTIG &&
         (photometric == PHOTOMETRIC_RGB || (is_jpeg && photometric == PHOTOMETRIC_YCBCR)) &&
         has_all_tiles(file_);
}

/// To be decoded into: its memory is used again once there are as many as are kept.
SlideTiles::Tile& SlideTiles::oldest() {
  const std::int64_t bytes = tile_height_ * tile_width_ * kColours;
  if (std::ssize(kept_) >= std::max<std::int64_t>(1, kKeptTileBytes / bytes))
    kept_.splice(kept_.begin(), kept_, std::prev(kept_.end()));
  else
    kept_.emplace_front().colours.resize(static_cast<std::size_t>(bytes));
  return kept_.front();
}

const SlideTiles::Tile& SlideTiles::tile(std::int64_t y, std::int64_t x) {
  TIFF* tiff = file_.get();
  const std::uint32_t number =
      TIFFComputeTile(tiff, static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y), 0, 0);
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [&](const Tile& tile) { return tile.number == number; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    return kept_.front();
  }
  Tile& tile = oldest();
  const auto size = static_cast<tmsize_t>(tile.colours.size());
  if (TIFFReadEncodedTile(tiff, number, tile.colours.data(), size) != size || TiffFile::lost_pixels()) {
    kept_.pop_front();
    TiffFile::refuse_damage();
  }
  tile.number = number;
  return tile;
}

Image SlideTiles::region(std::int64_t y, std::int64_t x, std::int64_t height, std::int64_t width) {
  if (y < 0 || x < 0 || y + height > height_ || x + width > width_)
    throw TiffProblem("the region is not all in the level");
  Image image{{data::PixelType::u8, kColours, height, width}, {}};
  image.pixels.resize(static_cast<std::size_t>(image.layout.bytes()));
  for (std::int64_t top = y - y % tile_height_; top < y + height; top += tile_height_) {
    for (std::int64_t left = x - x % tile_width_; left < x + width; left += tile_width_) {
      const Stretch rows(y, height, top, tile_height_), columns(x, width, left, tile_width_);
      const std::byte* colours = tile(top, left).colours.data();
      for (std::int64_t row = rows.start; row < rows.end; ++row) {
        const std::byte* from = colours + ((row - top) * tile_width_ + columns.start - left) * kColours;
        std::byte* red = image.pixels.data() + (row - y) * width + columns.start - x;
        std::byte *green = red + height * width, *blue = green + height * width;
        for (std::int64_t i = 0; i < columns.end - columns.start; ++i) {
          red[i] = from[kColours * i];
          green[i] = from[kColours * i + 1];
          blue[i] = from[kColours * i + 2];
        }
      }
    }
  }
  return image;
}

}  // namespace cohort::data_prep

#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "data_prep/image.h"
#include "data_prep/tiff_page.h"

namespace cohort::data_prep {

/// A level of a slide that a TIFF file keeps as tiles of RGB, each of which is decoded by libtiff: the pixels
/// that OpenSlide gives, but not painted over one another in floating point. Tiles that were decoded last are
/// kept, up to 64 MiB. For one thread.
class SlideTiles {
 public:
  /// Of a file of OpenSlide's `vendor`, the level of this size. Throws TiffProblem: it is kept in another
  /// way, or nobody can tell; DataError: the file cannot be read.
  SlideTiles(const std::filesystem::path& file, const std::string& vendor, std::int64_t height,
             std::int64_t width);

  /// As Slide::region(), from a pixel of the level on. Throws TiffProblem: the region is not all in the
  /// level, or a tile is damaged; DataError as above.
  [[nodiscard]] Image region(std::int64_t y, std::int64_t x, std::int64_t height, std::int64_t width);

 private:
  struct Tile {
    std::uint32_t number = 0;
    std::vector<std::byte> colours{};  ///< [height, width, 3]
  };

  void choose_page();
  [[nodiscard]] bool is_readable() const;
  const Tile& tile(std::int64_t y, std::int64_t x);
  Tile& oldest();

  TiffFile file_;
  std::int64_t height_, width_;
  std::int64_t tile_height_ = 0, tile_width_ = 0;
  std::list<Tile> kept_{};  // used last first
};

}  // namespace cohort::data_prep

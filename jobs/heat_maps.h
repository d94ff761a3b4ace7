#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::jobs {

/// Where a tile of a slide begins, in pixels of level 0, as its id says: "slide_7_x1024_y2048".
struct TilePlace {
  std::string slide;
  std::int64_t x = 0, y = 0;
};

/// Nothing: the id is of no tile.
std::optional<TilePlace> tile_place(std::string_view id);

/// What a model says of the tiles of slides, drawn where they lie. For each slide two files: SLIDE.geojson, a
/// square for every tile with the class that it is said to be and its probabilities, as QuPath imports it;
/// and SLIDE.png, a map of the probability of each class (of two classes: of the second one), a cell a tile.
/// The side of a square is the distance to the next tile. Holds the tiles of one slide. One rank uses it.
class HeatMaps {
 public:
  static constexpr std::size_t kMostMaps = 8;  ///< in a picture: of the first classes

  /// Makes the folder. Throws DataError.
  HeatMaps(std::filesystem::path folder, std::vector<std::string> classes);

  /// `probabilities` [classes]. Tiles of a slide come one after the other, slides in any order. Throws
  /// DataError: an id is of no tile; tiles of a slide that was drawn already come again; a file cannot be
  /// written.
  void add(const std::string& id, std::span<const float> probabilities);
  /// After the last tile.
  void finish();
  [[nodiscard]] std::int64_t slides() const noexcept { return std::ssize(drawn_); }

 private:
  struct Tile {
    std::int64_t x, y;
  };
  [[nodiscard]] std::int64_t side() const;
  [[nodiscard]] std::string geojson() const;
  [[nodiscard]] std::string picture() const;

  std::filesystem::path folder_;
  std::vector<std::string> classes_;
  std::vector<std::string> drawn_;  // names of slides, the last one under way
  std::vector<Tile> tiles_;
  std::vector<float> probabilities_;  // [tiles, classes]
};

}  // namespace cohort::jobs

#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

namespace cohort::jobs {

/// Where a tile of a slide begins, in pixels of level 0, as its id says: "slide_7_x1024_y2048".
struct TilePlace {
  std::string slide;
  std::int64_t x = 0, y = 0;
};

/// Nothing: the id is of no tile.
std::optional<TilePlace> tile_place(std::string_view id);

/// Tells tiles of slides apart, one after the other. Throws DataError: an id is of no tile; tiles of a slide
/// do not follow each other.
class SlideOrder {
 public:
  /// Where the tile lies, and whether it is the first one of its slide.
  std::pair<TilePlace, bool> next(const std::string& id);
  [[nodiscard]] const std::string& slide() const noexcept { return slide_; }  ///< under way; empty: none
  [[nodiscard]] std::int64_t slides() const noexcept { return std::ssize(seen_); }

 private:
  std::string slide_;
  std::set<std::string> seen_;
};

/// What is drawn of each tile.
struct TileMaps {
  std::vector<std::string> measurements;  ///< names, as QuPath shows them: "probability_tumour"
  std::vector<std::string> classes{};  ///< of the measurements; a tile is of that of its largest. Empty: none
  std::int64_t rows = 1, columns = 1;  ///< of cells in a tile, each with its own measurements
};

/// Probabilities of classes, one of each for a tile.
TileMaps probability_maps(const std::vector<std::string>& classes);

/// What a model says of the tiles of slides, drawn where they lie. For each slide two files: SLIDE.geojson, a
/// square for every cell of a tile with its measurements, and its class, as QuPath imports it; and SLIDE.png,
/// a map of each measurement: probabilities as they are, of two classes the second one alone; all else from
/// the lowest to the highest of the slide. The side of a tile is the distance to the next one. A slide has
/// kMostCells cells at most: those of its tiles become fewer, with the mean of those that they are made of,
/// down to one. Holds the tiles of one slide. One rank uses it.
class HeatMaps {
 public:
  static constexpr std::size_t kMostMaps = 8;  ///< of probabilities in a picture: of the first classes
  static constexpr std::int64_t kMostCells = 200'000;  ///< where tiles have several

  /// Makes the folder. Throws DataError.
  HeatMaps(std::filesystem::path folder, TileMaps maps);

  /// `values` [measurements, rows, columns]. Tiles of a slide come one after the other, slides in any order.
  /// Throws DataError: as SlideOrder; a file cannot be written.
  void add(const std::string& id, std::span<const float> values);
  /// After the last tile.
  void finish();
  [[nodiscard]] std::int64_t slides() const noexcept { return order_.slides(); }

 private:
  struct Tile {
    std::int64_t x, y;
  };
  void coarsen();
  void draw(const std::string& slide);
  [[nodiscard]] std::int64_t side() const;
  [[nodiscard]] float value(std::size_t tile, std::size_t measurement, std::int64_t cell) const;
  [[nodiscard]] nlohmann::ordered_json properties(std::size_t tile, std::int64_t cell) const;
  [[nodiscard]] std::string feature(std::int64_t side, std::size_t tile, std::int64_t cell) const;
  [[nodiscard]] std::string geojson() const;
  [[nodiscard]] at::Tensor map_of(std::size_t measurement) const;
  [[nodiscard]] std::string picture() const;

  std::filesystem::path folder_;
  TileMaps maps_;
  SlideOrder order_;
  std::int64_t rows_, columns_;  // of cells of a tile, of this slide
  std::vector<Tile> tiles_;
  std::vector<float> values_;  // [tiles, measurements, rows, columns]
};

}  // namespace cohort::jobs

#include "heat_maps.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/eval/picture.h"

namespace cohort::jobs {
namespace {

/// The digits at the end of `text` behind `mark`, which are taken off; nothing: it does not end like that.
std::optional<std::int64_t> take_number(std::string_view& text, std::string_view mark) {
  const std::size_t at = text.rfind(mark);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view digits = text.substr(at + mark.size());
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0) return std::nullopt;
  text = text.substr(0, at);
  return value;
}

/// The smallest distance between different ones of some places; 0: there are no two.
std::int64_t smallest_step(std::vector<std::int64_t> places) {
  std::sort(places.begin(), places.end());
  std::int64_t step = 0;
  for (std::size_t i = 1; i < places.size(); ++i) {
    const std::int64_t distance = places[i] - places[i - 1];
    if (distance > 0 && (step == 0 || distance < step)) step = distance;
  }
  return step;
}

/// Of class `number` of some, told apart by hue.
nlohmann::ordered_json colour_of(std::size_t number, std::size_t classes) {
  const double hue = 6.0 * static_cast<double>(number) / static_cast<double>(classes);
  const auto channel = [&](double centre) {
    const double distance =
        std::min({std::abs(hue - centre), std::abs(hue - centre - 6), std::abs(hue - centre + 6)});
    return static_cast<int>(std::lround(60 + 160 * std::clamp(2 - distance, 0.0, 1.0)));
  };
  return {channel(0), channel(2), channel(4)};
}

struct Cells {
  std::int64_t rows, columns;
};

/// Fewer cells, of whole ones: the smallest step down; else one.
Cells next_coarser(Cells cells) {
  const std::int64_t common = std::gcd(cells.rows, cells.columns);
  for (std::int64_t factor = 2; factor <= common; ++factor)
    if (common % factor == 0) return {cells.rows / factor, cells.columns / factor};
  return {1, 1};
}

/// Maps [n, from.rows, from.columns] with the means of `to`, whose numbers divide those of `from`.
std::vector<float> with_cells(std::span<const float> maps, Cells from, Cells to) {
  if (from.rows == to.rows && from.columns == to.columns) return {maps.begin(), maps.end()};
  const at::Tensor all = at::tensor(at::ArrayRef<float>(maps.data(), maps.size()));
  const at::Tensor means = all.view({-1, to.rows, from.rows / to.rows, to.columns, from.columns / to.columns})
                               .mean(at::IntArrayRef{2, 4})
                               .contiguous();
  const auto* const values = means.const_data_ptr<float>();
  return {values, values + means.numel()};
}

/// 0 where it is lowest, 1 where it is highest; NaN stays.
at::Tensor over_its_range(const at::Tensor& map) {
  const at::Tensor known = map.masked_select(map.isnan().logical_not());
  const float low = known.min().item<float>(), range = known.max().item<float>() - low;
  return (map - low) / (range > 0 ? range : 1.0F);
}

}  // namespace

std::optional<TilePlace> tile_place(std::string_view id) {
  const auto y = take_number(id, "_y");
  if (!y) return std::nullopt;
  const auto x = take_number(id, "_x");
  if (!x || id.empty()) return std::nullopt;
  return TilePlace{std::string(id), *x, *y};
}

std::pair<TilePlace, bool> SlideOrder::next(const std::string& id) {
  auto place = tile_place(id);
  if (!place) {
    throw DataError({fmt::format("'{}' does not say where a tile lies", id), "--heat-maps",
                     "ids of tiles end in _x<column>_y<row>, as cohort-data convert slides makes them"});
  }
  if (slide_ == place->slide) return {*std::move(place), false};
  if (!seen_.insert(place->slide).second) {
    throw DataError({fmt::format("tiles of slide '{}' do not follow each other", place->slide), "--heat-maps",
                     "convert the slides with --context slide"});
  }
  slide_ = place->slide;
  return {*std::move(place), true};
}

TileMaps probability_maps(const std::vector<std::string>& classes) {
  TileMaps maps{.measurements = {}, .classes = classes};
  for (const std::string& name : classes) maps.measurements.push_back("probability_" + name);
  return maps;
}

HeatMaps::HeatMaps(std::filesystem::path folder, TileMaps maps)
    : folder_(std::move(folder)), maps_(std::move(maps)), rows_(maps_.rows), columns_(maps_.columns) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (!error) return;
  throw DataError({fmt::format("the folder for heat maps cannot be made: {}", error.message()),
                   folder_.string(), "choose another one, or free space"});
}

void HeatMaps::add(const std::string& id, std::span<const float> values) {
  const std::string last = order_.slide();
  const auto [place, is_first] = order_.next(id);
  if (is_first && !tiles_.empty()) draw(last);
  tiles_.push_back({place.x, place.y});
  const std::vector<float> coarse = with_cells(values, {maps_.rows, maps_.columns}, {rows_, columns_});
  values_.insert(values_.end(), coarse.begin(), coarse.end());
  while (std::ssize(tiles_) * rows_ * columns_ > kMostCells && rows_ * columns_ > 1) coarsen();
}

void HeatMaps::coarsen() {
  const Cells cells{rows_, columns_}, fewer = next_coarser(cells);
  values_ = with_cells(values_, cells, fewer);
  rows_ = fewer.rows;
  columns_ = fewer.columns;
}

void HeatMaps::finish() {
  if (!tiles_.empty()) draw(order_.slide());
}

void HeatMaps::draw(const std::string& slide) {
  write_file_atomically(folder_ / (slide + ".geojson"), geojson());
  write_file_atomically(folder_ / (slide + ".png"), picture());
  tiles_.clear();
  values_.clear();
  rows_ = maps_.rows;
  columns_ = maps_.columns;
}

std::int64_t HeatMaps::side() const {
  std::vector<std::int64_t> x, y;
  for (const Tile& tile : tiles_) {
    x.push_back(tile.x);
    y.push_back(tile.y);
  }
  const std::int64_t across = smallest_step(std::move(x)), down = smallest_step(std::move(y));
  constexpr std::int64_t kOfOneTile = 256;
  if (across == 0 && down == 0) return kOfOneTile;
  return across == 0 ? down : down == 0 ? across : std::min(across, down);
}

float HeatMaps::value(std::size_t tile, std::size_t measurement, std::int64_t cell) const {
  const std::size_t cells = static_cast<std::size_t>(rows_ * columns_);
  return values_[(tile * maps_.measurements.size() + measurement) * cells + static_cast<std::size_t>(cell)];
}

// https://qupath.readthedocs.io: GeoJSON with objectType, classification and measurements among the
// properties.
nlohmann::ordered_json HeatMaps::properties(std::size_t tile, std::int64_t cell) const {
  nlohmann::ordered_json properties{{"objectType", "tile"}}, measurements = nlohmann::ordered_json::object();
  std::size_t largest = 0;
  for (std::size_t m = 0; m < maps_.measurements.size(); ++m) {
    const float measured = value(tile, m, cell);
    measurements[maps_.measurements[m]] = std::round(measured * 1e6) / 1e6;
    if (measured > value(tile, largest, cell)) largest = m;
  }
  if (!maps_.classes.empty())
    properties["classification"] = {{"name", maps_.classes[largest]},
                                    {"color", colour_of(largest, maps_.classes.size())}};
  properties["measurements"] = std::move(measurements);
  return properties;
}

std::string HeatMaps::feature(std::int64_t side, std::size_t tile, std::int64_t cell) const {
  const std::int64_t row = cell / columns_, column = cell % columns_;
  const std::int64_t left = tiles_[tile].x + side * column / columns_,
                     right = tiles_[tile].x + side * (column + 1) / columns_,
                     top = tiles_[tile].y + side * row / rows_,
                     bottom = tiles_[tile].y + side * (row + 1) / rows_;
  const nlohmann::ordered_json feature{
      {"type", "Feature"},
      {"geometry",
       {{"type", "Polygon"},
        {"coordinates", {{{left, top}, {right, top}, {right, bottom}, {left, bottom}, {left, top}}}}}},
      {"properties", properties(tile, cell)}};
  return feature.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string HeatMaps::geojson() const {
  const std::int64_t side = this->side();
  std::string features;
  for (std::size_t i = 0; i < tiles_.size(); ++i)
    for (std::int64_t cell = 0; cell < rows_ * columns_; ++cell)
      features += (features.empty() ? "" : ",") + feature(side, i, cell);
  return R"({"type":"FeatureCollection","features":[)" + features + "]}";
}

at::Tensor HeatMaps::map_of(std::size_t measurement) const {
  const auto by_x = [](const Tile& a, const Tile& b) { return a.x < b.x; };
  const auto by_y = [](const Tile& a, const Tile& b) { return a.y < b.y; };
  const auto [left, right] = std::minmax_element(tiles_.begin(), tiles_.end(), by_x);
  const auto [top, bottom] = std::minmax_element(tiles_.begin(), tiles_.end(), by_y);
  const std::int64_t side = this->side();
  at::Tensor map =
      at::full({((bottom->y - top->y) / side + 1) * rows_, ((right->x - left->x) / side + 1) * columns_},
               std::numeric_limits<float>::quiet_NaN());
  auto cells = map.accessor<float, 2>();
  for (std::size_t i = 0; i < tiles_.size(); ++i) {
    const std::int64_t y = (tiles_[i].y - top->y) / side * rows_,
                       x = (tiles_[i].x - left->x) / side * columns_;
    for (std::int64_t cell = 0; cell < rows_ * columns_; ++cell)
      cells[y + cell / columns_][x + cell % columns_] = value(i, measurement, cell);
  }
  return map;
}

std::string HeatMaps::picture() const {
  const bool are_probabilities = !maps_.classes.empty();
  const std::size_t all = maps_.measurements.size(), first = are_probabilities && all == 2 ? 1 : 0,
                    end = are_probabilities ? std::min(all, first + kMostMaps) : all;
  std::vector<at::Tensor> maps;
  for (std::size_t m = first; m < end; ++m)
    maps.push_back(are_probabilities ? map_of(m) : over_its_range(map_of(m)));
  return eval::tile_maps(maps);
}

}  // namespace cohort::jobs

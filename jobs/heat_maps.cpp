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

}  // namespace

std::optional<TilePlace> tile_place(std::string_view id) {
  const auto y = take_number(id, "_y");
  if (!y) return std::nullopt;
  const auto x = take_number(id, "_x");
  if (!x || id.empty()) return std::nullopt;
  return TilePlace{std::string(id), *x, *y};
}

HeatMaps::HeatMaps(std::filesystem::path folder, std::vector<std::string> classes)
    : folder_(std::move(folder)), classes_(std::move(classes)) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (!error) return;
  throw DataError({fmt::format("the folder for heat maps cannot be made: {}", error.message()),
                   folder_.string(), "choose another one, or free space"});
}

void HeatMaps::add(const std::string& id, std::span<const float> probabilities) {
  const auto place = tile_place(id);
  if (!place) {
    throw DataError({fmt::format("'{}' does not say where a tile lies", id), "--heat-maps",
                     "ids of tiles end in _x<column>_y<row>, as cohort-data convert slides makes them"});
  }
  if (drawn_.empty() || drawn_.back() != place->slide) {
    finish();
    if (std::find(drawn_.begin(), drawn_.end(), place->slide) != drawn_.end()) {
      throw DataError({fmt::format("tiles of slide '{}' do not follow each other", place->slide),
                       "--heat-maps", "convert the slides with --context slide"});
    }
    drawn_.push_back(place->slide);
  }
  tiles_.push_back({place->x, place->y});
  probabilities_.insert(probabilities_.end(), probabilities.begin(), probabilities.end());
}

void HeatMaps::finish() {
  if (tiles_.empty()) return;
  write_file_atomically(folder_ / (drawn_.back() + ".geojson"), geojson());
  write_file_atomically(folder_ / (drawn_.back() + ".png"), picture());
  tiles_.clear();
  probabilities_.clear();
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

// https://qupath.readthedocs.io: GeoJSON with objectType, classification and measurements among the
// properties.
std::string HeatMaps::geojson() const {
  using Json = nlohmann::ordered_json;
  const std::int64_t side = this->side();
  Json features = Json::array();
  for (std::size_t i = 0; i < tiles_.size(); ++i) {
    const auto [x, y] = tiles_[i];
    const float* values = probabilities_.data() + i * classes_.size();
    const auto answer = static_cast<std::size_t>(std::max_element(values, values + classes_.size()) - values);
    Json measurements = Json::object();
    for (std::size_t c = 0; c < classes_.size(); ++c)
      measurements["probability_" + classes_[c]] = std::round(values[c] * 1e6) / 1e6;
    features.push_back(
        {{"type", "Feature"},
         {"geometry",
          {{"type", "Polygon"},
           {"coordinates", {{{x, y}, {x + side, y}, {x + side, y + side}, {x, y + side}, {x, y}}}}}},
         {"properties",
          {{"objectType", "tile"},
           {"classification", {{"name", classes_[answer]}, {"color", colour_of(answer, classes_.size())}}},
           {"measurements", measurements}}}});
  }
  return Json{{"type", "FeatureCollection"}, {"features", std::move(features)}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
}

std::string HeatMaps::picture() const {
  const std::int64_t side = this->side();
  std::int64_t left = tiles_.front().x, top = tiles_.front().y, right = left, bottom = top;
  for (const Tile& tile : tiles_) {
    left = std::min(left, tile.x);
    right = std::max(right, tile.x);
    top = std::min(top, tile.y);
    bottom = std::max(bottom, tile.y);
  }
  const std::size_t first = classes_.size() == 2 ? 1 : 0,
                    count = std::min(kMostMaps, classes_.size() - first);
  std::vector<at::Tensor> maps(count);
  for (std::size_t m = 0; m < count; ++m) {
    maps[m] = at::full({(bottom - top) / side + 1, (right - left) / side + 1},
                       std::numeric_limits<float>::quiet_NaN());
    auto cells = maps[m].accessor<float, 2>();
    for (std::size_t i = 0; i < tiles_.size(); ++i) {
      cells[(tiles_[i].y - top) / side][(tiles_[i].x - left) / side] =
          probabilities_[i * classes_.size() + first + m];
    }
  }
  return eval::tile_maps(maps);
}

}  // namespace cohort::jobs

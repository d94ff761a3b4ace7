#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace cohort::report {

struct MapScore {
  std::string name;    ///< "average_drop"
  double value = 0.0;  ///< NaN: there is none
  bool higher_is_better = true;
  std::optional<std::array<double, 2>> interval{};  ///< 95 %
};

/// Of a context or a class.
struct MapScoresOfGroup {
  std::string name;
  std::int64_t images = 0;
  std::vector<MapScore> scores;
};

struct MapCurve {
  std::string kind, across, of;  ///< "insertion", and what goes to the right and up
  std::vector<std::pair<double, double>> points;
};

/// What the maps of one way to explain are worth.
struct MapScores {
  std::string method;
  std::int64_t images = 0;
  std::vector<MapScore> scores;
  std::vector<std::pair<std::string, std::vector<MapScoresOfGroup>>>
      groups;  ///< contexts by key, then classes
  std::vector<MapCurve> curves;
};

/// "scores" of explain.json. Throws what the library throws where they are damaged.
std::vector<MapScores> read_map_scores(const nlohmann::json& scores);

/// HTML: a table of the methods, the curves, and a table of contexts for each key and one of classes; empty
/// without scores.
std::string map_scores_html(const std::vector<MapScores>& scores);

}  // namespace cohort::report

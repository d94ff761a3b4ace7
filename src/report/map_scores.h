#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace cohort::report {

struct MapScore {
  std::string name;    ///< "average_drop"
  double value = 0.0;  ///< NaN: there is none
  bool higher_is_better = true;
};

struct MapScoresOfContext {
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
  std::vector<std::pair<std::string, std::vector<MapScoresOfContext>>> contexts;  ///< by key
  std::vector<MapCurve> curves;
};

/// "scores" of explain.json. Throws what the library throws where they are damaged.
std::vector<MapScores> read_map_scores(const nlohmann::json& scores);

/// HTML: a table of the methods, the curves, and a table of contexts for each key; empty without scores.
std::string map_scores_html(const std::vector<MapScores>& scores);

}  // namespace cohort::report

#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "map_scores.h"

namespace cohort::report {

/// Of a model with a token for each channel.
struct ExplainedChannels {
  std::string names;                ///< "DNA · actin"
  std::string attention, saliency;  ///< PNG; no head: none of saliency
};

struct ExplainedImage {
  std::string caption;  ///< "id · module module_03 · defective, answered functional (0.61)"
  std::string maps;     ///< PNG
  std::string sheet;    ///< PNG: image, map, overlay; empty: none, without a head
  std::optional<ExplainedChannels> channels;
  std::string nearest_pictures;      ///< PNG; empty: none
  std::vector<std::string> nearest;  ///< captions
};

/// The token of a context, along the two directions in which those of its key differ most.
struct ContextPoint {
  std::string split, context;
  double x = 0.0, y = 0.0;
};

struct ContextMap {
  std::string key;
  double x_share = 0.0, y_share = 0.0;  ///< of the variance
  std::vector<ContextPoint> points;
};

/// What cohort explain wrote into the folder of a run.
struct Explanation {
  std::string split;
  std::vector<std::string> columns;  ///< of the maps
  std::vector<ExplainedImage> images;
  std::vector<ContextMap> contexts;
  std::vector<MapScores> scores;  ///< of --score, a method each
};

/// Nothing when there is none. Throws DataError when it is damaged, or a picture is missing.
std::optional<Explanation> read_explanation(const std::filesystem::path& run);

/// A picture in a run folder. Throws DataError when it is none, or takes more than kMostPicture.
std::string read_png(const std::filesystem::path& file);

/// HTML: pictures as data in the page, and a map of the contexts of each key.
std::string explanation_html(const Explanation& explanation);

/// An <img> with the picture in the page itself.
std::string data_image(const std::string& png, const std::string& description);

/// "TWFu": RFC 4648.
std::string base64(const std::string& bytes);

}  // namespace cohort::report

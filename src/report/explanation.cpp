#include "explanation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "svg.h"

namespace cohort::report {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr double kMapWidth = 640.0, kMapHeight = 420.0, kMapMargin = 46.0;

/// Joins what is not empty with " · ".
std::string caption(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    if (!part.empty()) text += (text.empty() ? "" : " · ") + part;
  }
  return text;
}

std::string contexts_text(const json& contexts) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : contexts.items()) parts.push_back(key + " " + value.get<std::string>());
  return caption(parts);
}

std::string answer_text(const json& image) {
  const std::string label = image.at("label").get<std::string>();
  if (!image.contains("answer")) return label;
  return fmt::format("{}answered {} ({:.2f})", label.empty() ? "" : label + ", ",
                     image.at("answer").get<std::string>(), image.at("probability").get<double>());
}

/// "map of functional (0.39) the same everywhere"; empty: it is that of the answer.
std::string map_text(const json& image) {
  std::string text;
  if (image.contains("map_of"))
    text = fmt::format("map of {} ({:.2f})", image.at("map_of").at("class").get<std::string>(),
                       image.at("map_of").at("probability").get<double>());
  if (!image.contains("map_is_constant")) return text;
  return (text.empty() ? "map" : text) + " the same everywhere";
}

std::string image_caption(const json& image) {
  return caption({image.at("id").get<std::string>(), contexts_text(image.at("contexts")), answer_text(image),
                  map_text(image)});
}

/// The pictures of the folder `explain`, which may name one of them many times.
class Pictures {
 public:
  explicit Pictures(fs::path folder) : folder_(std::move(folder)) {}

  /// A file of the folder itself, whatever the name says.
  std::string read(const json& name) {
    const fs::path file = folder_ / fs::path(name.get<std::string>()).filename();
    std::string png = read_png(file);
    left_ -= std::min<std::uint64_t>(left_, png.size());
    if (left_ > 0) return png;
    throw DataError({fmt::format("the pictures take more than {}", format_bytes(kMostPictures)),
                     file.string(), "explain fewer images: cohort explain --images"});
  }

 private:
  static constexpr std::uint64_t kMostPictures = std::uint64_t{1} << 30;

  fs::path folder_;
  std::uint64_t left_ = kMostPictures;
};

ExplainedChannels read_channels(Pictures& pictures, const json& channels) {
  return {caption(channels.at("names").get<std::vector<std::string>>()),
          pictures.read(channels.at("attention")),
          channels.contains("saliency") ? pictures.read(channels.at("saliency")) : ""};
}

ExplainedImage read_image(Pictures& pictures, const json& image) {
  ExplainedImage read{.caption = image_caption(image),
                      .maps = pictures.read(image.at("maps")),
                      .sheet = {},
                      .channels = {},
                      .nearest_pictures = {},
                      .nearest = {}};
  if (image.contains("sheet")) read.sheet = pictures.read(image.at("sheet"));
  if (image.contains("channels")) read.channels = read_channels(pictures, image.at("channels"));
  if (!image.contains("nearest_pictures")) return read;
  read.nearest_pictures = pictures.read(image.at("nearest_pictures"));
  for (const json& near : image.at("nearest"))
    read.nearest.push_back(caption(
        {image_caption(near), fmt::format("similarity {:.4f}", near.at("similarity").get<double>())}));
  return read;
}

ContextMap read_map(const json& map) {
  ContextMap read{map.at("key").get<std::string>(),
                  map.at("shares").at(0).get<double>(),
                  map.at("shares").at(1).get<double>(),
                  {}};
  for (const json& point : map.at("points"))
    read.points.push_back({point.at("split").get<std::string>(), point.at("context").get<std::string>(),
                           point.at("x").get<double>(), point.at("y").get<double>()});
  return read;
}

std::string channels_html(const ExplainedChannels& channels) {
  std::string html = data_image(channels.attention, "attention in each channel: " + channels.names);
  if (!channels.saliency.empty())
    html += data_image(channels.saliency, "saliency in each channel: " + channels.names);
  return html + fmt::format("<p>by channel, on one scale: {}{}</p>\n", escaped(channels.names),
                            channels.saliency.empty() ? "; attention" : "; attention above, saliency below");
}

/// Image, saliency and both of each image, several in a row.
std::string contact_sheet(const std::vector<ExplainedImage>& images) {
  std::string figures;
  for (const ExplainedImage& image : images) {
    if (image.sheet.empty()) continue;
    figures += "<figure>" + data_image(image.sheet, "the image, its map, and the image under it") +
               fmt::format("<figcaption>{}</figcaption></figure>\n", escaped(image.caption));
  }
  if (figures.empty()) return "";
  return "<section class=\"card explained\"><div class=\"sheet\">\n" + figures + "</div></section>\n";
}

std::string image_html(const ExplainedImage& image, const std::string& columns) {
  std::string html = fmt::format("<section class=\"card explained\"><h3>{}</h3>\n", escaped(image.caption));
  html += data_image(image.maps, columns) + fmt::format("<p>{}</p>\n", escaped(columns));
  if (image.channels) html += channels_html(*image.channels);
  if (image.nearest_pictures.empty()) return html + "</section>\n";
  html += data_image(image.nearest_pictures, "the image and the most similar training images");
  html += "<details><summary>the image, then the most similar training images</summary><ol>\n";
  for (const std::string& near : image.nearest) html += fmt::format("<li>{}</li>\n", escaped(near));
  return html + "</ol></details></section>\n";
}

/// Where a value lies between the ends of an axis.
struct Scale {
  double low, high, from, to;
  [[nodiscard]] double operator()(double value) const {
    return high > low ? from + (value - low) / (high - low) * (to - from) : (from + to) / 2;
  }
};

template <class Value>
Scale scale_of(const std::vector<ContextPoint>& points, double from, double to, Value&& value) {
  const auto [low, high] =
      std::minmax_element(points.begin(), points.end(),
                          [&](const ContextPoint& a, const ContextPoint& b) { return value(a) < value(b); });
  return {value(*low), value(*high), from, to};
}

std::vector<std::string> splits_in(const std::vector<ContextPoint>& points) {
  std::vector<std::string> splits;
  for (const ContextPoint& point : points) {
    if (std::find(splits.begin(), splits.end(), point.split) == splits.end()) splits.push_back(point.split);
  }
  return splits;
}

std::string map_html(const ContextMap& map) {
  if (map.points.empty()) return "";
  const Scale x = scale_of(map.points, kMapMargin, kMapWidth - kMapMargin,
                           [](const ContextPoint&point) { return point.x; }),
              y = scale_of(map.points, kMapHeight - kMapMargin, kMapMargin,
                           [](const ContextPoint&point) { return point.y; });
  const std::vector<std::string> splits = splits_in(map.points);
  std::string html =
      fmt::format("<section class=\"card\"><h3>Tokens of {}</h3>\n<div class=\"legend\">", escaped(map.key));
  for (std::size_t i = 0; i < splits.size(); ++i)
    html +=
        fmt::format("<span class=\"entry\"><i class=\"swatch c{}\"></i>{}</span>", i % 8, escaped(splits[i]));
  html += fmt::format("</div>\n<svg class=\"scatter\" viewBox=\"0 0 {} {}\" role=\"img\">\n", kMapWidth,
                      kMapHeight);
  for (const ContextPoint& point : map.points) {
    const auto split = std::find(splits.begin(), splits.end(), point.split) - splits.begin();
    html += fmt::format(
        "<g class=\"c{}\"><circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" "
        "r=\"4\"><title>{}</title></circle></g>\n",
        split % 8, x(point.x), y(point.y), escaped(point.context + ", " + point.split));
  }
  html += fmt::format(
      "<text class=\"unit\" x=\"{}\" y=\"{}\" text-anchor=\"end\">first component, {:.0f} % of the "
      "variance</text>\n"
      "<text class=\"unit\" x=\"10\" y=\"20\">second component, {:.1f} %</text>\n</svg>\n",
      kMapWidth - 10, kMapHeight - 10, 100 * map.x_share, 100 * map.y_share);
  return html + "<p>Each point is the mean context token of one context in one split.</p></section>\n";
}

}  // namespace

std::optional<Explanation> read_explanation(const fs::path& run) {
  const fs::path folder = run / "explain", file = folder / "explain.json";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  refuse_no_folder(folder);
  try {
    const json content = json::parse(read_file(file, kMostRecords, Links::refuse));
    Pictures pictures(folder);
    Explanation explanation;
    explanation.split = content.at("split").get<std::string>();
    explanation.columns = content.at("columns").get<std::vector<std::string>>();
    for (const json& image : content.at("images")) explanation.images.push_back(read_image(pictures, image));
    if (content.contains("context_tokens")) {
      for (const json& map : content.at("context_tokens")) explanation.contexts.push_back(read_map(map));
    }
    if (content.contains("scores")) explanation.scores = read_map_scores(content.at("scores"));
    return explanation;
  } catch (const json::exception& error) {
    throw DataError({fmt::format("the explanation is damaged: {}", error.what()), file.string(),
                     "run cohort explain again, or remove the folder"});
  }
}

std::string read_png(const fs::path& file) {
  std::string png = read_file(file, kMostPicture, Links::refuse);
  if (png.starts_with("\x89PNG\r\n\x1a\n")) return png;
  throw DataError({"not a PNG picture", file.string(), "remove the file, or run again what makes it"});
}

std::string explanation_html(const Explanation& explanation) {
  std::string html = map_scores_html(explanation.scores) + contact_sheet(explanation.images);
  const std::string columns = join(explanation.columns, " · ");
  for (const ExplainedImage& image : explanation.images) html += image_html(image, columns);
  for (const ContextMap& map : explanation.contexts) html += map_html(map);
  return html;
}

std::string data_image(const std::string& png, const std::string& description) {
  return fmt::format("<img alt=\"{}\" src=\"data:image/png;base64,{}\"/>\n", escaped(description),
                     base64(png));
}

std::string base64(const std::string& bytes) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t triple = 0;
    for (std::size_t j = 0; j < 3; ++j)
      triple = triple << 8U | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      text += i + j <= bytes.size() ? kDigits[triple >> (18U - 6U * j) & 63U] : '=';
  }
  return text;
}

}  // namespace cohort::report

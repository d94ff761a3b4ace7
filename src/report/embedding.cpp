#include "embedding.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "explanation.h"
#include "svg.h"

namespace cohort::report {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr double kSide = 460.0, kEdge = 12.0;
constexpr std::size_t kColours = 8, kMostNamed = 16;

Embedding::Places places_from(const json& points) {
  Embedding::Places places;
  for (const json& point : points) places.push_back({point.at(0).get<double>(), point.at(1).get<double>()});
  return places;
}

EmbeddingColumn column_from(const json& column, std::size_t points) {
  EmbeddingColumn read{column.at("name").get<std::string>(),
                       column.at("values").get<std::vector<std::string>>(),
                       column.at("of_points").get<std::vector<std::int64_t>>()};
  const bool fits = read.of_points.size() == points &&
                    std::all_of(read.of_points.begin(), read.of_points.end(), [&](std::int64_t value) {
                      return value >= -1 && value < std::ssize(read.values);
                    });
  if (fits) return read;
  throw DataError(
      {fmt::format("the embedding is damaged: {}", "values of other points in '" + read.name + "'"),
       "embedding.json", "run cohort embed again, or remove the folder"});
}

std::string read_jpeg(const fs::path& file) {
  std::string picture = read_file(file, kMostPicture, Links::refuse);
  if (picture.starts_with("\xFF\xD8\xFF")) return picture;
  throw DataError({"not a JPEG picture", file.string(), "remove the file, or run again what makes it"});
}

/// From the picture's left and upper edge to the other ones; both directions have one scale.
Embedding::Places in_picture(const Embedding::Places& places) {
  std::array<double, 2> low = places.front(), high = places.front();
  for (const auto& place : places) {
    for (std::size_t c = 0; c < 2; ++c) {
      low.at(c) = std::min(low.at(c), place.at(c));
      high.at(c) = std::max(high.at(c), place.at(c));
    }
  }
  const double range = std::max({high[0] - low[0], high[1] - low[1], 1e-12}),
               scale = (kSide - 2 * kEdge) / range;
  Embedding::Places moved;
  for (const auto& place : places) {
    moved.push_back({kSide / 2 + (place[0] - (low[0] + high[0]) / 2) * scale,
                     kSide / 2 - (place[1] - (low[1] + high[1]) / 2) * scale});
  }
  return moved;
}

/// Of value `number`: a colour of the page, or where there are more values than these a hue.
std::string colour_of_value(std::size_t number, std::size_t values) {
  if (values <= kColours) return fmt::format("class=\"c{}\"", number);
  return fmt::format("style=\"color: hsl({:.0f} 65% 52%)\"",
                     360.0 * static_cast<double>(number) / static_cast<double>(values));
}

std::string legend_of(const EmbeddingColumn& column) {
  std::string html = "<div class=\"legend\">";
  for (std::size_t v = 0; v < std::min(kMostNamed, column.values.size()); ++v) {
    html += fmt::format("<span class=\"entry\"><i {}><i class=\"swatch\"></i></i>{}</span>",
                        colour_of_value(v, column.values.size()), escaped(column.values[v]));
  }
  if (column.values.size() > kMostNamed)
    html += fmt::format("<span class=\"entry\">and {} more</span>", column.values.size() - kMostNamed);
  return html + "</div>\n";
}

/// One path for each value: points are dots of its line.
std::string scatter(const Embedding::Places& places, const EmbeddingColumn* column) {
  const Embedding::Places at = in_picture(places);
  const std::size_t values = column == nullptr ? 1 : column->values.size();
  std::vector<std::string> paths(values);
  for (std::size_t i = 0; i < at.size(); ++i) {
    const std::int64_t value = column == nullptr ? 0 : column->of_points[i];
    if (value >= 0)
      paths[static_cast<std::size_t>(value)] += fmt::format("M{:.1f} {:.1f}h0", at[i][0], at[i][1]);
  }
  std::string svg = fmt::format("<svg viewBox=\"0 0 {0} {0}\" role=\"img\">\n", kSide);
  for (std::size_t v = 0; v < values; ++v) {
    if (paths[v].empty()) continue;
    svg += fmt::format("<g {}><path class=\"points\" d=\"{}\"/></g>\n", colour_of_value(v, values), paths[v]);
  }
  return svg + "</svg>\n";
}

std::string panel(const std::string& title, const std::string& content) {
  return fmt::format("<div><h3>{}</h3>\n{}</div>\n", escaped(title), content);
}

}  // namespace

std::optional<Embedding> read_embedding(const fs::path& run) {
  const fs::path folder = run / "embedding", file = folder / "embedding.json";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  refuse_no_folder(folder);
  const std::string fix = "run cohort embed again, or remove the folder";
  try {
    const json content = json::parse(read_file(file, kMostRecords, Links::refuse));
    Embedding embedding;
    embedding.split = content.at("split").get<std::string>();
    embedding.components = places_from(content.at("pca"));
    embedding.t_sne = places_from(content.at("t_sne"));
    embedding.shares = content.at("shares").get<std::array<double, 2>>();
    embedding.perplexity = content.at("perplexity").get<double>();
    const std::size_t points = embedding.t_sne.size();
    if (points == 0 || embedding.components.size() != points)
      throw DataError(
          {fmt::format("the embedding is damaged: {}", "places without points"), file.string(), fix});
    for (const json& column : content.at("columns")) embedding.columns.push_back(column_from(column, points));
    embedding.thumbnails =
        read_jpeg(folder / fs::path(content.at("thumbnails").get<std::string>()).filename());
    return embedding;
  } catch (const json::exception& error) {
    throw DataError({fmt::format("the embedding is damaged: {}", error.what()), file.string(), fix});
  }
}

std::string embedding_html(const Embedding& embedding) {
  std::string html = "<div class=\"charts\">\n";
  for (const EmbeddingColumn& column : embedding.columns)
    html += panel("t-SNE by " + column.name, legend_of(column) + scatter(embedding.t_sne, &column));
  if (embedding.columns.empty()) html += panel("t-SNE", scatter(embedding.t_sne, nullptr));
  const EmbeddingColumn* first = embedding.columns.empty() ? nullptr : embedding.columns.data();
  html += panel(
      fmt::format("principal components ({:.0f} % and {:.0f} % of the variance){}", 100 * embedding.shares[0],
                  100 * embedding.shares[1], first == nullptr ? "" : " by " + first->name),
      scatter(embedding.components, first));
  html += panel("images where t-SNE puts them",
                fmt::format("<img alt=\"thumbnails\" src=\"data:image/jpeg;base64,{}\"/>\n",
                            base64(embedding.thumbnails)));
  return html + "</div>\n";
}

}  // namespace cohort::report

#include "scores.h"

#include <algorithm>
#include <cmath>
#include <span>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"

namespace cohort::jobs {
namespace {

constexpr std::int64_t kRowsTogether = 8192;  // of images, in memory
constexpr std::size_t kMostContexts = 24;     // in the table

/// Null for a score that there is none of.
Json number_json(double value) {
  return std::isnan(value) ? Json() : Json(nine_digits(value));
}

Json list_json(const std::vector<eval::Score>& scores) {
  Json list = Json::array();
  for (const eval::Score& score : scores) {
    list.push_back({{"name", score.name},
                    {"value", number_json(score.value)},
                    {"better", score.higher_is_better ? "higher" : "lower"}});
    if (score.interval)
      list.back()["interval"] = {number_json(score.interval->low), number_json(score.interval->high)};
  }
  return list;
}

Json groups_json(const std::vector<eval::ScoredGroup>& groups) {
  Json list = Json::array();
  for (const eval::ScoredGroup& group : groups)
    list.push_back({{"name", group.name}, {"samples", group.samples}, {"scores", list_json(group.scores)}});
  return list;
}

Json curve_json(const eval::Curve& curve) {
  Json points = Json::array();
  for (const auto& [x, y] : curve.points) points.push_back({nine_digits(x), nine_digits(y)});
  return {
      {"kind", curve.kind}, {"of", curve.of}, {"x", curve.x}, {"y", curve.y}, {"points", std::move(points)}};
}

/// "0.8123", or "-".
std::string score_text(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.4f}", value);
}

/// Of a table: room for its name and for an interval.
std::size_t column_width(const eval::Score& score) {
  return std::max<std::size_t>(score.name.size(), 11);
}

std::string scored_line(const std::string& name, std::size_t width, std::int64_t images,
                        const std::vector<eval::Score>& scores) {
  std::string line =
      left_aligned(printable_name(name, width), width) + right_aligned(format_count(images), 9);
  for (const eval::Score& score : scores)
    line += "  " + right_aligned(score_text(score.value), column_width(score));
  return line + "\n";
}

std::string heading_line(const std::string& title, std::size_t width,
                         const std::vector<eval::Score>& scores) {
  std::string line = left_aligned(title, width) + right_aligned("images", 9);
  for (const eval::Score& score : scores) line += "  " + right_aligned(score.name, column_width(score));
  return line + "\n";
}

/// Worst first.
std::vector<eval::ScoredGroup> ordered(std::vector<eval::ScoredGroup> groups) {
  std::stable_sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
    const eval::Score &one = a.scores.front(), &other = b.scores.front();
    if (std::isnan(one.value) || std::isnan(other.value))
      return !std::isnan(one.value) && std::isnan(other.value);
    return one.higher_is_better ? one.value < other.value : one.value > other.value;
  });
  return groups;
}

/// Contexts of each key, and classes: what stands in tables of their own.
std::vector<eval::ScoredContexts> groups_of(const eval::Scorecard& card) {
  std::vector<eval::ScoredContexts> all = card.contexts;
  all.push_back({"class", card.classes});
  return all;
}

std::size_t name_width(const std::vector<eval::ExplanationScores>& scores) {
  std::size_t width = 12;
  for (const eval::ExplanationScores& of : scores) {
    for (const eval::ScoredContexts& by : groups_of(of.scorecard))
      for (const eval::ScoredGroup& group : by.groups)
        width = std::max(width, display_width(printable_name(group.name)));
  }
  return width;
}

/// "0.812–0.841" below the means, as wide as their columns.
std::string interval_line(std::size_t width, const std::vector<eval::Score>& scores) {
  std::string line = left_aligned("  95 %", width) + right_aligned("", 9);
  for (const eval::Score& score : scores) {
    const std::string text =
        score.interval ? fmt::format("{:.3f}–{:.3f}", score.interval->low, score.interval->high) : "";
    line += "  " + right_aligned(text, column_width(score));
  }
  return line + "\n";
}

std::string groups_table(const eval::ExplanationScores& of, const eval::ScoredContexts& by,
                         std::size_t width) {
  const std::vector<eval::ScoredGroup> groups = ordered(by.groups);
  std::string table =
      heading_line(printable_name(of.method + ", by " + by.key, width), width, of.scorecard.all);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const bool is_middle = i >= kMostContexts / 2 && i + kMostContexts / 2 < groups.size();
    if (!is_middle) table += scored_line(groups[i].name, width, groups[i].samples, groups[i].scores);
    if (is_middle && i == kMostContexts / 2)
      table += fmt::format("… {} more\n", format_count(std::ssize(groups) - std::int64_t{kMostContexts}));
  }
  return table;
}

std::string image_line(const eval::ExplanationScores& of, const std::string& id, const at::Tensor& values) {
  Json json{{"id", id}, {"method", of.method}};
  for (std::size_t i = 0; i < of.names.size(); ++i)
    json[of.names[i]] = number_json(values[static_cast<std::int64_t>(i)].item<double>());
  return json.dump() + "\n";
}

/// Of rows as places among the classes, -1: none of them; null where nothing asks for it.
LabelOfRow explained_labels(const ExplainOptions& options, Material& material) {
  if (options.scored.classes != eval::ExplainedClasses::label) return {};
  return [label_of = labels_as_answers(material), classes = std::ssize(material.classes)](std::int64_t row) {
    const std::int64_t label = label_of(row);
    return label < classes ? label : -1;
  };
}

void check_scored(const Material& material) {
  if (!material.classes.empty()) return;
  throw UsageError({"the model has no head, and scores are of the maps of an answer", "--score",
                    "explain a model that answers classes, or leave --score out"});
}

}  // namespace

std::vector<eval::ExplanationScores> score_maps(const ExplainOptions& options, const TrainedModel& trained,
                                                Material& material, comm::Communicator& ranks) {
  if (options.scores.empty()) return {};
  comm::together(ranks, [&] { check_scored(material); });
  const data::Dataset& dataset = material.test.dataset;
  const std::int64_t all = dataset.rows(),
                     count = options.scored_images == 0 ? all : std::min(all, options.scored_images);
  return eval::score_explanations(*trained.model, options.how,
                                  {dataset,
                                   {all, count},
                                   explained_group_key(trained, material),
                                   material.classes,
                                   explained_labels(options, material)},
                                  trained.config.eval, trained.config.data.normalisation, options.scored,
                                  ranks);
}

Json scores_json(const std::vector<eval::ExplanationScores>& scores) {
  Json all;
  for (const eval::ExplanationScores& of : scores) {
    Json contexts = Json::array(), curves = Json::array();
    for (const eval::ScoredContexts& by : of.scorecard.contexts)
      contexts.push_back({{"key", by.key}, {"contexts", groups_json(by.groups)}});
    for (const eval::Curve& curve : of.scorecard.curves) curves.push_back(curve_json(curve));
    all.push_back({{"method", of.method},
                   {"images", of.scorecard.samples},
                   {"scores", list_json(of.scorecard.all)},
                   {"contexts_by", std::move(contexts)},
                   {"classes", groups_json(of.scorecard.classes)},
                   {"curves", std::move(curves)}});
  }
  return all;
}

std::string scores_table(const std::vector<eval::ExplanationScores>& scores,
                         std::optional<std::size_t> columns) {
  const std::size_t width = std::min(name_width(scores), columns.value_or(200) / 3);
  std::string table = heading_line("explanation", width, scores.front().scorecard.all);
  for (const eval::ExplanationScores& of : scores)
    table += scored_line(of.method, width, of.scorecard.samples, of.scorecard.all) +
             interval_line(width, of.scorecard.all);
  for (const eval::ExplanationScores& of : scores)
    for (const eval::ScoredContexts& by : groups_of(of.scorecard)) table += groups_table(of, by, width);
  return table;
}

void write_image_scores(const std::vector<eval::ExplanationScores>& scores, const data::Dataset& dataset,
                        const std::filesystem::path& file, comm::Communicator& ranks) {
  std::optional<AtomicFile> made;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) made.emplace(file);
  });
  for (const eval::ExplanationScores& of : scores) {
    const eval::SpreadRows spread{dataset.rows(), of.images.rows()};
    for (std::int64_t first = 0; first < spread.count; first += kRowsTogether) {
      const at::Tensor values = of.images.block(first, std::min(kRowsTogether, spread.count - first));
      comm::together(ranks, [&] {
        std::string lines;
        for (std::int64_t i = 0; made && i < values.size(0); ++i)
          lines += image_line(of, dataset.id(spread.row(first + i)), values[i]);
        if (made) made->write(std::as_bytes(std::span(lines)));
      });
    }
  }
  comm::together(ranks, [&] {
    if (made) made->commit();
  });
}

}  // namespace cohort::jobs

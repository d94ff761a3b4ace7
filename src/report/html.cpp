#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "cohort/core/file.h"
#include "cohort/core/text.h"
#include "cohort/report/report.h"

#include "case_pictures.h"
#include "confusion.h"
#include "rank_times.h"
#include "scorecards.h"
#include "scores.h"
#include "style.h"
#include "svg.h"

namespace cohort::report {
namespace {

using Runs = std::span<const Run>;

std::string plural(std::int64_t count, const std::string& what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string fact(const std::string& name, const std::string& value) {
  return fmt::format("<dt>{}</dt><dd>{}</dd>", name, escaped(value));
}

/// Of the last start.
std::string environment(const std::vector<Begin>& begins) {
  const Begin& last = begins.back();
  std::string html = fact("started", last.time);
  if (begins.size() > 1) html += fact("starts", format_count(std::ssize(begins)));
  html += fact("on", fmt::format("{} × {}, {}", plural(last.ranks, "rank"), plural(last.threads, "thread"),
                                 plural(last.hosts, "host")));
  if (!last.processor.empty()) html += fact("processor", last.processor);
  html += fact("precision, sharding", last.precision + ", " + last.sharding);
  return html + fact("Cohort", last.version);
}

std::string tile(const Run& run, std::size_t index) {
  std::string html = fmt::format("<div class=\"tile\"><h3>{}{}</h3><dl>", swatch(index), escaped(run.name));
  html += fact("state", run.end ? "finished" : "going on, or stopped before its end");
  html += fact("steps", format_count(run.steps()));
  const auto loss = run.series.find("loss");
  if (loss != run.series.end() && !loss->second.empty()) {
    html += fact("last training loss", fmt::format("{:.4g}", loss->second.back().second));
  }
  if (const auto speed = run.images_per_second(); speed && std::isfinite(*speed)) {
    html += fact("training images/s, all ranks", format_count(std::llround(*speed)));
  }
  if (run.end) {
    if (run.begins.empty()) html += fact("ranks", format_count(run.end->ranks));
    html += fact("time", format_duration(std::chrono::duration<double>(run.end->seconds)));
    html += fact("parameters", format_count(run.end->parameters));
  }
  if (run.end && !run.end->reason.empty()) html += fact("ended early", run.end->reason);
  if (run.best)
    html += fact("best", fmt::format("step {}, {} {:.4f}", format_count(run.best->step), run.best->by,
                                     run.best->score));
  if (!run.bad_steps.empty()) html += fact("bad steps", format_count(std::ssize(run.bad_steps)));
  if (!run.begins.empty()) html += environment(run.begins);
  return html + "</dl></div>\n";
}

std::string tiles(Runs runs) {
  std::string html = "<div class=\"tiles\">\n";
  for (std::size_t i = 0; i < runs.size(); ++i) html += tile(runs[i], i);
  return html + "</div>\n";
}

std::string score_row(const ScoreRow& row, Runs runs, bool is_first_of_split) {
  std::string html =
      fmt::format("<tr{}><td class=\"left\">{}</td>", is_first_of_split ? "" : " class=\"same\"",
                  is_first_of_split ? escaped(row.split) : "");
  html += fmt::format("<td class=\"left run\"><span>{}{}</span></td>", swatch(row.run),
                      escaped(runs[row.run].name));
  for (const Cell& cell : row.cells) {
    html += fmt::format("<td{}>{}{}{}</td>", cell.best ? " class=\"best\"" : "", escaped(cell.text),
                        cell.best ? "*" : "",
                        cell.range.empty() ? "" : "<small>" + escaped(cell.range) + "</small>");
  }
  return html + "</tr>\n";
}

/// Runs that nothing was scored of.
std::string unscored(Runs runs) {
  const std::vector<UnscoredRow> rows = unscored_rows(runs);
  if (rows.empty()) return "";
  std::string html =
      "<h2>Without scores</h2>\n<section class=\"card\"><table><thead><tr><th class=\"left\">run</th>";
  for (const auto& [first, second] : unscored_columns())
    html += fmt::format("<th>{}{}{}</th>", first, second.empty() ? "" : " ", second);
  html += "</tr></thead><tbody>\n";
  for (const UnscoredRow& row : rows) {
    html += fmt::format("<tr><td class=\"left run\"><span>{}{}</span></td>", swatch(row.run),
                        escaped(runs[row.run].name));
    for (const std::string& cell : row.cells) html += fmt::format("<td>{}</td>", escaped(cell));
    html += "</tr>\n";
  }
  return html +
         "</tbody></table></section>\n<p>Features are those of the training split; a deviation of 0 "
         "or a rank of 1: they are all alike (docs/methods.md).</p>\n";
}

std::string score_card(const ScoreTable& table, Runs runs) {
  std::string html = fmt::format(
      "<section class=\"card\"><h3>{}</h3><table><thead><tr><th class=\"left\">split</th><th "
      "class=\"left\">run</th>",
      escaped(table.task));
  for (const std::string& column : table.columns) html += fmt::format("<th>{}</th>", escaped_title(column));
  html += "</tr></thead><tbody>\n";
  for (std::size_t i = 0; i < table.rows.size(); ++i)
    html += score_row(table.rows[i], runs, i == 0 || table.rows[i].split != table.rows[i - 1].split);
  return html + "</tbody></table></section>\n";
}

std::string scores(Runs runs) {
  std::string html;
  for (const ScoreTable& table : score_tables(runs)) html += score_card(table, runs);
  if (html.empty()) return "";
  return "<h2>Scores</h2>\n" + html +
         "<p>The last evaluation of each split; images/s of training. ↑: more is better, ↓: less. Small: 95 "
         "% "
         "intervals." +
         (runs.size() > 1 ? " * best of the split.</p>\n" : "</p>\n");
}

std::string chart(const Axis& axis, std::span<const Curve> curves) {
  return curves.empty() ? "" : "<div>" + line_chart(axis, curves) + "</div>\n";
}

/// Keys of the step lines that charts are made of; those of a method follow under their own names.
struct StepKey {
  const char* key;
  Axis axis;
  bool smooth;
};

std::span<const StepKey> known_keys() {
  static const std::array<StepKey, 8> kKeys{{
      {"loss", {"training loss", "", false, false}, true},
      {"lr", {"learning rate", "", true, false}, false},
      {"images_per_second", {"throughput", "images/s, all ranks", true, false}, true},
      {"grad_norm", {"gradient norm", "", true, false}, true},
      {"data_wait", {"waiting for data", "of the step's time", true, true}, true},
      {"comm_wait", {"waiting for communication", "of the step's time", true, true}, true},
      {"read_seconds", {"reading", "s a step, beside training", true, false}, true},
      {"view_seconds", {"making views", "s a step, beside training", true, false}, true},
  }};
  return kKeys;
}

std::set<std::string> keys_of_method(Runs runs) {
  std::set<std::string> keys;
  for (const Run& run : runs) {
    for (const auto& [key, series] : run.series) keys.insert(key);
  }
  for (const char* other : {"epoch", "seconds", "memory_bytes", "device_memory_bytes"}) keys.erase(other);
  for (const StepKey& known : known_keys()) keys.erase(known.key);
  return keys;
}

/// Of what is measured now and then: never smoothed.
std::vector<Curve> marked_curves(Runs runs, const std::string& key) {
  std::vector<Curve> curves = plain_curves(runs, key);
  for (Curve& curve : curves) curve.marked = true;
  return curves;
}

std::string training_charts(Runs runs) {
  std::string charts;
  for (const StepKey& known : known_keys()) {
    charts +=
        chart(known.axis, known.smooth ? smoothed_curves(runs, known.key) : plain_curves(runs, known.key));
  }
  for (const std::string& key : keys_of_method(runs)) {
    charts += chart({key, "", false, key.ends_with("accuracy")},
                    key.starts_with("features: ") ? marked_curves(runs, key) : smoothed_curves(runs, key));
  }
  if (charts.empty()) return "";
  return "<h2>Training</h2>\n" + legend(runs) + "<div class=\"charts\">\n" + charts + "</div>\n";
}

std::vector<Curve> score_curves(Runs runs, const Split& split, const std::string& score) {
  std::vector<Curve> curves;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Curve curve{runs[i].name, i, {}, false, true};
    for (const Evaluation& evaluation : runs[i].evaluations) {
      const Score* found = evaluation.split == split ? evaluation.find(score) : nullptr;
      if (found == nullptr || std::isnan(found->value)) continue;
      curve.points.emplace_back(static_cast<double>(evaluation.step), found->value);
    }
    if (!curve.points.empty()) curves.push_back(std::move(curve));
  }
  return curves;
}

/// The first scores of the first run that was evaluated on the split.
std::vector<Score> charted_scores(Runs runs, const Split& split) {
  for (const Run& run : runs) {
    const Evaluation* last = run.last(split);
    if (last == nullptr) continue;
    std::vector<Score> scores = last->scores;
    scores.resize(std::min(scores.size(), kFirstScores));
    return scores;
  }
  return {};
}

/// Only where some run was evaluated more than once: a single point is in the table.
std::string evaluation_charts(Runs runs) {
  std::string charts;
  for (const Split& split : splits_of(runs)) {
    for (const Score& score : charted_scores(runs, split)) {
      const std::vector<Curve> curves = score_curves(runs, split, score.name);
      const bool has_curve =
          std::any_of(curves.begin(), curves.end(), [](const Curve& c) { return c.points.size() > 1; });
      const std::string where = "on " + split.name + (score.unit.empty() ? "" : ", " + score.unit);
      if (has_curve)
        charts += chart({shown_name(score.name) + arrow(score), where, false, is_percentage(score)}, curves);
    }
  }
  if (charts.empty()) return "";
  return "<h2>Evaluations during training</h2>\n" + legend(runs) + "<div class=\"charts\">\n" + charts +
         "</div>\n";
}

std::string views(Runs runs) {
  std::string html;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].views.empty()) continue;
    html += fmt::format(
        "<section class=\"card explained\"><h3>{}{}</h3>{}</section>\n", swatch(i), escaped(runs[i].name),
        data_image(runs[i].views,
                   "a line for each image; for each view what it shows, and what the model got"));
  }
  if (html.empty()) return "";
  return "<h2>Views</h2>\n<p>The first images when training last started: a line for each image; for each "
         "view what it "
         "shows, and beside it what the model got: normalised, black is -2, white 2.</p>\n<div "
         "class=\"charts\">\n" +
         html + "</div>\n";
}

std::string pictures(Runs runs) {
  std::string html;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].pictures.empty()) continue;
    html += fmt::format("<section class=\"card explained\"><h3>{}{}</h3><p>{}</p>{}</section>\n", swatch(i),
                        escaped(runs[i].name), escaped(runs[i].pictures_caption),
                        data_image(runs[i].pictures, runs[i].pictures_caption));
  }
  if (html.empty()) return "";
  return "<h2>What the method makes of images</h2>\n<div class=\"charts\">\n" + html + "</div>\n";
}

std::string embeddings(Runs runs) {
  std::string html;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!runs[i].embedding) continue;
    html += fmt::format("<h3>{}{}: split {}, {} images, perplexity {:g}</h3>\n", swatch(i),
                        escaped(runs[i].name), escaped(runs[i].embedding->split),
                        runs[i].embedding->t_sne.size(), runs[i].embedding->perplexity);
    html += embedding_html(*runs[i].embedding);
  }
  if (html.empty()) return "";
  return "<h2>Images laid out by their features</h2>\n<p>Near each other: alike to the model. Axes of t-SNE "
         "have no "
         "unit.</p>\n" +
         html;
}

std::string explanations(Runs runs) {
  std::string html;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!runs[i].explanation) continue;
    html += fmt::format("<h3>{}{}: split {}</h3>\n", swatch(i), escaped(runs[i].name),
                        escaped(runs[i].explanation->split));
    html += explanation_html(*runs[i].explanation);
  }
  if (html.empty()) return "";
  return "<h2>What the model looks at</h2>\n<p>Bright: much. Rollout: attention through all blocks; "
         "attention, heads: of "
         "what answers in the last block; saliency: ViT-ReciproCAM, of residual networks Recipro-CAM.</p>\n" +
         html;
}

std::string bad_steps(Runs runs) {
  constexpr std::ptrdiff_t kMost = 50;
  std::string rows;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto& steps = runs[i].bad_steps;
    for (const BadStep& bad :
         std::span(steps).first(static_cast<std::size_t>(std::min(std::ssize(steps), kMost)))) {
      rows += fmt::format(
          "<tr><td class=\"left run\"><span>{}{}</span></td><td class=\"left\">{}</td><td class=\"left\">{}"
          "</td><td class=\"left\">{}</td></tr>\n",
          swatch(i), escaped(runs[i].name), escaped(bad.what), escaped(bad.cause), escaped(bad.action));
    }
    if (std::ssize(steps) > kMost)
      rows +=
          fmt::format("<tr><td></td><td class=\"left\">and {} more</td></tr>\n", std::ssize(steps) - kMost);
  }
  if (rows.empty()) return "";
  return "<h2>Bad steps</h2>\n<section class=\"card\"><table><thead><tr><th class=\"left\">run</th><th "
         "class=\"left\">what</th><th class=\"left\">cause</th><th class=\"left\">then</th></tr></thead>"
         "<tbody>\n" +
         rows + "</tbody></table></section>\n";
}

std::string rank_tables(Runs runs) {
  std::string html;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!runs[i].rank_times || runs[i].rank_times->hosts.size() < 2) continue;
    html += fmt::format("<h3>{}{}</h3>\n", swatch(i), escaped(runs[i].name)) +
            rank_times_html(*runs[i].rank_times);
  }
  return html.empty() ? "" : "<h2>Ranks</h2>\n" + html;
}

std::string value_in(const Run& run, const std::string& key) {
  const auto found = run.config.find(key);
  return found == run.config.end() ? "–" : found->second;
}

std::string config_difference(Runs runs) {
  std::set<std::string> keys;
  for (const Run& run : runs) {
    for (const auto& [key, value] : run.config) keys.insert(key);
  }
  std::string rows;
  for (const std::string& key : keys) {
    const std::string first = value_in(runs.front(), key);
    if (std::all_of(runs.begin(), runs.end(), [&](const Run& run) { return value_in(run, key) == first; }))
      continue;
    rows += fmt::format("<tr><td class=\"left\">{}</td>", escaped(key));
    for (const Run& run : runs)
      rows += fmt::format("<td class=\"differs\">{}</td>", escaped(value_in(run, key)));
    rows += "</tr>\n";
  }
  if (rows.empty()) return "<p>The configurations are equal.</p>\n";
  std::string html =
      "<section class=\"card\"><h3>What differs</h3><table><thead><tr><th class=\"left\">key</th>";
  for (const Run& run : runs) html += fmt::format("<th class=\"left\">{}</th>", escaped(run.name));
  return html + "</tr></thead><tbody>\n" + rows + "</tbody></table></section>\n";
}

std::string configurations(Runs runs) {
  std::string html = "<h2>Configuration</h2>\n";
  if (runs.size() > 1) html += config_difference(runs);
  for (const Run& run : runs) {
    html += fmt::format("<details><summary>{}</summary><pre>{}</pre></details>\n", escaped(run.name),
                        escaped(run.config_text));
  }
  return html;
}

std::string title_of(Runs runs) {
  if (runs.size() == 1) return runs.front().name;
  std::string title;
  for (const Run& run : runs) title += (title.empty() ? "" : " · ") + run.name;
  return title;
}

std::string page(Runs runs) {
  const std::string title = escaped(title_of(runs));
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n";
  html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
  html += fmt::format("<title>{} – Cohort report</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n",
                      title, style_sheet());
  html += fmt::format("<h1>{}</h1>\n<p>Cohort report of {} {}</p>\n", title, runs.size(),
                      runs.size() == 1 ? "run" : "runs");
  html += tiles(runs) + scores(runs) + unscored(runs) + training_charts(runs) + views(runs) + pictures(runs) +
          evaluation_charts(runs) + context_sections(runs) + class_sections(runs) + curve_sections(runs) +
          confusions(runs) + case_sections(runs) + bad_steps(runs) + explanations(runs) + embeddings(runs) +
          rank_tables(runs) + configurations(runs);
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace

void write_html(std::span<const std::filesystem::path> folders, const std::filesystem::path& output,
                const PictureOf& picture_of) {
  std::vector<Run> runs = read_runs(folders);
  if (picture_of) add_case_pictures(runs, folders, picture_of);
  write_file_atomically(output, page(runs));
}

}  // namespace cohort::report

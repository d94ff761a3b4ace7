#include "study_table.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/text.h"

namespace cohort::jobs {
namespace {

using Texts = std::vector<std::string>;
using Column = std::pair<std::size_t, StudyMode>;  // a task and a mode

RunsInterval interval_of(const GroupResult& result) {
  std::vector<double> values;
  for (const auto& [place, value] : result.scores) values.push_back(value);
  return runs_interval(values);
}

std::int64_t planned_runs(const Study& study) {
  return study.runs * std::max<std::int64_t>(1, study.folds);
}

const GroupResult* result_of(const std::vector<GroupResult>& results, std::size_t encoder,
                             const Column& column) {
  for (const GroupResult& result : results) {
    const StudyGroup& group = result.group;
    if (group.encoder == encoder && group.task == column.first && group.mode == column.second) return &result;
  }
  return nullptr;
}

std::vector<Column> columns_of(const Study& study) {
  std::vector<Column> columns;
  for (std::size_t task = 0; task < study.tasks.size(); ++task) {
    for (const StudyMode mode : study.modes) columns.emplace_back(task, mode);
  }
  return columns;
}

/// Of the encoder with the best mean; nothing: no run has ended.
std::optional<std::size_t> best_encoder(const Study& study, const std::vector<GroupResult>& results,
                                        const Column& column) {
  std::optional<std::size_t> best;
  double best_mean = 0.0;
  for (std::size_t encoder = 0; encoder < study.encoders.size(); ++encoder) {
    const GroupResult* result = result_of(results, encoder, column);
    if (result == nullptr || result->scores.empty()) continue;
    const double mean = interval_of(*result).mean;
    if (best && (result->lower_is_better ? mean >= best_mean : mean <= best_mean)) continue;
    best = encoder;
    best_mean = mean;
  }
  return best;
}

/// "0.912 ± 0.004"; `sign`: "+" for differences.
std::string interval_text(const RunsInterval& interval, const std::string& plus_minus, bool is_signed) {
  if (interval.runs == 0) return "–";
  const std::string mean =
      is_signed ? fmt::format("{:+.4f}", interval.mean) : fmt::format("{:.4f}", interval.mean);
  if (interval.runs == 1) return mean;
  return fmt::format("{} {} {:.4f}", mean, plus_minus, interval.half_width);
}

std::string csv_number(double value) {
  return std::isfinite(value) ? fmt::format("{:.9g}", value) : "";
}

/// In quotes where the format asks for them.
std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char letter : text) quoted += letter == '"' ? "\"\"" : std::string(1, letter);
  return quoted + "\"";
}

std::string csv_line(const Texts& cells) {
  Texts quoted;
  for (const std::string& cell : cells) quoted.push_back(csv_text(cell));
  return join(quoted, ",") + "\n";
}

std::string markdown_line(Texts cells) {
  for (std::string& cell : cells) {
    for (std::size_t at = 0; (at = cell.find('|', at)) != std::string::npos; at += 2) cell.insert(at, "\\");
  }
  return "| " + join(cells, " | ") + " |\n";
}

std::string markdown_table(const Texts& heading, const std::vector<Texts>& lines) {
  std::string text = markdown_line(heading) + markdown_line(Texts(heading.size(), "---"));
  for (const Texts& line : lines) text += markdown_line(line);
  return text;
}

std::string latex_text(const std::string& text) {
  std::string escaped;
  for (const char letter : text) {
    if (std::string_view("&%$#_{}").find(letter) != std::string_view::npos) escaped += '\\';
    if (letter == '\\') {
      escaped += "\\textbackslash{}";
    } else if (letter == '~' || letter == '^') {
      escaped += fmt::format("\\{}{{}}", letter);
    } else {
      escaped += letter;
    }
  }
  return escaped;
}

std::string contexts_text(const StudyEncoder& encoder) {
  return encoder.contexts.empty() ? "none" : encoder.contexts;
}

/// "nuclei, frozen (test/auc)".
std::string column_text(const Study& study, const Column& column) {
  const StudyTask& task = study.tasks[column.first];
  return fmt::format("{}, {} ({})", task.name, mode_name(column.second), task.score);
}

/// Cells of the table of scores, `emphasised` where they are the best of their column.
template <class Emphasise>
std::vector<Texts> score_lines(const Study& study, const std::vector<GroupResult>& results,
                               const std::string& plus_minus, const Emphasise& emphasised) {
  std::vector<Texts> lines;
  for (std::size_t encoder = 0; encoder < study.encoders.size(); ++encoder) {
    Texts& cells =
        lines.emplace_back(Texts{study.encoders[encoder].name, contexts_text(study.encoders[encoder])});
    for (const Column& column : columns_of(study)) {
      const GroupResult* result = result_of(results, encoder, column);
      const std::string text =
          interval_text(result == nullptr ? RunsInterval{} : interval_of(*result), plus_minus, false);
      cells.push_back(best_encoder(study, results, column) == encoder ? emphasised(text) : text);
    }
  }
  return lines;
}

std::string differences_text(const Study& study, const std::vector<GroupResult>& results) {
  std::vector<Texts> lines;
  for (const Difference& each : differences_of(study, results)) {
    lines.push_back({study.encoders[each.first].name + " − " + study.encoders[each.second].name,
                     column_text(study, {each.task, each.mode}), fmt::format("{}", each.interval.runs),
                     interval_text(each.interval, "±", true) + (each.is_clear() ? " *" : "")});
  }
  if (lines.empty()) return "";
  return "\n" + markdown_table({"difference", "task", "runs", "mean"}, lines) +
         "\nDifferences of runs with the same seed and fold. * beyond the interval.\n";
}

std::string rates_text(const Study& study, const std::vector<GroupResult>& results) {
  std::string text;
  for (const GroupResult& result : results) {
    if (!result.rate.empty())
      text += fmt::format("- {}: learning rate {}\n", group_name(study, result.group), result.rate);
  }
  return text.empty() ? "" : "\nChosen by the search:\n\n" + text;
}

std::string missing_text(const Study& study, const std::vector<GroupResult>& results) {
  std::string text;
  for (const GroupResult& result : results) {
    if (std::ssize(result.scores) < planned_runs(study))
      text += fmt::format("- {}: {} of {} runs\n", group_name(study, result.group), result.scores.size(),
                          planned_runs(study));
  }
  return text.empty() ? "" : "\nNot all runs have a score:\n\n" + text;
}

}  // namespace

bool Difference::is_clear() const {
  return interval.runs > 1 && std::abs(interval.mean) > interval.half_width;
}

std::vector<Difference> differences_of(const Study& study, const std::vector<GroupResult>& results) {
  std::vector<Difference> differences;
  for (const Column& column : columns_of(study)) {
    for (std::size_t a = 0; a < study.encoders.size(); ++a) {
      for (std::size_t b = a + 1; b < study.encoders.size(); ++b) {
        const GroupResult *first = result_of(results, a, column), *second = result_of(results, b, column);
        if (first == nullptr || second == nullptr) continue;
        std::vector<double> values;
        for (const auto& [place, value] : first->scores) {
          const auto partner = second->scores.find(place);
          if (partner != second->scores.end()) values.push_back(value - partner->second);
        }
        if (!values.empty())
          differences.push_back({column.first, column.second, a, b, runs_interval(values)});
      }
    }
  }
  return differences;
}

std::string scores_csv(const Study& study, const std::vector<GroupResult>& results) {
  std::string text = csv_line(
      {"task", "mode", "encoder", "contexts", "score", "rate", "runs", "mean", "deviation", "half_width"});
  for (const GroupResult& result : results) {
    const StudyEncoder& encoder = study.encoders[result.group.encoder];
    const StudyTask& task = study.tasks[result.group.task];
    const RunsInterval interval = interval_of(result);
    text += csv_line({task.name, mode_name(result.group.mode), encoder.name, encoder.contexts, task.score,
                      result.rate, fmt::format("{}", interval.runs), csv_number(interval.mean),
                      csv_number(interval.deviation), csv_number(interval.half_width)});
  }
  return text;
}

std::string differences_csv(const Study& study, const std::vector<GroupResult>& results) {
  std::string text = csv_line(
      {"task", "mode", "first", "second", "score", "runs", "mean", "deviation", "half_width", "beyond"});
  for (const Difference& each : differences_of(study, results)) {
    const StudyTask& task = study.tasks[each.task];
    text += csv_line({task.name, mode_name(each.mode), study.encoders[each.first].name,
                      study.encoders[each.second].name, task.score, fmt::format("{}", each.interval.runs),
                      csv_number(each.interval.mean), csv_number(each.interval.deviation),
                      csv_number(each.interval.half_width), each.is_clear() ? "yes" : "no"});
  }
  return text;
}

std::string study_markdown(const Study& study, const std::vector<GroupResult>& results) {
  Texts heading{"encoder", "contexts"};
  for (const Column& column : columns_of(study)) heading.push_back(column_text(study, column));
  const auto lines =
      score_lines(study, results, "±", [](const std::string& text) { return "**" + text + "**"; });
  return markdown_table(heading, lines) +
         fmt::format("\nMean ± 1.96 s/√n over {} runs{}.\n", study.runs,
                     study.folds > 0 ? fmt::format(" of each of {} folds", study.folds) : "") +
         differences_text(study, results) + rates_text(study, results) + missing_text(study, results);
}

std::string study_latex(const Study& study, const std::vector<GroupResult>& results) {
  Texts heading{"encoder", "contexts"};
  for (const Column& column : columns_of(study)) heading.push_back(latex_text(column_text(study, column)));
  std::string text = fmt::format("\\begin{{tabular}}{{ll{}}}\n\\toprule\n{} \\\\\n\\midrule\n",
                                 std::string(heading.size() - 2, 'c'), join(heading, " & "));
  for (Texts& cells : score_lines(study, results, "$\\pm$",
                                  [](const std::string& cell) { return "\\textbf{" + cell + "}"; })) {
    for (std::size_t i = 0; i < 2; ++i) cells[i] = latex_text(cells[i]);
    for (std::string& cell : cells) {
      if (cell == "–") cell = "--";
    }
    text += join(cells, " & ") + " \\\\\n";
  }
  return text + "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace cohort::jobs

#include "scores.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "cohort/core/printable.h"
#include "cohort/core/text.h"

namespace cohort::report {
namespace {

constexpr const char* kNothing = "–";

/// Words of names that are not written in small letters.
constexpr std::array<std::pair<std::string_view, std::string_view>, 20> kWords{
    {{"ap", "AP"},   {"auc", "AUC"},   {"auroc", "AUROC"}, {"dice", "Dice"}, {"eer", "EER"},
     {"f", "F"},     {"f1", "F1"},     {"fpr", "FPR"},     {"froc", "fROC"}, {"hter", "HTER"},
     {"iou", "IoU"}, {"mae", "MAE"},   {"map", "mAP"},     {"mma", "MMA"},   {"psnr", "PSNR"},
     {"r2", "R²"},   {"rmse", "RMSE"}, {"roc", "ROC"},     {"ssim", "SSIM"}, {"tpr", "TPR"}}};

std::string shown_word(std::string_view word) {
  const auto found =
      std::find_if(kWords.begin(), kWords.end(), [&](const auto& known) { return known.first == word; });
  return std::string(found == kWords.end() ? word : found->second);
}

/// Digits behind the point: three of numbers below 10.
int digits_of(double value) {
  return std::abs(value) < 10 ? 3 : std::abs(value) < 100 ? 2 : 1;
}

std::string plain(double value, int digits) {
  return std::abs(value) < 1e7 ? fmt::format("{:.{}f}", value, digits) : fmt::format("{:.3e}", value);
}

std::string speed_text(const Run& run) {
  const auto speed = run.images_per_second();
  return speed && std::isfinite(*speed) ? format_count(std::llround(*speed)) : kNothing;
}

/// The last value of a series, with so many digits behind the point.
std::string last_text(const Run& run, const std::string& key, int digits) {
  const auto found = run.series.find(key);
  if (found == run.series.end() || found->second.empty()) return kNothing;
  return fmt::format("{:.{}f}", found->second.back().second, digits);
}

std::string method_of(const Run& run) {
  const auto found = run.config.find("method");
  return found == run.config.end() ? kNothing : found->second;
}

/// What a run has in a column. Null: nothing that is compared.
struct Entry {
  Cell cell;
  const Score* score = nullptr;
};

/// A column of the table.
struct Column {
  std::string title;
  std::function<Entry(const Run&, const Evaluation&)> of;
};

Entry text_entry(std::string text) {
  return {{std::move(text)}, nullptr};
}

const Score* compared(const Score& score) {
  return std::isnan(score.value) ? nullptr : &score;
}

Column score_column(const Score& score) {
  return {shown_title(score), [name = score.name](const Run&, const Evaluation& evaluation) {
            const Score* found = evaluation.find(name);
            if (found == nullptr) return text_entry(kNothing);
            return Entry{{shown_value(*found), false, shown_range(*found)}, compared(*found)};
          }};
}

Column worst_column(const Score& first) {
  return {"worst context" + arrow(first), [](const Run&, const Evaluation& evaluation) {
            const Group* worst = evaluation.worst();
            if (worst == nullptr) return text_entry(kNothing);
            const Score& score = worst->scores.front();
            return Entry{{printable_name(worst->name) + " " + shown_value(score)}, &score};
          }};
}

/// What is looked at first stands to the left: a narrow terminal leaves out what is to the right.
std::vector<Column> columns_of(std::span<const Evaluation* const> evaluations) {
  const std::vector<Score> scores = scores_of(evaluations);
  const auto any = [&](const auto& has) { return std::any_of(evaluations.begin(), evaluations.end(), has); };
  std::vector<Column> columns{{"images", [](const Run&, const Evaluation& evaluation) {
                                 return text_entry(format_count(evaluation.images));
                               }}};
  for (std::size_t i = 0; i < std::min(scores.size(), kFirstScores); ++i)
    columns.push_back(score_column(scores[i]));
  if (any([](const Evaluation* evaluation) { return !std::isnan(evaluation->majority); }))
    columns.push_back({"majority class", [](const Run&, const Evaluation& evaluation) {
                         return text_entry(percent(evaluation.majority));
                       }});
  if (any([](const Evaluation* evaluation) { return evaluation->worst() != nullptr; }))
    columns.push_back(worst_column(scores.empty() ? Score{} : scores.front()));
  for (std::size_t i = kFirstScores; i < scores.size(); ++i) columns.push_back(score_column(scores[i]));
  columns.push_back(
      {"images/s, all ranks", [](const Run& run, const Evaluation&) { return text_entry(speed_text(run)); }});
  return columns;
}

/// Entries of a column within a split. Values that print alike are equally good.
void mark_best(std::span<Entry*> entries) {
  const Entry* best = nullptr;
  std::size_t count = 0;
  for (const Entry* entry : entries) {
    if (entry->score == nullptr) continue;
    ++count;
    if (best == nullptr || is_worse(*best->score, *entry->score)) best = entry;
  }
  if (count < 2) return;
  for (Entry* entry : entries)
    entry->cell.best = entry->score != nullptr && shown_value(*entry->score) == shown_value(*best->score);
}

ScoreTable table_of(std::span<const Run> runs, const std::string& task) {
  const auto evaluations = last_evaluations(runs, task);
  std::vector<const Evaluation*> alone;
  for (const auto& [run, evaluation] : evaluations) alone.push_back(evaluation);
  const std::vector<Column> columns = columns_of(alone);
  ScoreTable table{task, {}, {}};
  for (const auto& [run, evaluation] : evaluations)
    table.rows.push_back({evaluation->split.name, run, std::vector<Cell>(columns.size())});
  for (std::size_t c = 0; c < columns.size(); ++c) {
    table.columns.push_back(columns[c].title);
    std::vector<Entry> entries;
    for (const auto& [run, evaluation] : evaluations)
      entries.push_back(columns[c].of(runs[run], *evaluation));
    for (std::size_t begin = 0, end = 0; begin < entries.size(); begin = end) {
      std::vector<Entry*> of_split;
      for (; end < entries.size() && table.rows[end].split == table.rows[begin].split; ++end)
        of_split.push_back(&entries[end]);
      mark_best(of_split);
    }
    for (std::size_t i = 0; i < entries.size(); ++i) table.rows[i].cells[c] = std::move(entries[i].cell);
  }
  return table;
}

}  // namespace

bool is_worse(const Score& a, const Score& b) {
  return a.higher_is_better ? a.value < b.value : a.value > b.value;
}

std::string arrow(const Score& score) {
  return score.higher_is_better ? " ↑" : " ↓";
}

std::string shown_name(std::string_view name) {
  std::string shown;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('_', begin), name.size());
    shown += (begin == 0 ? "" : " ") + shown_word(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return shown;
}

std::string shown_title(const Score& score) {
  return shown_name(score.name) + arrow(score) + (score.unit.empty() ? "" : ", " + score.unit);
}

bool is_percentage(const Score& score) {
  return score.unit.empty() && score.name.ends_with("accuracy");
}

std::string shown_value(const Score& score) {
  if (is_percentage(score)) return percent(score.value);
  return std::isnan(score.value) ? kNothing : plain(score.value, digits_of(score.value));
}

std::string shown_range(const Score& score) {
  if (!score.range) return "";
  if (is_percentage(score))
    return fmt::format("{:.1f} … {:.1f}", 100 * score.range->low, 100 * score.range->high);
  const int digits = digits_of(score.value);
  return plain(score.range->low, digits) + " … " + plain(score.range->high, digits);
}

Heading heading_of(const std::string& title) {
  Heading heading{title, ""};
  std::size_t least = display_width(title);
  for (std::size_t at = title.find(' '); at != std::string::npos; at = title.find(' ', at + 1)) {
    const Heading parted{title.substr(0, at), title.substr(at + 1)};
    const std::size_t width = std::max(display_width(parted[0]), display_width(parted[1]));
    if (width >= least || parted[1].starts_with("↑") || parted[1].starts_with("↓")) continue;
    heading = parted;
    least = width;
  }
  if (heading[0].ends_with(',')) heading[0].pop_back();
  return heading;
}

std::vector<Score> scores_of(std::span<const Evaluation* const> evaluations) {
  std::vector<Score> scores;
  for (const Evaluation* evaluation : evaluations) {
    for (const Score& score : evaluation->scores) {
      const bool is_known = std::any_of(scores.begin(), scores.end(),
                                        [&](const Score& known) { return known.name == score.name; });
      if (!is_known) scores.push_back(score);
    }
  }
  return scores;
}

std::vector<std::string> tasks_of(std::span<const Run> runs) {
  std::vector<std::string> tasks;
  for (const Split& split : splits_of(runs))
    if (std::find(tasks.begin(), tasks.end(), split.task) == tasks.end()) tasks.push_back(split.task);
  return tasks;
}

std::vector<Split> splits_of(std::span<const Run> runs, const std::string& task) {
  std::vector<Split> splits = splits_of(runs);
  std::erase_if(splits, [&](const Split& split) { return split.task != task; });
  return splits;
}

std::vector<std::pair<std::size_t, const Evaluation*>> last_evaluations(std::span<const Run> runs,
                                                                        const std::string& task) {
  std::vector<std::pair<std::size_t, const Evaluation*>> evaluations;
  for (const Split& split : splits_of(runs, task)) {
    for (std::size_t i = 0; i < runs.size(); ++i)
      if (const Evaluation* last = runs[i].last(split)) evaluations.emplace_back(i, last);
  }
  return evaluations;
}

std::vector<ScoreTable> score_tables(std::span<const Run> runs) {
  std::vector<ScoreTable> tables;
  for (const std::string& task : tasks_of(runs)) tables.push_back(table_of(runs, task));
  return tables;
}

std::span<const Heading> unscored_columns() {
  static const std::array<Heading, 6> kColumns{{{"method", ""},
                                                {"steps", ""},
                                                {"last training", "loss"},
                                                {"deviation", "of features"},
                                                {"effective rank", "of features"},
                                                {"images/s", "all ranks"}}};
  return kColumns;
}

std::vector<UnscoredRow> unscored_rows(std::span<const Run> runs) {
  std::vector<UnscoredRow> rows;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Run& run = runs[i];
    if (!run.evaluations.empty()) continue;
    rows.push_back({i,
                    {method_of(run), format_count(run.steps()), last_text(run, "loss", 4),
                     last_text(run, "features: deviation", 4), last_text(run, "features: effective_rank", 1),
                     speed_text(run)}});
  }
  return rows;
}

std::string percent(double fraction) {
  return std::isnan(fraction) ? kNothing : fmt::format("{:.1f} %", 100.0 * fraction);
}

}  // namespace cohort::report

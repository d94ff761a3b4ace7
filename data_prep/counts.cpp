#include "data_prep/counts.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/printable.h"
#include "cohort/core/text.h"

namespace cohort::data_prep {
namespace {

constexpr std::size_t kMostContexts = 16, kMostClasses = 8;  // that are shown of a key or label with more

using Counts = std::vector<std::int64_t>;
using TableLine = std::vector<std::string>;

/// Indices by falling count, equal ones in their order.
std::vector<std::size_t> by_size(const Counts& counts) {
  std::vector<std::size_t> order(counts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return counts[a] > counts[b]; });
  return order;
}

/// A column of the table: a class of a label.
struct ClassColumn {
  std::size_t label;
  std::int32_t index;
};

/// All classes of a label, or the most frequent ones in their order.
void add_columns(const data::Description& description, std::span<const data::Row> rows, std::size_t label,
                 bool all, std::vector<ClassColumn>& columns) {
  Counts counts(description.labels[label].classes.size());
  for (const data::Row& row : rows) {
    if (row.labels[label] >= 0) ++counts[static_cast<std::size_t>(row.labels[label])];
  }
  std::vector<std::size_t> shown = by_size(counts);
  if (!all && shown.size() > kMostClasses) shown.resize(kMostClasses);
  std::sort(shown.begin(), shown.end());
  for (const std::size_t index : shown) columns.push_back({label, static_cast<std::int32_t>(index)});
}

/// Lines of a split that count images, each for a value of a context key.
class ContextLines {
 public:
  ContextLines(std::size_t key, const Counts& images, bool all) : key_(key), line_of_(images.size(), -1) {
    std::vector<std::size_t> order = by_size(images);
    order.erase(std::find_if(order.begin(), order.end(), [&](std::size_t i) { return images[i] == 0; }),
                order.end());
    if (!all && order.size() > kMostContexts) {
      constexpr auto kHalf = static_cast<std::ptrdiff_t>(kMostContexts / 2);
      const auto first = order.begin() + kHalf, last = order.end() - kHalf;
      left_out_ = static_cast<std::size_t>(last - first);
      least_ = images[*(last - 1)], most_ = images[*first];
      order.erase(first, last);
    } else {
      std::sort(order.begin(), order.end());
    }
    values_ = std::move(order);
    for (std::size_t line = 0; line < values_.size(); ++line)
      line_of_[values_[line]] = static_cast<std::int32_t>(line);
  }

  [[nodiscard]] const std::vector<std::size_t>& values() const noexcept { return values_; }
  /// -1: the row's value is not shown.
  [[nodiscard]] std::int32_t line_of(const data::Row& row) const {
    return line_of_[static_cast<std::size_t>(row.contexts[key_])];
  }
  /// What stands in the middle of lines that were cut; empty: they were not.
  [[nodiscard]] std::string gap() const {
    if (left_out_ == 0) return "";
    return fmt::format("… {} more of {} to {} images each",
                       format_count(static_cast<std::int64_t>(left_out_)), format_count(least_),
                       format_count(most_));
  }
  [[nodiscard]] bool is_gap(std::size_t line) const { return left_out_ > 0 && line == kMostContexts / 2; }

 private:
  std::size_t key_;
  std::vector<std::size_t> values_;
  std::vector<std::int32_t> line_of_;
  std::size_t left_out_ = 0;
  std::int64_t least_ = 0, most_ = 0;
};

class CountTable {
 public:
  CountTable(const data::Description& description, std::span<const data::Row> rows, bool all)
      : description_(description), rows_(rows), all_(all) {
    for (std::size_t label = 0; label < description.labels.size(); ++label)
      add_columns(description, rows, label, all, columns_);
    lines_.push_back(heading());
    for (std::size_t split = 0; split < description.splits.size(); ++split) add_split(split);
  }

  /// Takes columns of classes away from the right until `columns` are enough; how many.
  std::size_t fit(std::size_t columns) {
    const std::size_t before = lines_.front().size();
    while (lines_.front().size() > 3 && columns_of(widths()) > columns) {
      const std::size_t last = lines_.front().size() - 1;
      for (TableLine& line : lines_) line.resize(std::min(line.size(), last));
    }
    return before - lines_.front().size();
  }

  [[nodiscard]] std::string text() const {
    const std::vector<std::size_t> widths = this->widths();
    std::string text;
    for (const TableLine& line : lines_) {
      for (std::size_t i = 0; i < line.size(); ++i) {
        const bool is_last_name = line.size() == 2 && i == 1;
        if (i > 0) text += "  ";
        text += is_last_name ? line[i]
                : i < 2      ? left_aligned(line[i], widths[i])
                             : right_aligned(line[i], widths[i]);
      }
      text += "\n";
    }
    for (const data::LabelColumn& label : description_.labels) {
      const bool is_cut = !all_ && label.classes.size() > kMostClasses;
      if (is_cut)
        text += fmt::format("{}: the {} largest of {} classes\n", printable_name(label.name), kMostClasses,
                            format_count(std::ssize(label.classes)));
    }
    return text;
  }

 private:
  [[nodiscard]] static std::size_t columns_of(const std::vector<std::size_t>& widths) {
    return std::accumulate(widths.begin(), widths.end(), 2 * (widths.size() - 1));
  }

  /// Of the columns. What stands in the middle of cut lines takes the room of several.
  [[nodiscard]] std::vector<std::size_t> widths() const {
    std::vector<std::size_t> widths(lines_.front().size(), 8);
    widths[0] = 5, widths[1] = 7;
    for (const TableLine& line : lines_) {
      for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], display_width(line[i]));
    }
    return widths;
  }

  [[nodiscard]] TableLine heading() const {
    TableLine line{"split", "context", "images"};
    for (const ClassColumn& column : columns_) {
      const data::LabelColumn& label = description_.labels[column.label];
      line.push_back(printable_name(
          fmt::format("{}={}", label.name, label.classes[static_cast<std::size_t>(column.index)])));
    }
    return line;
  }

  void count(const data::Row& row, Counts& counts) const {
    ++counts[0];
    for (std::size_t i = 0; i < columns_.size(); ++i)
      counts[i + 1] += row.labels[columns_[i].label] == columns_[i].index ? 1 : 0;
  }

  void add_line(std::size_t split, const std::string& context, const Counts& counts) {
    TableLine line{printable_name(description_.splits[split].name), printable_name(context)};
    for (const std::int64_t number : counts) line.push_back(format_count(number));
    lines_.push_back(std::move(line));
  }

  template <class Action>
  void for_rows_of(std::size_t split, const Action& action) const {
    for (const data::Row& row : rows_) {
      if (row.split == static_cast<std::int32_t>(split)) action(row);
    }
  }

  /// The whole of it, then the values of each context key that it has images of.
  void add_split(std::size_t split) {
    Counts all(columns_.size() + 1);
    for_rows_of(split, [&](const data::Row& row) { count(row, all); });
    add_line(split, "all", all);
    for (std::size_t key = 0; key < description_.contexts.size(); ++key) add_contexts(split, key);
  }

  void add_contexts(std::size_t split, std::size_t key) {
    const data::ContextColumn& context = description_.contexts[key];
    Counts images(context.values.size());
    for_rows_of(split, [&](const data::Row& row) { ++images[static_cast<std::size_t>(row.contexts[key])]; });
    const ContextLines shown(key, images, all_);
    std::vector<Counts> counts(shown.values().size(), Counts(columns_.size() + 1));
    for_rows_of(split, [&](const data::Row& row) {
      if (const std::int32_t line = shown.line_of(row); line >= 0)
        count(row, counts[static_cast<std::size_t>(line)]);
    });
    for (std::size_t line = 0; line < counts.size(); ++line) {
      if (shown.is_gap(line))
        lines_.push_back({printable_name(description_.splits[split].name), shown.gap()});
      add_line(split, fmt::format("{}={}", context.name, context.values[shown.values()[line]]), counts[line]);
    }
  }

  const data::Description& description_;
  std::span<const data::Row> rows_;
  bool all_;
  std::vector<ClassColumn> columns_;
  std::vector<TableLine> lines_;
};

}  // namespace

std::string count_table(const data::Description& description, std::span<const data::Row> rows, bool all,
                        std::optional<std::size_t> columns) {
  CountTable table(description, rows, all);
  const std::size_t gone = columns ? table.fit(*columns) : 0;
  if (gone == 0) return table.text();
  return table.text() +
         fmt::format("for a wider terminal, or a file: {} more class{}\n", gone, gone == 1 ? "" : "es");
}

}  // namespace cohort::data_prep

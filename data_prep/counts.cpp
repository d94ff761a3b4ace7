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

/// How many images there are, before it is known which of these numbers are shown.
struct Totals {
  std::vector<Counts> classes;                ///< [labels][classes]
  std::vector<std::vector<Counts>> contexts;  ///< [splits][keys][values]

  Totals(const data::Description& description, const RowsInTurn& rows) {
    for (const auto& label : description.labels) classes.emplace_back(label.classes.size());
    std::vector<Counts> keys;
    for (const auto& context : description.contexts) keys.emplace_back(context.values.size());
    contexts.assign(description.splits.size(), keys);
    rows([&](const CountedRow& row) { add(row); });
  }

 private:
  void add(const CountedRow& row) {
    for (std::size_t label = 0; label < classes.size(); ++label) {
      if (row.labels[label] >= 0) ++classes[label][static_cast<std::size_t>(row.labels[label])];
    }
    auto& keys = contexts[row.split];
    for (std::size_t key = 0; key < keys.size(); ++key)
      ++keys[key][static_cast<std::size_t>(row.contexts[key])];
  }
};

/// All classes of a label, or the most frequent ones in their order.
void add_columns(const Counts& classes, std::size_t label, bool all, std::vector<ClassColumn>& columns) {
  std::vector<std::size_t> shown = by_size(classes);
  if (!all && shown.size() > kMostClasses) shown.resize(kMostClasses);
  std::sort(shown.begin(), shown.end());
  for (const std::size_t index : shown) columns.push_back({label, static_cast<std::int32_t>(index)});
}

/// Lines of a split that count images, each for a value of a context key.
class ContextLines {
 public:
  ContextLines(const Counts& images, bool all) : line_of_(images.size(), -1) {
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
  /// -1: the value is not shown.
  [[nodiscard]] std::int32_t line_of(std::int32_t value) const {
    return line_of_[static_cast<std::size_t>(value)];
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
  std::vector<std::size_t> values_;
  std::vector<std::int32_t> line_of_;
  std::size_t left_out_ = 0;
  std::int64_t least_ = 0, most_ = 0;
};

class CountTable {
 public:
  CountTable(const data::Description& description, const RowsInTurn& rows, bool all)
      : description_(description), all_(all) {
    const Totals totals(description, rows);
    for (std::size_t label = 0; label < description.labels.size(); ++label)
      add_columns(totals.classes[label], label, all, columns_);
    for (const auto& contexts : totals.contexts) splits_.push_back(empty_split(contexts));
    rows([&](const CountedRow& row) { count(row); });
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

  /// The lines of a context key, and what stands in them.
  struct KeyCounts {
    ContextLines lines;
    std::vector<Counts> counts;
  };
  struct SplitCounts {
    Counts all;
    std::vector<KeyCounts> keys;
  };

  [[nodiscard]] SplitCounts empty_split(const std::vector<Counts>& contexts) const {
    const Counts none(columns_.size() + 1);
    SplitCounts split{none, {}};
    for (const Counts& images : contexts) {
      ContextLines lines(images, all_);
      std::vector<Counts> counts(lines.values().size(), none);
      split.keys.push_back({std::move(lines), std::move(counts)});
    }
    return split;
  }

  void add(const CountedRow& row, Counts& counts) const {
    ++counts[0];
    for (std::size_t i = 0; i < columns_.size(); ++i)
      counts[i + 1] += row.labels[columns_[i].label] == columns_[i].index ? 1 : 0;
  }

  void count(const CountedRow& row) {
    SplitCounts& split = splits_[row.split];
    add(row, split.all);
    for (std::size_t key = 0; key < split.keys.size(); ++key) {
      if (const std::int32_t line = split.keys[key].lines.line_of(row.contexts[key]); line >= 0)
        add(row, split.keys[key].counts[static_cast<std::size_t>(line)]);
    }
  }

  void add_line(std::size_t split, const std::string& context, const Counts& counts) {
    TableLine line{printable_name(description_.splits[split].name), printable_name(context)};
    for (const std::int64_t number : counts) line.push_back(format_count(number));
    lines_.push_back(std::move(line));
  }

  /// The whole of it, then the values of each context key that it has images of.
  void add_split(std::size_t split) {
    add_line(split, "all", splits_[split].all);
    for (std::size_t key = 0; key < description_.contexts.size(); ++key)
      add_contexts(split, description_.contexts[key], splits_[split].keys[key]);
  }

  void add_contexts(std::size_t split, const data::ContextColumn& context, const KeyCounts& key) {
    for (std::size_t line = 0; line < key.counts.size(); ++line) {
      if (key.lines.is_gap(line))
        lines_.push_back({printable_name(description_.splits[split].name), key.lines.gap()});
      add_line(split, fmt::format("{}={}", context.name, context.values[key.lines.values()[line]]),
               key.counts[line]);
    }
  }

  const data::Description& description_;
  bool all_;
  std::vector<ClassColumn> columns_;
  std::vector<SplitCounts> splits_;
  std::vector<TableLine> lines_;
};

}  // namespace

std::string count_table(const data::Description& description, const data::RowTable& rows, bool all,
                        std::optional<std::size_t> columns) {
  const auto in_turn = [&](const std::function<void(const CountedRow&)>& visit) {
    for (std::int64_t i = 0; i < rows.size(); ++i) {
      const data::Row row = rows[i];
      visit({static_cast<std::size_t>(row.split), row.labels, row.contexts});
    }
  };
  return count_table(description, in_turn, all, columns);
}

std::string count_table(const data::Description& description, const RowsInTurn& rows, bool all,
                        std::optional<std::size_t> columns) {
  CountTable table(description, rows, all);
  const std::size_t gone = columns ? table.fit(*columns) : 0;
  if (gone == 0) return table.text();
  return table.text() +
         fmt::format("for a wider terminal, or a file: {} more class{}\n", gone, gone == 1 ? "" : "es");
}

}  // namespace cohort::data_prep

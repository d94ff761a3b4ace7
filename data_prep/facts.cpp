#include "data_prep/facts.h"

#include <algorithm>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/checksum.h"
#include "cohort/core/text.h"

namespace cohort::data_prep {

namespace {

/// The lines of a table by the checksum of their key, then as they stand in it.
class KeyedLines {
 public:
  struct Entry {
    std::uint64_t sum = 0;
    std::int64_t line = 0;
  };

  KeyedLines(const LargeTable& table, std::size_t key) : table_(table), key_(key) {
    entries_.reserve(static_cast<std::size_t>(table.rows()));
    for (std::int64_t line = 0; line < table.rows(); ++line)
      entries_.push_back({checksum_of(table.cell(line, key)), line});
    std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
      return a.sum != b.sum ? a.sum < b.sum : a.line < b.line;
    });
  }

  /// The first line with a key; -1: none. Different keys may have one checksum.
  [[nodiscard]] std::int64_t line_of(const std::string& wanted) const {
    const std::uint64_t sum = checksum_of(wanted);
    auto entry = std::lower_bound(entries_.begin(), entries_.end(), sum,
                                  [](const Entry& a, std::uint64_t b) { return a.sum < b; });
    for (; entry != entries_.end() && entry->sum == sum; ++entry) {
      if (table_.cell(entry->line, key_) == wanted) return entry->line;
    }
    return -1;
  }

  /// Lines with the key of an earlier one, rising, and the first one with it.
  [[nodiscard]] std::vector<std::pair<std::int64_t, std::int64_t>> repeated() const {
    std::vector<std::pair<std::int64_t, std::int64_t>> found;
    for (std::size_t i = 1; i < entries_.size(); ++i) {
      if (entries_[i].sum != entries_[i - 1].sum) continue;
      const std::int64_t line = entries_[i].line, first = line_of(table_.cell(line, key_));
      if (first != line) found.emplace_back(line, first);
    }
    std::sort(found.begin(), found.end());
    return found;
  }

 private:
  const LargeTable& table_;
  std::size_t key_;
  std::vector<Entry> entries_;
};

}  // namespace

JoinedTable::JoinedTable(const std::filesystem::path& file, const std::string& key, const Categories& keys,
                         const ColumnOptions& columns, LeftOut& left_out)
    : table_(file) {
  COHORT_CHECK(std::in_range<std::int32_t>(table_.rows()), "{} lines of a table", table_.rows());
  const std::size_t column = table_.column(key, "--key");
  const KeyedLines known(table_, column);
  const std::vector<std::size_t> used = used_columns(columns);
  std::vector<bool> has_image(static_cast<std::size_t>(table_.rows()));
  for (const auto& [line, first] : known.repeated()) {
    check_agreement(first, line, column, used);
    has_image[static_cast<std::size_t>(line)] = true;
  }
  for (std::size_t image = 0; image < keys.size(); ++image) {
    const std::string wanted = keys[image];
    const std::int64_t line = known.line_of(wanted);
    if (line < 0) {
      throw DataError({fmt::format("the table has no line for '{}'", wanted), file.string(),
                       "add it, or name the column that has it with --key"});
    }
    lines_->add(static_cast<std::int32_t>(line));
    has_image[static_cast<std::size_t>(line)] = true;
  }
  tell_unused(has_image, column, left_out);
}

bool JoinedTable::has(const std::string& column) const {
  return std::find(table_.columns().begin(), table_.columns().end(), column) != table_.columns().end();
}

Categories JoinedTable::cells(const std::string& name, const std::string& option) const {
  const std::size_t column = table_.column(name, option);
  return {lines_->size(),
          [=, table = table_, lines = lines_](std::int64_t i) { return table.cell((*lines)[i], column); }};
}

void JoinedTable::check_agreement(std::int64_t first, std::int64_t second, std::size_t key,
                                  const std::vector<std::size_t>& used) const {
  const Line one = table_.line(first), other = table_.line(second);
  for (const std::size_t column : used) {
    if (one.cells[column] == other.cells[column]) continue;
    throw DataError({fmt::format("two lines contradict each other about '{}' in column '{}'", one.cells[key],
                                 table_.columns()[column]),
                     fmt::format("{} and {}", table_.place(first), table_.place(second)),
                     "remove one of them"});
  }
}

void JoinedTable::tell_unused(const std::vector<bool>& has_image, std::size_t key, LeftOut& left_out) const {
  std::vector<std::string> names;
  for (std::int64_t line = 0; line < table_.rows(); ++line) {
    if (!has_image[static_cast<std::size_t>(line)]) names.push_back(table_.cell(line, key));
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) left_out.add("lines of the table without a file", name);
}

std::vector<std::size_t> JoinedTable::used_columns(const ColumnOptions& columns) const {
  std::vector<std::size_t> used;
  const auto add = [&](const std::string& name) {
    if (has(name)) used.push_back(table_.column(name, "--key"));
  };
  for (const std::string& label : columns.labels) add(renamed(label).first);
  for (const std::string& context : columns.contexts) add(renamed(context).first);
  add(columns.split);
  return used;
}

void FactOptions::add_to(CLI::App& command, const std::string& facts) {
  const std::string either = fmt::format("{}, or column of the table,", facts);
  command.add_option("--context,--contexts", columns.contexts, either + " that is a context")
      ->type_name("FACT or FACT=NAME");
  command
      .add_option("--label,--labels", columns.labels, either + " that is a label; an empty text means none")
      ->type_name("FACT or FACT=NAME");
  command.add_option("--split", columns.split, either + " with the splits")->type_name("FACT");
  command.add_option("--table", table, "table that says more of the images")->type_name("FILE");
  command.add_option("--by", by, "fact that joins the table to the images")
      ->capture_default_str()
      ->type_name("FACT");
  command.add_option("--key", key, "the table's column with it (default: the one called like it)")
      ->type_name("COLUMN");
}

std::vector<std::string> wanted_facts(const FactOptions& options, const ConvertOptions& common) {
  std::set<std::string> names{options.by, options.columns.split, common.division.group_by};
  for (const auto* columns : {&options.columns.labels, &options.columns.contexts}) {
    for (const std::string& text : *columns) names.insert(renamed(text).first);
  }
  names.erase("");
  return {names.begin(), names.end()};
}

void read_facts(Source& source, const FactOptions& options, const ConvertOptions& common, const Facts& facts,
                const comm::Communicator& ranks) {
  if (ranks.rank() != 0) return;
  std::optional<JoinedTable> table;
  if (!options.table.empty()) {
    table.emplace(options.table, options.key.empty() ? options.by : options.key, facts(options.by, "--by"),
                  options.columns, source.left_out);
  }
  const auto read = [&](const std::string& name, const std::string& option) -> Categories {
    return table && table->has(name) ? table->cells(name, option) : facts(name, option);
  };
  read_columns(source, options.columns, read);
  read_groups(source, common, read);
}

void check_fact(const std::string& name, const std::vector<std::string>& known, const std::string& option) {
  if (std::find(known.begin(), known.end(), name) != known.end()) return;
  throw UsageError({fmt::format("nothing called '{}' is known of the images", name), option,
                    did_you_mean(name, known) + " Or name a table that has it with --table"});
}

void share_texts(std::int64_t count, comm::Communicator& ranks,
                 const std::function<std::string(std::int64_t index)>& visit,
                 const std::function<void(std::int64_t index, const std::string& text)>& take) {
  const std::int64_t size = ranks.size(), round = 1024 * size;
  for (std::int64_t first = 0; first < count; first += round) {
    const std::int64_t end = std::min(count, first + round);
    nlohmann::json mine = nlohmann::json::array();
    comm::together(ranks, [&] {
      for (std::int64_t i = first + ranks.rank(); i < end; i += size) mine.push_back(visit(i));
    });
    const std::vector<std::string> texts = ranks.gather_texts(mine.dump());
    comm::together(ranks, [&] {
      std::vector<nlohmann::json> all;
      for (const std::string& text : texts) all.push_back(nlohmann::json::parse(text));
      for (std::int64_t i = first; i < end; ++i) {
        const std::int64_t at = i - first;
        take(i, all[static_cast<std::size_t>(at % size)][static_cast<std::size_t>(at / size)]
                    .get_ref<const std::string&>());
      }
    });
  }
}

std::uint64_t checksum_of(const std::string& text) {
  return checksum(std::as_bytes(std::span(text)));
}

}  // namespace cohort::data_prep

#include "data_prep/facts.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/checksum.h"
#include "cohort/core/text.h"

namespace cohort::data_prep {

JoinedTable::JoinedTable(const std::filesystem::path& file, const std::string& key, const Categories& keys,
                         const ColumnOptions& columns, LeftOut& left_out)
    : table_(Table::read(file)) {
  const std::vector<std::string> known = table_.cells(key, "--key");
  std::map<std::string, std::size_t> line_of;
  for (std::size_t i = 0; i < known.size(); ++i) {
    const auto [first, is_new] = line_of.emplace(known[i], i);
    if (!is_new) check_agreement(known[i], first->second, i, columns);
  }
  std::set<std::string> used;
  for (std::size_t image = 0; image < keys.size(); ++image) {
    const std::string wanted = keys[image];
    const auto line = line_of.find(wanted);
    if (line == line_of.end()) {
      throw DataError({fmt::format("the table has no line for '{}'", wanted), file.string(),
                       "add it, or name the column that has it with --key"});
    }
    lines_.push_back(line->second);
    used.insert(wanted);
  }
  for (const auto& [name, line] : line_of) {
    if (!used.contains(name)) left_out.add("lines of the table without a file", name);
  }
}

bool JoinedTable::has(const std::string& column) const {
  return std::find(table_.columns.begin(), table_.columns.end(), column) != table_.columns.end();
}

std::vector<std::string> JoinedTable::cells(const std::string& name, const std::string& option) const {
  const std::size_t column = table_.column(name, option);
  std::vector<std::string> values;
  for (const std::size_t line : lines_) values.push_back(table_.lines[line].cells[column]);
  return values;
}

void JoinedTable::check_agreement(const std::string& key, std::size_t first, std::size_t second,
                                  const ColumnOptions& columns) const {
  for (const std::size_t column : used_columns(columns)) {
    if (table_.lines[first].cells[column] == table_.lines[second].cells[column]) continue;
    throw DataError({fmt::format("two lines contradict each other about '{}' in column '{}'", key,
                                 table_.columns[column]),
                     fmt::format("{} and {}", table_.place(first), table_.place(second)),
                     "remove one of them"});
  }
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

void read_facts(Source& source, const FactOptions& options, const ConvertOptions& common,
                const Facts& facts) {
  std::optional<JoinedTable> table;
  if (!options.table.empty()) {
    table.emplace(options.table, options.key.empty() ? options.by : options.key, facts(options.by, "--by"),
                  options.columns, source.left_out);
  }
  const auto read = [&](const std::string& name, const std::string& option) {
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

std::vector<std::string> shared_texts(std::int64_t count, comm::Communicator& ranks,
                                      const std::function<std::string(std::int64_t index)>& visit) {
  nlohmann::json mine = nlohmann::json::array();
  comm::together(ranks, [&] {
    for (std::int64_t i = ranks.rank(); i < count; i += ranks.size()) mine.push_back(visit(i));
  });
  std::vector<nlohmann::json> all;
  for (const std::string& text : ranks.gather_texts(mine.dump())) all.push_back(nlohmann::json::parse(text));
  std::vector<std::string> texts;
  for (std::int64_t i = 0; i < count; ++i) {
    texts.push_back(
        all[static_cast<std::size_t>(i % ranks.size())][static_cast<std::size_t>(i / ranks.size())]
            .get<std::string>());
  }
  return texts;
}

std::uint64_t checksum_of(const std::string& text) {
  return checksum(std::as_bytes(std::span(text)));
}

}  // namespace cohort::data_prep

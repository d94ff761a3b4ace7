#include "table_of.h"

#include <algorithm>

#include "cohort/core/file.h"

#include "new_file.h"
#include "table_file.h"

namespace cohort::jobs {
namespace {

std::string free_name(const eval::Table& table, const std::string& name, const std::string& kind) {
  const std::vector<std::string> reserved{"id", "split", "images", "prediction", "features"};
  const auto is_it = [&](const auto& column) { return column.name == name; };
  const bool is_taken = std::any_of(table.columns.begin(), table.columns.end(), is_it) ||
                        std::find(reserved.begin(), reserved.end(), name) != reserved.end();
  return is_taken ? kind + "_" + name : name;
}

}  // namespace

void TableOptions::add_to(CLI::App& command) {
  command.add_option("--out", out, "table to write; its ending says how: .csv, .tsv, .parquet, .h5")
      ->required();
  command.add_option("--mean-by", mean_by,
                     "a row for each value of this context or label, in the place of one for each image: the "
                     "number of its images and their means");
  command.add_flag(
      "--quote-formulas", quotes_formulas,
      "write ' before texts in .csv and .tsv that begin with = + - or @, which spreadsheets compute");
  add_overwrite(command, overwrites);
}

void prepare_table(const TableOptions& options, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    const auto files = files_of_table(options.out);
    if (ranks.rank() != 0) return;
    refuse_existing(files, options.overwrites);
    const std::filesystem::path folder = std::filesystem::path(options.out).parent_path();
    make_writable_folder(folder.empty() ? "." : folder);
  });
}

eval::Table image_table(const data::Dataset& dataset, bool with_split) {
  using Names = eval::Table::Names;
  eval::Table table;
  table.rows = dataset.rows();
  table.columns.push_back({"id", eval::Table::Texts{dataset.ids()}});
  if (with_split) table.columns.push_back({"split", eval::Table::Same{dataset.split()}});
  for (const data::ContextColumn& column : dataset.description().contexts)
    table.columns.push_back({free_name(table, column.name, "context"),
                             Names{eval::index_tensor(dataset.contexts(column.name)), column.values}});
  for (const data::LabelColumn& column : dataset.description().labels)
    table.columns.push_back({free_name(table, column.name, "label"),
                             Names{eval::index_tensor(dataset.labels(column.name)), column.classes}});
  return table;
}

eval::TableAttributes attributes_of(const ModelSource& source, const TrainedModel& trained,
                                    const std::string& dataset) {
  eval::TableAttributes attributes;
  if (source.run.empty())
    attributes.emplace_back("weights", source.weights);
  else
    attributes.emplace_back("run", source.run);
  if (!source.part.empty()) attributes.emplace_back("part", source.part);
  if (trained.step > 0) attributes.emplace_back("step", trained.step);
  attributes.emplace_back("model", trained.config.model.name);
  attributes.emplace_back("dataset", dataset);
  attributes.emplace_back("seed", static_cast<std::int64_t>(trained.config.seed));
  attributes.emplace_back("cohort_version", COHORT_VERSION);
  return attributes;
}

}  // namespace cohort::jobs

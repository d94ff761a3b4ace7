#include "table_of.h"

#include <algorithm>

#include "cohort/core/file.h"

#include "new_file.h"
#include "table_file.h"

namespace cohort::jobs {
namespace {

/// What the columns of contexts and then labels are called.
std::vector<std::string> column_names(const data::Description& description) {
  std::vector<std::string> names{"id", "split", "images", "prediction", "features"};
  const auto reserved = std::ssize(names);
  const auto add = [&](const std::string& name, const char* kind) {
    const bool is_taken = std::find(names.begin(), names.end(), name) != names.end();
    names.push_back(is_taken ? std::string(kind) + "_" + name : name);
  };
  for (const data::ContextColumn& column : description.contexts) add(column.name, "context");
  for (const data::LabelColumn& column : description.labels) add(column.name, "label");
  names.erase(names.begin(), names.begin() + reserved);
  return names;
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

void check_mean_by(const TableOptions& options, const data::Description& description) {
  if (options.mean_by.empty()) return;
  const std::vector<std::string> names = column_names(description);
  if (std::find(names.begin(), names.end(), options.mean_by) == names.end())
    refuse_key(options.mean_by, names);
}

ImageRows::ImageRows(const data::Dataset& dataset, data::ColumnReader& columns, bool with_split)
    : dataset_(dataset),
      columns_(columns),
      with_split_(with_split),
      names_(column_names(dataset.description())) {}

eval::Table ImageRows::table(std::int64_t first, std::int64_t count) {
  using Names = eval::Table::Names;
  ids_ = columns_.ids(first, count);
  eval::Table table;
  table.rows = count;
  table.columns.push_back({"id", eval::Table::Texts{ids_}});
  if (with_split_) table.columns.push_back({"split", eval::Table::Same{dataset_.split()}});
  auto name = names_.begin();
  for (const data::ContextColumn& column : dataset_.description().contexts)
    table.columns.push_back(
        {*name++, Names{at::tensor(columns_.contexts(column.name, first, count), at::kInt), column.values}});
  for (const data::LabelColumn& column : dataset_.description().labels)
    table.columns.push_back(
        {*name++, Names{at::tensor(columns_.labels(column.name, first, count), at::kInt), column.classes}});
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

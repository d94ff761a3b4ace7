#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"

#include "data_prep/convert.h"
#include "data_prep/plan_splits.h"
#include "data_prep/vocabulary.h"

namespace cohort::data_prep {
namespace {

std::string dataset_name(const ConvertOptions& options) {
  if (!options.name.empty()) return options.name;
  const std::filesystem::path folder = options.out.has_filename() ? options.out : options.out.parent_path();
  return folder.filename().string();
}

void check_columns(const Source& source, const ConvertOptions& options) {
  if (source.ids.empty())
    throw DataError({"there are no images", source.where, "check the path and the options"});
  if (options.makes_splits_of_all() && !source.splits.empty()) {
    throw UsageError({"the images already have splits", "--hold-out-contexts, --hold-out-images, --folds",
                      "leave out either these options or the splits of the source"});
  }
  if (options.hold_out.contexts > 0 && source.contexts.empty()) {
    throw UsageError({"there are no contexts to hold out", "--hold-out-contexts", "name a context key"});
  }
}

/// Whoever reads a source gives each image a value of each column.
void check_sizes(const Source& source) {
  const std::size_t images = source.ids.size();
  const auto check = [&](const std::string& what, const Categories& values) {
    COHORT_CHECK(values.size() == images, "{} values of {} for {} images", values.size(), what, images);
  };
  if (!source.splits.empty()) check("the splits", source.splits);
  for (const auto* columns : {&source.labels, &source.contexts}) {
    for (const Column& column : *columns) check(column.name, column.values);
  }
}

/// The index of each image's text in `vocabulary`, -1 for the empty one. Throws as indices().
data::PackedIndices indices_of(Categories::Coded coded, const std::vector<std::string>& vocabulary,
                               const std::string& what, const std::string& option) {
  const std::vector<std::int32_t> index_of = indices(coded.names, vocabulary, what, option);
  for (std::int64_t i = 0; i < coded.codes.size(); ++i)
    coded.codes.set(i, index_of[static_cast<std::size_t>(coded.codes[i])]);
  return std::move(coded.codes);
}

std::vector<data::PackedIndices> add_contexts(const Source& source, data::Description& description) {
  std::vector<data::PackedIndices> columns;
  for (const Column& column : source.contexts) {
    Categories::Coded coded = column.values.coded();
    const auto none = std::find(coded.names.begin(), coded.names.end(), "");
    if (none != coded.names.end()) {
      const std::int64_t image = coded.first_of[static_cast<std::size_t>(none - coded.names.begin())];
      throw DataError({fmt::format("image '{}' has no value for context key '{}'",
                                   source.ids[static_cast<std::size_t>(image)], column.name),
                       source.where, "every image needs a context; give unknown ones a name of their own"});
    }
    description.contexts.push_back({column.name, distinct(coded.names)});
    columns.push_back(
        indices_of(std::move(coded), description.contexts.back().values, column.name, source.where));
  }
  return columns;
}

std::vector<data::PackedIndices> add_labels(const Source& source, const ConvertOptions& options,
                                            data::Description& description) {
  std::vector<data::PackedIndices> columns;
  for (std::size_t label = 0; label < source.labels.size(); ++label) {
    const Column& column = source.labels[label];
    Categories::Coded coded = column.values.coded();
    std::vector<std::string> classes = options.classes_of(column.name, label);
    if (classes.empty()) classes = column.vocabulary;
    if (classes.empty()) classes = distinct(coded.names);
    columns.push_back(
        indices_of(std::move(coded), classes, fmt::format("label '{}'", column.name), "--classes"));
    description.labels.push_back({column.name, std::move(classes)});
  }
  return columns;
}

void warn_of_doubts(const data::Description& description) {
  const auto warn = [](const std::string& what, const std::vector<std::string>& names) {
    for (const std::string& doubt : doubts_about(what, names)) log_warning(printable(doubt));
  };
  for (const auto& label : description.labels) warn(fmt::format("label '{}'", label.name), label.classes);
  for (const auto& context : description.contexts)
    warn(fmt::format("context key '{}'", context.name), context.values);
  std::vector<std::string> splits;
  for (const data::Split& split : description.splits) splits.push_back(split.name);
  warn("the list of splits", splits);
}

/// The split whose mean and deviation normalise all images.
std::string statistics_split(const Source& source, const ConvertOptions& options,
                             const data::Description& description) {
  const std::vector<data::Split>& splits = description.splits;
  if (!options.statistics_split.empty()) return description.split(options.statistics_split).name;
  if (splits.size() == 1 || is_training_name(splits.front().name)) return splits.front().name;
  const auto known = std::find_if(splits.begin(), splits.end(),
                                  [&](const data::Split& split) { return split.name == source.statistics; });
  if (known != splits.end()) return known->name;
  log_warning(
      fmt::format("no split is called train: mean and deviation are those of '{}', the first one; "
                  "--statistics-split names another",
                  printable(splits.front().name)));
  return splits.front().name;
}

}  // namespace

Plan make_plan(const Source& source, const ConvertOptions& options) {
  check_columns(source, options);
  check_sizes(source);
  Plan plan;
  plan.description.name = dataset_name(options);
  plan.description.license = options.license;
  std::vector<data::PackedIndices> contexts = add_contexts(source, plan.description);
  plan.rows = {source.ids.packed(), add_labels(source, options, plan.description), std::move(contexts)};
  for (const FieldSource& field : source.fields) plan.description.fields.push_back(field.field);
  add_splits(source, options, plan);
  plan.description.statistics = statistics_split(source, options, plan.description);
  data::PixelSource images([](std::int64_t, std::span<std::byte>) {});
  images.place = source.place;
  data::check_dataset(plan.description, plan.rows, images);
  warn_of_doubts(plan.description);
  return plan;
}

void read_columns(
    Source& source, const ColumnOptions& columns,
    const std::function<Categories(const std::string& column, const std::string& option)>& read) {
  const auto read_all = [&](const std::vector<std::string>& texts, const std::string& option) {
    std::vector<Column> found;
    for (const std::string& text : texts) {
      const auto [column, name] = renamed(text);
      found.push_back({name, read(column, option)});
    }
    return found;
  };
  source.labels = read_all(columns.labels, "--label");
  source.contexts = read_all(columns.contexts, "--context");
  if (!columns.split.empty()) source.splits = read(columns.split, "--split");
}

void read_groups(
    Source& source, const ConvertOptions& options,
    const std::function<Categories(const std::string& column, const std::string& option)>& read) {
  const std::string& name = options.division.group_by;
  const bool is_context = std::any_of(source.contexts.begin(), source.contexts.end(),
                                      [&](const Column& context) { return context.name == name; });
  if (!name.empty() && !is_context) source.groups = {name, read(name, "--group-by")};
}

}  // namespace cohort::data_prep

// cohort-data convert manifest: a table with one line an image.
#include <algorithm>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"

#include "data_prep/axes.h"
#include "data_prep/boxes.h"
#include "data_prep/convert.h"
#include "data_prep/image_file.h"
#include "data_prep/table.h"
#include "data_prep/token_fields.h"

namespace cohort::data_prep {
namespace {

struct ManifestOptions {
  std::filesystem::path file, root;
  std::string path = "path", id, axes;
  ColumnOptions columns;
  FieldOptions fields;
  ConvertOptions common;
};

/// A column of the table: cells are read from its file when they are asked for.
template <class AnyTexts>
AnyTexts cells_of_column(const LargeTable& table, const std::string& name, const std::string& option) {
  const std::size_t column = table.column(name, option);
  return {table.rows(), [=](std::int64_t row) { return table.cell(row, column); }};
}

Source read_source(const ManifestOptions& options, const LargeTable& table) {
  Source source;
  source.where = table.file();
  source.ids = cells_of_column<Texts>(table, options.id.empty() ? options.path : options.id, "--id");
  const auto read = [&](const std::string& name, const std::string& option) {
    return cells_of_column<Categories>(table, name, option);
  };
  read_columns(source, options.columns, read);
  read_groups(source, options.common, read);
  return source;
}

/// The fields that the options name. Throws UsageError.
std::vector<FieldSource> column_fields(const ManifestOptions& options, const LargeTable& table,
                                       const std::filesystem::path& root) {
  std::vector<FieldSource> fields;
  for (std::size_t number = 0; number < options.fields.sources.size(); ++number) {
    const auto kind = static_cast<data::FieldKind>(number);
    for (const std::string& text : options.fields.of(kind)) {
      const auto [columns, name] = columns_and_name(kind, text);
      std::vector<std::size_t> places;
      for (const std::string& column : columns)
        places.push_back(
            table.column(column, fmt::format("a field of kind {}", data::field_kind_name(kind))));
      FieldCells cells;
      cells.columns = columns;
      cells.images = table.rows();
      cells.of = [table, places](std::int64_t index) {
        const Line line = table.line(index);
        std::vector<std::string> values;
        for (const std::size_t place : places) values.push_back(line.cells[place]);
        return values;
      };
      cells.place = [table](std::int64_t index) { return table.place(index); };
      cells.root = root;
      fields.push_back(field_of_cells(kind, name, options.common.classes_of(name, 1), options.fields, cells));
    }
  }
  add_token_fields(fields, options.fields);
  return fields;
}

/// Throws DataError naming the first file that is missing, unless missing ones are skipped.
void check_files(const Texts& files, const ManifestOptions& options, const std::filesystem::path& root) {
  if (options.common.skips_damaged()) return;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::filesystem::path file = root / files[i];
    if (std::filesystem::exists(file)) continue;
    throw DataError({fmt::format("the image file is missing: {}", file.string()), options.file.string(),
                     "correct its path, or set --root to the folder that the paths start from"});
  }
}

/// The checksum of what a table says of an image, to be compared.
std::uint64_t facts_of(const Source& source, std::size_t index) {
  std::string facts;
  const auto add = [&](const Categories& values) { facts += values[index] + '\0'; };
  if (!source.splits.empty()) add(source.splits);
  for (const auto* columns : {&source.labels, &source.contexts}) {
    for (const Column& column : *columns) add(column.values);
  }
  if (!source.groups.values.empty()) add(source.groups.values);
  return checksum(std::as_bytes(std::span(facts)));
}

std::string plain_path(const Texts& files, std::size_t index) {
  return std::filesystem::path(files[index]).lexically_normal().generic_string();
}

/// Checksums of the paths that stand in several lines, rising. Takes 8 bytes a line while it looks.
std::vector<std::uint64_t> repeated_paths(const Texts& files) {
  std::vector<std::uint64_t> sums;
  sums.reserve(files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string path = plain_path(files, i);
    sums.push_back(checksum(std::as_bytes(std::span(path))));
  }
  std::sort(sums.begin(), sums.end());
  std::vector<std::uint64_t> repeated;
  for (std::size_t i = 1; i < sums.size(); ++i) {
    if (sums[i] == sums[i - 1] && (repeated.empty() || repeated.back() != sums[i]))
      repeated.push_back(sums[i]);
  }
  return repeated;
}

/// Two lines that say different things of one file: of which a warning tells where they are images with ids
/// of their own. Else throws DataError.
void check_contradictions(const Source& source, const Texts& files, const LargeTable& table, bool have_ids) {
  const std::vector<std::uint64_t> repeated = repeated_paths(files);
  struct First {
    std::int64_t line = -1;
    std::uint64_t facts = 0;
  };
  std::vector<First> first_lines(repeated.size());  // lines are read once, one after another
  for (std::size_t i = 0; i < files.size() && !repeated.empty(); ++i) {
    const std::string file = plain_path(files, i);
    const std::uint64_t sum = checksum(std::as_bytes(std::span(file)));
    const auto found = std::lower_bound(repeated.begin(), repeated.end(), sum);
    if (found == repeated.end() || *found != sum) continue;
    First& first = first_lines[static_cast<std::size_t>(found - repeated.begin())];
    const std::uint64_t facts = facts_of(source, i);
    if (first.line < 0) first = {static_cast<std::int64_t>(i), facts};
    if (first.facts == facts || plain_path(files, static_cast<std::size_t>(first.line)) != file) continue;
    const std::string places =
        fmt::format("{} and {}", table.place(first.line), table.place(static_cast<std::int64_t>(i)));
    if (have_ids)
      return log_warning(fmt::format("lines with ids of their own say different things of one file: {}, {}",
                                     printable(files[i]), printable(places)));
    throw DataError(
        {fmt::format("two lines contradict each other about '{}'", files[i]), places,
         "one image has one split, label and context: remove one of the lines, or give both ids with --id"});
  }
}

ExitCode run(const ManifestOptions& options, comm::Communicator& ranks) {
  const std::filesystem::path root = options.root.empty() ? options.file.parent_path() : options.root;
  std::optional<LargeTable> table;
  Source source;
  Texts files;
  comm::together(ranks, [&] {
    table.emplace(options.file);
    files = cells_of_column<Texts>(*table, options.path, "--path");
    source = read_source(options, *table);
    source.fields = column_fields(options, *table, root);
    add_instance_boxes(source.fields, options.fields, options.common);
    if (ranks.rank() != 0) return;
    check_contradictions(source, files, *table, !options.id.empty());
    check_files(files, options, root);
  });
  source.axes = options.axes;
  source.path = [&](std::int64_t i) { return root / files[static_cast<std::size_t>(i)]; };
  source.image = [&](std::int64_t i) { return read_image(source.path(i), options.axes); };
  source.file = [&](std::int64_t i) { return read_file(source.path(i)); };
  source.place = [&](std::int64_t i) { return table->place(i); };
  return convert(source, options.common, ranks);
}

}  // namespace

void add_convert_manifest(CLI::App& convert, Action& action) {
  auto options = std::make_shared<ManifestOptions>();
  CLI::App& command =
      add_command(convert, {"manifest",
                            "A table (CSV, tabs or blanks) with a line for each image",
                            {"cohort-data convert manifest slides.csv --label tumour --context hospital "
                             "--split split --out data/slides"},
                            endings_on_ranks(),
                            "The example is for a table with the header path,hospital,tumour,split."});
  command.add_option("file", options->file, "the table; its first line names the columns")
      ->required()
      ->type_name("FILE");
  command.add_option("--root", options->root,
                     "folder that the paths start from (default: that of the table)");
  command.add_option("--path", options->path, "column with the image files")->capture_default_str();
  command.add_option("--id", options->id, "column with the ids (default: the image files)");
  options->columns.add_to(command, "column");
  options->fields.add_to(command, "column");
  add_axes_to(command, options->axes, ".npy images", false);
  finish_convert<ManifestOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep

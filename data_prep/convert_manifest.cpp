// cohort-data convert manifest: a table with one line an image.
#include <fmt/format.h>

#include "cohort/core/checksum.h"

#include "data_prep/convert.h"
#include "data_prep/image_file.h"
#include "data_prep/table.h"

namespace cohort::data_prep {
namespace {

struct ManifestOptions {
  std::filesystem::path file, root;
  std::string path = "path", split;
  std::vector<std::string> labels, contexts;
  ConvertOptions common;
};

std::vector<std::string> cells(const Table& table, std::size_t column) {
  std::vector<std::string> values;
  for (const Line& line : table.lines) values.push_back(line.cells[column]);
  return values;
}

Source read_source(const ManifestOptions& options) {
  const Table table = Table::read(options.file);
  Source source;
  source.where = table.file;
  source.ids = cells(table, table.column(options.path, "--path"));
  for (const std::string& name : options.labels) {
    source.labels.push_back({name, cells(table, table.column(name, "--label"))});
  }
  for (const std::string& name : options.contexts) {
    source.contexts.push_back({name, cells(table, table.column(name, "--context"))});
  }
  if (!options.split.empty()) source.splits = cells(table, table.column(options.split, "--split"));
  return source;
}

/// Of the sizes of all files. Throws DataError naming the first missing one and its line.
std::uint64_t sizes_checksum(const Source& source, const std::filesystem::path& root) {
  Checksum sum;
  for (const std::string& id : source.ids) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(root / id, error);
    if (error) {
      throw DataError({fmt::format("the image file is missing: {}", (root / id).string()), source.where,
                       "correct its path, or set --root to the folder that the paths start from"});
    }
    sum.update(std::as_bytes(std::span(&size, 1)));
  }
  return sum.value();
}

ExitCode run(const ManifestOptions& options, comm::Communicator& ranks) {
  const std::filesystem::path root = options.root.empty() ? options.file.parent_path() : options.root;
  Source source;
  std::string content;
  comm::together(ranks, [&] {
    source = read_source(options);
    if (ranks.rank() == 0) content = checksum_text(sizes_checksum(source, root));
  });
  source.content = parse_checksum(ranks.broadcast_text(content), source.where);
  source.image = [&](std::int64_t i) { return read_image(root / source.ids[static_cast<std::size_t>(i)]); };
  return convert(source, options.common, ranks);
}

}  // namespace

void add_convert_manifest(CLI::App& convert, Action& action) {
  auto options = std::make_shared<ManifestOptions>();
  CLI::App& command =
      *convert.add_subcommand("manifest", "a table (CSV, tabs or blanks) with a line for each image");
  command.add_option("file", options->file, "the table; its first line names the columns")
      ->required()
      ->type_name("FILE");
  command.add_option("--root", options->root,
                     "folder that the paths start from (default: that of the table)");
  command.add_option("--path", options->path, "column with the image files")->capture_default_str();
  command.add_option("--split", options->split, "column with the splits");
  command.add_option("--label", options->labels, "columns with labels; an empty cell means none");
  command.add_option("--context", options->contexts, "columns with contexts");
  options->common.add_to(command);
  command.footer(
      "Example, for a table with the header path,hospital,tumour,split:\n"
      "  cohort-data convert manifest slides.csv --label tumour --context hospital --split split --out "
      "data/slides");
  command.callback(
      [options, &action] { action = [options](comm::Communicator& ranks) { return run(*options, ranks); }; });
}

}  // namespace cohort::data_prep

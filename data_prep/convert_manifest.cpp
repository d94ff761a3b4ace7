// cohort-data convert manifest: a table with one line an image.
#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/file.h"

#include "data_prep/convert.h"
#include "data_prep/image_file.h"
#include "data_prep/table.h"

namespace cohort::data_prep {
namespace {

struct ManifestOptions {
  std::filesystem::path file, root;
  std::string path = "path", id;
  ColumnOptions columns;
  ConvertOptions common;
};

Source read_source(const ManifestOptions& options, const Table& table) {
  Source source;
  source.where = table.file;
  source.ids = table.cells(options.id.empty() ? options.path : options.id, "--id");
  read_columns(source, options.columns,
               [&](const std::string& name, const std::string& option) { return table.cells(name, option); });
  return source;
}

/// Of the sizes of all files. Throws DataError naming the first missing one, unless missing ones are skipped.
std::uint64_t sizes_checksum(const std::vector<std::string>& files, const ManifestOptions& options,
                             const std::filesystem::path& root) {
  Checksum sum;
  for (const std::string& file : files) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(root / file, error);
    if (error && !options.common.skips_damaged()) {
      throw DataError({fmt::format("the image file is missing: {}", (root / file).string()),
                       options.file.string(),
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
  std::vector<std::string> files;
  comm::together(ranks, [&] {
    const Table table = Table::read(options.file);
    files = table.cells(options.path, "--path");
    source = read_source(options, table);
    if (ranks.rank() == 0) content = checksum_text(sizes_checksum(files, options, root));
  });
  source.content = parse_checksum(ranks.broadcast_text(content), source.where);
  source.image = [&](std::int64_t i) { return read_image(root / files[static_cast<std::size_t>(i)]); };
  source.file = [&](std::int64_t i) { return read_file(root / files[static_cast<std::size_t>(i)]); };
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
  command.add_option("--id", options->id, "column with the ids (default: the image files)");
  options->columns.add_to(command, "column");
  options->common.add_to(command);
  command.footer(
      "Example, for a table with the header path,hospital,tumour,split:\n"
      "  cohort-data convert manifest slides.csv --label tumour --context hospital --split split --out "
      "data/slides");
  choose_on<ManifestOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep

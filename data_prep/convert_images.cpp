// cohort-data convert images: a folder tree whose folder names say split, context and label.
#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"

#include "data_prep/convert.h"
#include "data_prep/image_file.h"

namespace cohort::data_prep {
namespace {

struct ImagesOptions {
  std::filesystem::path root;
  std::string layout = "context/label";
  ConvertOptions common;
};

/// What the folders of one level say.
struct Level {
  std::string kind;  // split, context, label or -
  std::string name;
};

std::vector<Level> parse_layout(const std::string& layout) {
  std::vector<Level> levels;
  for (const std::string& part : split_text(layout, '/')) {
    const std::size_t colon = part.find(':');
    const Level level{part.substr(0, colon), colon == std::string::npos ? part : part.substr(colon + 1)};
    const std::vector<std::string> kinds{"split", "context", "label", "-"};
    if (std::find(kinds.begin(), kinds.end(), level.kind) == kinds.end()) {
      throw UsageError(
          {fmt::format("'{}' is no level of a layout", part), "--layout",
           "levels are split, context, label, - (ignored); context:hospital and label:tumour give names"});
    }
    levels.push_back(level);
  }
  return levels;
}

/// Relative paths of all images, sorted, each behind its size: "2412 siteA/cat/1.png".
std::string list_images(const std::filesystem::path& root) {
  if (!std::filesystem::is_directory(root)) {
    throw DataError({"there is no such folder", root.string(), "check the path"});
  }
  std::vector<std::pair<std::string, std::uint64_t>> files;
  std::int64_t others = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    if (has_image_name(entry.path())) {
      files.emplace_back(entry.path().lexically_relative(root).generic_string(), entry.file_size());
    } else {
      ++others;
    }
  }
  if (others > 0) log_warning(fmt::format("{} files are not PNG, JPEG or TIFF and are left out", others));
  std::sort(files.begin(), files.end());
  std::string list;
  for (const auto& [path, size] : files) list += fmt::format("{} {}\n", size, path);
  return list;
}

Column& column_of(std::vector<Column>& columns, const std::string& name) {
  const auto found =
      std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.name == name; });
  return found != columns.end() ? *found : columns.emplace_back(Column{name, {}});
}

void add_image(Source& source, const std::vector<Level>& levels, const std::string& path,
               const std::string& layout) {
  const std::vector<std::string> parts = split_text(path, '/');
  if (parts.size() != levels.size() + 1) {
    throw DataError({fmt::format("'{}' lies {} folders deep, the layout {} has {}", path, parts.size() - 1,
                                 layout, levels.size()),
                     source.where, "describe the folders with --layout, for example --layout split/label"});
  }
  source.ids.push_back(path);
  for (std::size_t i = 0; i < levels.size(); ++i) {
    if (levels[i].kind == "split") source.splits.push_back(parts[i]);
    if (levels[i].kind == "context") column_of(source.contexts, levels[i].name).values.push_back(parts[i]);
    if (levels[i].kind == "label") column_of(source.labels, levels[i].name).values.push_back(parts[i]);
  }
}

ExitCode run(const ImagesOptions& options, comm::Communicator& ranks) {
  std::string list;
  // Rank 0 alone walks the folders: a parallel file system serves that once, not once a rank.
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) list = list_images(options.root);
  });
  list = ranks.broadcast_text(std::move(list));
  Source source;
  source.where = options.root.string();
  source.content = checksum(std::as_bytes(std::span(list)));
  comm::together(ranks, [&] {
    const std::vector<Level> levels = parse_layout(options.layout);
    for (const std::string& line : split_text(list, '\n')) {
      if (!line.empty()) add_image(source, levels, line.substr(line.find(' ') + 1), options.layout);
    }
  });
  source.image = [&](std::int64_t i) {
    return read_image(options.root / source.ids[static_cast<std::size_t>(i)]);
  };
  source.file = [&](std::int64_t i) {
    return read_file(options.root / source.ids[static_cast<std::size_t>(i)]);
  };
  return convert(source, options.common, ranks);
}

}  // namespace

void add_convert_images(CLI::App& convert, Action& action) {
  auto options = std::make_shared<ImagesOptions>();
  CLI::App& command =
      *convert.add_subcommand("images", "a folder tree: folder names give split, context and label");
  command.add_option("root", options->root, "the folder")->required()->type_name("FOLDER");
  command
      .add_option(
          "--layout", options->layout,
          "what the folders are, from the top: split, context, label or - (ignored), with a name if wanted: "
          "context:hospital")
      ->capture_default_str();
  options->common.add_to(command);
  command.footer(
      "Example, for photos/hospitalA/benign/17.png:\n"
      "  mpirun -n 4 cohort-data convert images photos --layout context:hospital/label --resize 96 \\\n"
      "    --hold-out-contexts 5 --hold-out-images 5 --out data/photos");
  choose_on<ImagesOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep

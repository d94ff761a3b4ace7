// cohort-data convert images: a folder tree whose folder names say split, context and label.
#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "data_prep/axes.h"
#include "data_prep/boxes.h"
#include "data_prep/convert.h"
#include "data_prep/facts.h"
#include "data_prep/folder_fields.h"
#include "data_prep/image_file.h"
#include "data_prep/image_files.h"
#include "data_prep/ome_images.h"
#include "data_prep/other_files.h"
#include "data_prep/planes.h"

namespace cohort::data_prep {
namespace {

struct ImagesOptions {
  std::filesystem::path root;
  std::string layout;  // empty: see layout_of()
  std::string axes, planes;
  FactOptions facts{.by = "file"};
  FieldOptions fields;
  ConvertOptions common;
};

/// What the folders of one level say.
struct Level {
  std::string kind;  // split, context, label or -
  std::string name;
};

/// Two levels may have a name in common where one is a context and one a label; an image has one split.
std::pair<std::string, std::string> said_by(const Level& level) {
  return {level.kind, level.kind == "split" ? "" : level.name};
}

void check_levels(const std::vector<Level>& levels) {
  std::set<std::pair<std::string, std::string>> said;
  for (const Level& level : levels) {
    if (level.kind == "-" || said.insert(said_by(level)).second) continue;
    throw UsageError(
        {fmt::format("two levels of the layout say the {} '{}'", level.kind, level.name), "--layout",
         "name them apart, context:country/context:city; - stands for a level that says nothing"});
  }
}

constexpr const char* kNone = "none";  // the folders say nothing; images may lie at any depth

std::vector<Level> parse_layout(const std::string& layout) {
  std::vector<Level> levels;
  if (layout == kNone) return levels;
  for (const std::string& part : split_text(layout, '/')) {
    const std::size_t colon = part.find(':');
    const Level level{part.substr(0, colon), colon == std::string::npos ? part : part.substr(colon + 1)};
    const std::vector<std::string> kinds{"split", "context", "label", "-"};
    if (std::find(kinds.begin(), kinds.end(), level.kind) == kinds.end()) {
      throw UsageError({fmt::format("'{}' is no level of a layout", part), "--layout",
                        "levels are split, context, label, - (ignored); context:hospital and label:tumour "
                        "give names; none: "
                        "folders say nothing"});
    }
    levels.push_back(level);
  }
  check_levels(levels);
  return levels;
}

/// Walks through the folders below `root`, through links as well.
class Walk {
 public:
  Walk(const std::filesystem::path& root, const std::function<bool(const std::filesystem::path&)>& takes,
       bool skips, LeftOut& left_out)
      : root_(root), takes_(takes), skips_(skips), left_out_(left_out) {
    if (!std::filesystem::is_directory(root))
      throw DataError({"there is no such folder", root.string(), "check the path"});
    enter(root);
    std::sort(files.begin(), files.end());
  }
  std::vector<std::string> files;  ///< paths below the root, sorted

 private:
  [[nodiscard]] std::string below_root(const std::filesystem::path& path) const {
    return path.lexically_relative(root_).generic_string();
  }

  void enter(const std::filesystem::path& folder) {
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(folder, error);
    if (!error && std::find(open_.begin(), open_.end(), real) != open_.end())
      return left_out_.add("links to folders that they lie in", below_root(folder));
    std::filesystem::directory_iterator entries(folder, error);
    if (error) return refuse_folder(folder, error);
    open_.push_back(real);
    for (const auto& entry : entries) visit(entry);
    open_.pop_back();
  }

  void visit(const std::filesystem::directory_entry& entry) {
    std::error_code error;
    const std::filesystem::path& path = entry.path();
    if (is_hidden(path.filename().string())) return left_out_.add("hidden", below_root(path));
    if (is_image_folder(path)) return leave_out(path);
    if (entry.is_directory(error)) return enter(path);
    if (!entry.exists(error)) return left_out_.add("links to what is not there", below_root(path));
    if (!entry.is_regular_file(error)) return left_out_.add("neither files nor folders", below_root(path));
    if (!takes_(path)) return leave_out(path);
    files.push_back(below_root(path));
  }

  void leave_out(const std::filesystem::path& path) {
    const OtherKind kind = other_kind_of(path);
    left_out_.add(kind.name, below_root(path), kind.remedy);
  }

  void refuse_folder(const std::filesystem::path& folder, const std::error_code& error) {
    if (skips_) return left_out_.add("folders that cannot be read", below_root(folder));
    throw DataError({fmt::format("the folder cannot be read: {}", error.message()), folder.string(),
                     "change its permissions, or leave it out with --on-error skip"});
  }

  const std::filesystem::path& root_;
  const std::function<bool(const std::filesystem::path&)>& takes_;
  bool skips_;
  LeftOut& left_out_;
  std::vector<std::filesystem::path> open_;  // from the root to where it is, without links
};

Column& column_of(std::vector<Column>& columns, const std::string& name) {
  const auto found =
      std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.name == name; });
  return found != columns.end() ? *found : columns.emplace_back(Column{name, {}});
}

void add_folders(Source& source, const std::vector<Level>& levels, const std::string& path,
                 const std::string& layout) {
  if (layout == kNone) return;
  const std::vector<std::string> parts = split_text(path, '/');
  if (parts.size() != levels.size() + 1) {
    throw DataError(
        {fmt::format("'{}' lies {} folder{} deep, the layout {} has {}", path, parts.size() - 1,
                     parts.size() == 2 ? "" : "s", layout, levels.size()),
         source.where,
         "describe the folders with --layout, for example --layout split/label; with --layout none they "
         "say nothing"});
  }
  for (std::size_t i = 0; i < levels.size(); ++i) {
    if (levels[i].kind == "split") source.splits.push_back(parts[i]);
    if (levels[i].kind == "context") column_of(source.contexts, levels[i].name).values.push_back(parts[i]);
    if (levels[i].kind == "label") column_of(source.labels, levels[i].name).values.push_back(parts[i]);
  }
}

/// Whether a folder of this name holds a split, as people call them.
bool is_split_name(const std::string& name) {
  const std::string small = in_small_letters(name);
  static const std::vector<std::string> known{"train",      "training", "val",  "valid",
                                              "validation", "dev",      "test", "testing"};
  return std::find(known.begin(), known.end(), small) != known.end();
}

/// Layouts of so many levels that fit more often than others.
std::vector<std::string> usual_layouts(std::size_t depth, bool first_is_split) {
  if (depth == 1)
    return first_is_split ? std::vector<std::string>{"split"} : std::vector<std::string>{"label", "context"};
  std::string ignored;
  for (std::size_t level = first_is_split ? 3 : 2; level < depth; ++level) ignored += "-/";
  if (!first_is_split) return {"context/" + ignored + "label", "label/" + ignored + "context"};
  if (depth == 2) return {"split/label", "split/context"};
  return {"split/context/" + ignored + "label", "split/label/" + ignored + "context"};
}

/// "--layout split/label (split 'train', label 'cat')".
std::string example(const std::string& layout, const std::vector<std::string>& folders) {
  std::vector<std::string> said;
  const std::vector<Level> levels = parse_layout(layout);
  for (std::size_t i = 0; i < levels.size(); ++i) {
    if (levels[i].kind != "-") said.push_back(fmt::format("{} '{}'", levels[i].kind, folders[i]));
  }
  return fmt::format("--layout {} ({})", layout, join(said, ", "));
}

[[noreturn]] void refuse_unsaid(const std::string& path, const std::string& where) {
  std::vector<std::string> folders = split_text(path, '/');
  folders.pop_back();
  std::vector<std::string> examples;
  for (const std::string& layout : usual_layouts(folders.size(), is_split_name(folders.front())))
    examples.push_back(example(layout, folders));
  throw UsageError({"what the names of the folders mean is not said", where,
                    fmt::format("say it, for example of {}: {}; --layout none if they mean nothing", path,
                                join(examples, " or "))});
}

/// What the options say. Without: none for images that lie in the folder itself, context/label for two levels
/// below it, unless the upper one has names of splits; else the user is asked, with layouts that would fit.
std::string layout_of(const ImagesOptions& options, const std::vector<std::string>& paths) {
  if (!options.layout.empty()) return options.layout;
  const auto depth = [](const std::string& path) { return std::count(path.begin(), path.end(), '/'); };
  const auto is_shallower = [&](const std::string& a, const std::string& b) { return depth(a) < depth(b); };
  const std::string &least = *std::min_element(paths.begin(), paths.end(), is_shallower),
                    &most = *std::max_element(paths.begin(), paths.end(), is_shallower);
  const std::string where = options.root.string();
  if (depth(most) == 0) return kNone;
  if (depth(least) != depth(most)) {
    throw UsageError({fmt::format("images lie at several depths: {} and {}", least, most), where,
                      "move them to one depth; or with --layout none folders say nothing"});
  }
  const auto in_split = std::find_if(paths.begin(), paths.end(), [](const std::string& path) {
    return is_split_name(path.substr(0, path.find('/')));
  });
  if (depth(most) == 2 && in_split == paths.end()) return "context/label";
  refuse_unsaid(in_split == paths.end() ? most : *in_split, where);
}

void check_said_once(const Level& level, const Source& source) {
  const std::vector<Column>& columns = level.kind == "label" ? source.labels : source.contexts;
  const bool is_said = (level.kind == "label" || level.kind == "context") &&
                       std::any_of(columns.begin(), columns.end(),
                                   [&](const Column& column) { return column.name == level.name; });
  if (is_said)
    throw UsageError({fmt::format("folders and an option both say the {} '{}'", level.kind, level.name),
                      fmt::format("--layout, --{}", level.kind),
                      "leave one of them out, or name one otherwise: context:folder"});
}

/// What files of OME-TIFF, a table and then the folders say of the images.
void read_all_facts(Source& source, const ImagesOptions& options, const std::string& layout,
                    const OmeImages* ome, const comm::Communicator& ranks) {
  if (ranks.rank() != 0) return;  // it alone needs them
  const auto fact = [&](const std::string& name, const std::string& option) -> Categories {
    check_fact(name, facts_of_images(), option);
    if (ome != nullptr) return ome->fact(name);
    const std::int64_t count = std::ssize(source.ids);
    const bool is_file = name == "file";
    return {count, [ids = source.ids, is_file](std::int64_t i) {
              return is_file ? ids[static_cast<std::size_t>(i)] : std::string();
            }};
  };
  read_facts(source, options.facts, options.common, fact, ranks);
  const std::vector<Level> levels = parse_layout(layout);
  const bool has_split =
      std::any_of(levels.begin(), levels.end(), [](const Level& level) { return level.kind == "split"; });
  if (has_split && !source.splits.empty())
    throw UsageError({"folders and an option both say which split an image is in", "--split, --layout",
                      "leave one of them out; - stands for a level that says nothing"});
  for (const Level& level : levels) check_said_once(level, source);
  for (std::size_t i = 0; i < source.ids.size(); ++i)
    add_folders(source, levels, ome != nullptr ? ome->file_of(i) : source.ids[i], layout);
}

ExitCode run(const ImagesOptions& options, comm::Communicator& ranks) {
  LeftOut left_out;
  const bool skips = options.common.skips_damaged();
  std::vector<std::string> paths = images_below(options.root, skips, left_out, ranks);
  std::string layout;
  comm::together(ranks, [&] { layout = layout_of(options, paths); });
  std::optional<OmeImages> ome;
  if (std::any_of(paths.begin(), paths.end(), is_called_ome_tiff)) {
    const OmeOptions wanted{options.planes, options.axes, !options.common.channels.empty(), skips};
    ome.emplace(options.root, paths, wanted, left_out, ranks);
  }
  Source source = ome ? std::move(ome->source) : source_of_files(options.root, paths, options.axes);
  paths = {};  // the source has them, packed
  source.left_out = std::move(left_out);
  comm::together(ranks, [&] { read_all_facts(source, options, layout, ome ? &*ome : nullptr, ranks); });
  source.fields = folder_fields(options.fields, options.common, source.ids, ranks);
  comm::together(ranks, [&] { add_instance_boxes(source.fields, options.fields, options.common); });
  return convert(source, options.common, ranks);
}

}  // namespace

std::vector<std::string> files_below(const std::filesystem::path& root, const std::string& kind,
                                     const std::function<bool(const std::filesystem::path& file)>& takes,
                                     bool skips, LeftOut& left_out, comm::Communicator& ranks) {
  std::string list;
  // Rank 0 alone walks the folders: a parallel file system serves that once, not once a rank.
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    const Walk walk(root, takes, skips, left_out);
    if (walk.files.empty()) {
      const std::string remedies = left_out.remedies();
      throw DataError({"there are no images in the folder: no " + kind, root.string(),
                       remedies.empty() ? "check the path and the options" : remedies});
    }
    list = join(walk.files, std::string(1, '\0'));
  });
  return split_text(ranks.broadcast_text(std::move(list)), '\0');
}

std::string file_beside(const std::filesystem::path& folder, const std::string& image,
                        const std::vector<std::string>& endings) {
  for (const std::string& ending : endings) {
    const std::string file = std::filesystem::path(image).replace_extension(ending).generic_string();
    if (std::filesystem::exists(folder / file)) return file;
  }
  return std::filesystem::path(image).replace_extension(endings.front()).generic_string();
}

std::vector<std::string> images_below(const std::filesystem::path& root, bool skips, LeftOut& left_out,
                                      comm::Communicator& ranks) {
  return files_below(root, "PNG, JPEG, TIFF or npy file", has_image_name, skips, left_out, ranks);
}

Source source_of_files(const std::filesystem::path& root, const std::vector<std::string>& paths,
                       const std::string& axes) {
  Source source;
  source.where = root.string();
  source.axes = axes;
  const auto all = std::make_shared<const data::PackedTexts>(paths);
  const auto path = [root, all](std::int64_t i) { return root / (*all)[i]; };
  source.ids = {all->size(), [all](std::int64_t i) { return std::string((*all)[i]); }};
  source.path = path;
  source.place = [path](std::int64_t i) { return path(i).string(); };
  source.image = [path, axes](std::int64_t i) { return read_image(path(i), axes); };
  source.file = [path](std::int64_t i) { return read_file(path(i)); };
  return source;
}

Source source_of_files(const std::filesystem::path& root, const std::vector<std::string>& paths,
                       const std::string& layout, const std::string& axes) {
  Source source = source_of_files(root, paths, axes);
  const std::vector<Level> levels = parse_layout(layout);
  for (const std::string& path : paths) add_folders(source, levels, path, layout);
  return source;
}

void add_convert_images(CLI::App& convert, Action& action) {
  auto options = std::make_shared<ImagesOptions>();
  CLI::App& command = add_command(
      convert,
      {"images",
       "A folder tree, whose names of folders give split, context and label",
       {"cohort-data convert images photos --layout context:hospital/label --resize 96 --out data/photos",
        "mpirun -n 4 cohort-data convert images photos --hold-out-contexts 5 --hold-out-images 5 --out "
        "data/photos",
        "cohort-data convert images plates --layout none --context well --planes max --out data/plates"},
       endings_on_ranks(),
       "The first example is for files such as photos/hospitalA/benign/17.png. Of OME-TIFF (.ome.tif) pages "
       "are "
       "channels, and each series and time point is an image; facts are file (its path), image (the number "
       "of "
       "the series), plate, row, column, well, field, time, plane. Of other files it is file alone."});
  command.add_option("root", options->root, "the folder")->required()->type_name("FOLDER");
  command
      .add_option(
          "--layout", options->layout,
          "what the folders are, from the top: split, context, label or - (ignored), with a name if wanted: "
          "context:hospital; none: they say nothing (default: none without folders, context/label for two "
          "levels)")
      ->type_name("LEVELS");
  add_axes_to(command, options->axes, ".npy images", false);
  add_planes_to(command, options->planes);
  options->facts.add_to(command, "fact");
  options->fields.add_to(command, "folder");
  finish_convert<ImagesOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep

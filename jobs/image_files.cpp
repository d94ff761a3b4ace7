#include "image_files.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"

#include "data_prep/axes.h"
#include "data_prep/convert.h"
#include "data_prep/image_files.h"
#include "data_prep/skip.h"

namespace cohort::jobs {

namespace fs = std::filesystem;

struct ImageFiles::Found {
  data_prep::Source source;
  data_prep::ConvertOptions preparation;
  data_prep::Plan plan;
  bool has_splits = false;
};

namespace {

/// The files, and the folder that their paths are below; empty: none.
struct Files {
  fs::path root;
  std::vector<std::string> paths;
  data_prep::LeftOut left_out{};
};

/// Paths as they are given, those of lists in their places. Relative ones are so to the working folder, also
/// in a list, as find writes them.
std::vector<std::string> named_files(const std::vector<std::string>& arguments) {
  std::vector<std::string> paths;
  for (const std::string& argument : arguments) {
    if (fs::is_directory(argument)) {
      throw UsageError({"a folder among other images", argument,
                        "give one folder alone, or image files and lists of them (.txt, a path a line)"});
    }
    if (in_small_letters(fs::path(argument).extension().string()) != ".txt") {
      paths.push_back(argument);
      continue;
    }
    for (std::string& line : data_prep::split_text(read_file(argument, kMostRecords), '\n')) {
      if (line.ends_with('\r')) line.pop_back();
      if (!line.empty()) paths.push_back(std::move(line));
    }
  }
  return paths;
}

/// Collective.
Files find_files(const ImageOptions& options, comm::Communicator& ranks) {
  Files files;
  std::string list;
  bool is_folder = false;
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    is_folder = options.paths.size() == 1 && fs::is_directory(options.paths.front());
    if (!is_folder) list = join(named_files(options.paths), std::string_view("\0", 1));
  });
  if (ranks.max(std::int64_t{is_folder}) > 0) {
    files.root = options.paths.front();
    files.paths = data_prep::images_below(files.root, options.on_error == "skip", files.left_out, ranks);
    return files;
  }
  files.paths = data_prep::split_text(ranks.broadcast_text(std::move(list)), '\0');
  std::erase(files.paths, "");
  return files;
}

/// "photos" of "photos/".
std::string folder_name(const fs::path& folder) {
  const fs::path path = fs::absolute(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

/// What the folders are called that images lie in; for those at the top, the one that was given.
data_prep::Column folders_of(const Files& files, const std::string& key) {
  data_prep::Column column{key, {}};
  for (const std::string& path : files.paths) {
    const std::string parent = fs::path(path).parent_path().generic_string();
    column.values.push_back(!parent.empty() ? parent : files.root.empty() ? "." : folder_name(files.root));
  }
  return column;
}

[[noreturn]] void ask_for_layout(const std::vector<data::Signature::Context>& contexts) {
  std::vector<std::string> keys, levels;
  for (const auto& context : contexts) {
    keys.push_back(context.name);
    levels.push_back("context:" + context.name);
  }
  throw UsageError(
      {fmt::format("the model has the context keys {}: which folders are they?", join(keys, ", ")),
       "--layout", fmt::format("for example --layout {}", join(levels, "/"))});
}

/// "context" and "label" in a layout stand for the model's own, where it has one.
void use_own_names(data_prep::Source& source, const data::Signature& trained_on) {
  const auto rename = [](std::vector<data_prep::Column>& columns, const char* usual, const std::string& own) {
    if (columns.size() == 1 && columns.front().name == usual && !own.empty()) columns.front().name = own;
  };
  rename(source.labels, "label", trained_on.label);
  if (trained_on.contexts.size() == 1) rename(source.contexts, "context", trained_on.contexts.front().name);
}

data_prep::Source source_of(const Files& files, const ImageOptions& options,
                            const data::Signature& trained_on) {
  if (!options.layout.empty()) {
    if (files.root.empty())
      throw UsageError({"a layout says what the folders below one folder are", "--layout",
                        "give that folder instead of files"});
    data_prep::Source source =
        data_prep::source_of_files(files.root, files.paths, options.layout, options.axes);
    use_own_names(source, trained_on);
    return source;
  }
  data_prep::Source source = data_prep::source_of_files(files.root, files.paths, options.axes);
  if (trained_on.contexts.size() > 1) ask_for_layout(trained_on.contexts);
  if (!trained_on.contexts.empty())
    source.contexts.push_back(folders_of(files, trained_on.contexts.front().name));
  return source;
}

/// What was done to the images of training. All have their size at the end: one that came with it then is
/// brought to it now.
data_prep::ConvertOptions preparation_of(const data::Signature& trained_on) {
  const data::Preparation known = trained_on.preparation.value_or(data::Preparation{});
  data_prep::ConvertOptions options;
  options.gray = known.gray || trained_on.channels == std::vector<std::string>{"gray"};
  options.fit = data::fit_name(known.fit);
  options.resize = fmt::format("{}x{}", trained_on.images.height, trained_on.images.width);
  return options;
}

/// Images do not say what their channels are: the model's, where there are as many. `chosen`: the model's
/// are some of those that its images had, in any order.
std::vector<std::string> channels_of(const data::ImageLayout& images, const data::Signature& trained_on,
                                     bool chosen) {
  const std::vector<std::string> usual = data_prep::usual_channel_names(images.channels),
                                 &known = trained_on.channels;
  if (std::ssize(known) != images.channels) return usual;
  if (!chosen || images.channels == 1) return known;
  if (std::is_permutation(usual.begin(), usual.end(), known.begin())) return usual;
  throw UsageError(
      {fmt::format("the model sees chosen channels: {}; which of the images are they?", list_of(known)),
       "data.channels",
       "make a dataset of the images with cohort-data convert, which names them: --channels"});
}

/// In the words of the model.
void describe(data::Description& description, const data::ImageLayout& images,
              const data::Signature& trained_on, bool chosen) {
  description.images = images;
  description.channels = channels_of(images, trained_on, chosen);
  const auto channels = description.channels.size();
  const bool fits = description.channels == trained_on.channels && trained_on.mean.size() == channels;
  description.mean = fits ? trained_on.mean : std::vector<double>(channels, 0.0);
  description.deviation = fits ? trained_on.deviation : std::vector<double>(channels, 1.0);
}

void say_contexts(const data::Description& description, const ImageOptions& options) {
  for (const data::ContextColumn& column : description.contexts) {
    if (column.values.size() == 1)
      log_info(fmt::format("context: all images are of one, {} '{}'", column.name, column.values.front()));
    else
      log_info(fmt::format("context: {} has {} values, the names of {}", column.name,
                           format_count(std::ssize(column.values)),
                           options.layout.empty() ? "the folders that images lie in" : "--layout"));
  }
}

/// Collective. Takes out what cannot be used.
void skip(data_prep::Source& source, const data_prep::ConvertOptions& preparation,
          const ImageOptions& options, comm::Communicator& ranks) {
  const std::vector<data_prep::Skipped> skipped = data_prep::skip_damaged(source, preparation, ranks);
  comm::together(ranks, [&] {
    if (ranks.rank() != 0 || skipped.empty()) return;
    fmt::print("{}", data_prep::skipped_text(skipped));
    data_prep::write_skipped(options.skipped, skipped);
    fmt::print("listed in {}\n", options.skipped);
  });
}

}  // namespace

void ImageOptions::add_to(CLI::App& command) {
  command.add_option(
      "--layout", layout,
      "what the folders below a folder of images are, from the top: split, context, label or - "
      "(ignored), with a name if wanted: context:hospital; without it the images of one folder "
      "are one context");
  command
      .add_option("--on-error", on_error,
                  "images that cannot be read: stop, or skip, which lists them in OUT.skipped.csv")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
  data_prep::add_axes_to(command, axes, ".npy images", false);
}

ImageFiles::ImageFiles(const ImageOptions& options, const data::Signature& trained_on, bool chosen_channels,
                       comm::Communicator& ranks) {
  const Files files = find_files(options, ranks);
  const auto found = std::make_shared<Found>();
  comm::together(ranks, [&] {
    found->source = source_of(files, options, trained_on);
    found->preparation = preparation_of(trained_on);
    found->preparation.name = files.root.empty() ? "images" : folder_name(files.root);
    found->has_splits = !found->source.splits.empty();
    if (!found->has_splits)
      found->source.splits = {std::ssize(files.paths), [](std::int64_t) { return "images"; }};
    if (!files.paths.empty()) found->source.statistics = found->source.splits[0];
  });
  if (ranks.rank() == 0) fmt::print("{}", files.left_out.text());
  if (options.on_error == "skip" && !files.paths.empty())
    skip(found->source, found->preparation, options, ranks);
  comm::together(ranks, [&] {
    found->plan = data_prep::make_plan(found->source, found->preparation);
    const data::ImageLayout images =
        data_prep::prepared(found->source, found->preparation, 0, found->source.image(0)).layout;
    describe(found->plan.description, images, trained_on, chosen_channels);
    log_info(fmt::format("{} images, prepared as those of training: {}",
                         format_count(found->plan.rows.size()), data_prep::layout_text(images)));
    say_contexts(found->plan.description, options);
  });
  found_ = found;
}

const data::Description& ImageFiles::description() const {
  return found_->plan.description;
}

bool ImageFiles::has_splits() const {
  return found_->has_splits;
}

data::Dataset ImageFiles::open(const std::string& split) const {
  const auto pixels = [found = found_](std::int64_t index, std::span<std::byte> out) {
    data_prep::store_prepared(found->source, found->preparation, found->plan.description.images, index, out);
  };
  std::vector<data::Row> rows;
  for (std::int64_t i = 0; i < found_->plan.rows.size(); ++i) rows.push_back(found_->plan.rows[i]);
  return data::Dataset::of_source(found_->plan.description, split, rows, pixels);
}

}  // namespace cohort::jobs

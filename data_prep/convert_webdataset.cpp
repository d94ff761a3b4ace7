// cohort-data convert webdataset: tar shards in which the files of one sample follow each other and share a
// name up to its first dot (github.com/webdataset/webdataset): 000017.jpg, 000017.json, 000017.cls.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/checksum.h"
#include "cohort/core/text.h"

#include "data_prep/axes.h"
#include "data_prep/convert.h"
#include "data_prep/image_file.h"
#include "data_prep/tar.h"
#include "support/json.h"

namespace cohort::data_prep {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct WebdatasetOptions {
  std::vector<fs::path> archives;
  std::string image;  // its ending; empty: see image_of()
  std::string axes;
  ColumnOptions columns;
  ConvertOptions common;
};

/// The files of a sample by ending, in small letters: "jpg", "json", "seg.png".
struct Sample {
  std::size_t archive = 0;
  std::string key;
  std::map<std::string, TarEntry> files;
};

/// The directory is part of the key; the ending begins at the first dot of the file name and counts in small
/// letters, as in the webdataset package.
std::pair<std::string, std::string> key_and_ending(const std::string& name) {
  const std::size_t slash = name.rfind('/'), start = slash == std::string::npos ? 0 : slash + 1;
  const std::size_t dot = name.find('.', start);
  if (dot == std::string::npos) return {name, ""};
  return {name.substr(0, dot), in_small_letters(name.substr(dot + 1))};
}

/// Of a path in an archive, which may begin with "./".
bool has_hidden_part(const std::string& path) {
  const std::vector<std::string> parts = split_text(path, '/');
  return std::any_of(parts.begin(), parts.end(),
                     [](const std::string& part) { return part != "." && is_hidden(part); });
}

[[noreturn]] void refuse_twice(const fs::path& archive, const std::string& key, const TarEntry& first,
                               const TarEntry& second) {
  throw DataError({fmt::format("the archive has two samples, or two files of one, called '{}'", key),
                   fmt::format("{}: {} at byte {} and {} at byte {}", archive.string(), first.name,
                               first.offset, second.name, second.offset),
                   "give every sample a name of its own, its files behind each other"});
}

/// What the archives hold, sample by sample.
class SampleList {
 public:
  void add(const fs::path& archive, std::size_t index, LeftOut& left_out) {
    std::map<std::string, TarEntry> first_of;  // by key
    for (const TarEntry& entry : read_tar(archive, left_out)) {
      if (has_hidden_part(entry.name)) {
        left_out.add("hidden", fmt::format("{}: {}", archive.filename().string(), entry.name));
        continue;
      }
      const auto [key, ending] = key_and_ending(entry.name);
      if (samples.empty() || samples.back().archive != index || samples.back().key != key) {
        const auto [first, is_new] = first_of.emplace(key, entry);
        if (!is_new) refuse_twice(archive, key, first->second, entry);
        samples.push_back({index, key, {}});
      }
      const auto [file, is_new] = samples.back().files.emplace(ending, entry);
      if (!is_new) refuse_twice(archive, key, file->second, entry);
    }
  }
  std::vector<Sample> samples;
};

/// The endings of the images among a sample's files.
std::vector<std::string> image_endings(const Sample& sample) {
  std::vector<std::string> endings;
  for (const auto& [ending, entry] : sample.files) {
    if (has_image_name("x." + ending.substr(ending.rfind('.') + 1))) endings.push_back(ending);
  }
  return endings;
}

/// The file that is the image: the one that was asked for, else the one whose ending has the fewest parts,
/// "png" and not "mask.png". Nothing: the sample has none. Throws DataError where several have as few.
const TarEntry* image_of(const Sample& sample, const std::string& wanted, const std::string& where) {
  const std::vector<std::string> endings = image_endings(sample);
  if (!wanted.empty()) {
    const auto found = sample.files.find(in_small_letters(wanted));
    return found == sample.files.end() ? nullptr : &found->second;
  }
  if (endings.empty()) return nullptr;
  const auto parts = [](const std::string& ending) { return std::count(ending.begin(), ending.end(), '.'); };
  const auto fewest = std::min_element(endings.begin(), endings.end(),
                                       [&](const auto& a, const auto& b) { return parts(a) < parts(b); });
  const auto same = std::count_if(endings.begin(), endings.end(),
                                  [&](const auto& ending) { return parts(ending) == parts(*fewest); });
  if (same == 1) return &sample.files.at(*fewest);
  throw DataError({fmt::format("the sample has {} images: {}", endings.size(), join(endings, ", ")), where,
                   fmt::format("choose one with --image, for example --image {}", endings.front())});
}

/// A number, a text or a truth value as text; null and what is missing: "".
std::string text_of(const json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  return value.dump();
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

class Samples {
 public:
  Samples(const WebdatasetOptions& options, LeftOut& left_out) : options_(options) {
    SampleList list;
    for (std::size_t i = 0; i < options.archives.size(); ++i) list.add(options.archives[i], i, left_out);
    for (Sample& sample : list.samples) {
      if (const TarEntry* image = image_of(sample, options.image, where(sample))) {
        images_.push_back(*image);
        samples_.push_back(std::move(sample));
      } else {
        left_out.add("samples without an image", where(sample));
      }
    }
  }

  [[nodiscard]] std::size_t size() const { return samples_.size(); }
  [[nodiscard]] const std::string& key(std::size_t index) const { return samples_[index].key; }
  [[nodiscard]] std::string file(std::size_t index) const { return content(samples_[index], images_[index]); }
  [[nodiscard]] Image image(std::size_t index) const {
    return decode_image(file(index), place(index), options_.axes);
  }
  [[nodiscard]] std::string place(std::size_t index) const { return where(samples_[index]); }

  /// "cls": the content of the file with this ending; "json:site": of its key; "archive": the name of the
  /// shard.
  [[nodiscard]] std::vector<std::string> column(const std::string& name, const std::string& option) const {
    const std::size_t colon = name.find(':');
    const std::string ending = in_small_letters(name.substr(0, colon));
    if (name == "archive") check_archive_names();
    std::vector<std::string> values;
    for (const Sample& sample : samples_) {
      const auto found = sample.files.find(ending);
      if (name == "archive") {
        values.push_back(options_.archives[sample.archive].stem().string());
      } else if (found == sample.files.end()) {
        refuse_missing(sample, ending, option);
      } else if (colon == std::string::npos) {
        values.push_back(trimmed(content(sample, found->second)));
      } else {
        values.push_back(value_in(sample, found->second, name.substr(colon + 1)));
      }
    }
    return values;
  }

 private:
  void check_archive_names() const {
    std::map<std::string, fs::path> archive_of;
    for (const fs::path& archive : options_.archives) {
      const auto [other, is_new] = archive_of.emplace(archive.stem().string(), archive);
      if (is_new) continue;
      throw DataError({fmt::format("two archives are called '{}'", other->first),
                       fmt::format("{} and {}", other->second.string(), archive.string()),
                       "rename one of them"});
    }
  }
  [[nodiscard]] std::string where(const Sample& sample) const {
    return fmt::format("{}: {}", options_.archives[sample.archive].string(), sample.key);
  }
  [[nodiscard]] std::string content(const Sample& sample, const TarEntry& entry) const {
    return read_tar_entry(options_.archives[sample.archive], entry);
  }
  [[nodiscard]] std::string value_in(const Sample& sample, const TarEntry& entry,
                                     const std::string& key) const {
    const std::string text = content(sample, entry);
    if (const auto twice = repeated_key(text)) {
      throw DataError({fmt::format("the sample's JSON has the key '{}' twice", *twice),
                       fmt::format("{} ({})", where(sample), entry.name), "write each key once"});
    }
    const json values = is_nested_deeply(text) ? json() : json::parse(text, nullptr, false);
    if (!values.is_object())
      throw DataError(
          {"the sample's JSON is no object", where(sample), "write {\"key\": value, …} for each sample"});
    return values.contains(key) ? text_of(values.at(key)) : "";
  }
  [[noreturn]] void refuse_missing(const Sample& sample, const std::string& ending,
                                   const std::string& option) const {
    std::vector<std::string> endings;
    for (const auto& [known, entry] : sample.files) endings.push_back(known);
    throw DataError(
        {fmt::format("the sample has no file '.{}', which {} asks for", ending, option), where(sample),
         fmt::format("it has {}; write json:KEY for a key of a .json file", join(endings, ", "))});
  }

  const WebdatasetOptions& options_;
  std::vector<Sample> samples_;
  std::vector<TarEntry> images_;  // one a sample
};

ExitCode run(const WebdatasetOptions& options, comm::Communicator& ranks) {
  std::optional<Samples> samples;
  Source source;
  comm::together(ranks, [&] {
    samples.emplace(options, source.left_out);
    source.where = options.archives.front().string();
    source.content = checksum(std::as_bytes(std::span(options.image)));
    source.axes = options.axes;
    source.archives = options.archives;
    for (std::size_t i = 0; i < samples->size(); ++i) source.ids.push_back(samples->key(i));
    const auto read = [&](const std::string& name, const std::string& option) {
      return samples->column(name, option);
    };
    read_columns(source, options.columns, read);
    read_groups(source, options.common, read);
  });
  source.image = [&](std::int64_t index) { return samples->image(static_cast<std::size_t>(index)); };
  source.file = [&](std::int64_t index) { return samples->file(static_cast<std::size_t>(index)); };
  source.place = [&](std::int64_t index) { return samples->place(static_cast<std::size_t>(index)); };
  return convert(source, options.common, ranks);
}

}  // namespace

void add_convert_webdataset(CLI::App& convert, Action& action) {
  auto options = std::make_shared<WebdatasetOptions>();
  CLI::App& command =
      add_command(convert, {"webdataset",
                            "Tar shards, in which the files of a sample share a name",
                            {"mpirun -n 8 cohort-data convert webdataset shards/*.tar --label cls=grade "
                             "--context json:hospital=hospital --out data/web"},
                            endings_on_ranks(),
                            "A part is the ending of a file (cls: its text), a key of a JSON file "
                            "(json:site), or 'archive', the name of the shard. Endings count in small "
                            "letters. Samples without an image are left out and counted."});
  command.add_option("archives", options->archives, "the shards, uncompressed")
      ->required()
      ->type_name("TAR")
      ->check(CLI::ExistingFile);
  command
      .add_option("--image", options->image,
                  "ending of the image among a sample's files (default: the image with the shortest ending: "
                  "png, not mask.png)")
      ->type_name("ENDING");
  options->columns.add_to(command, "part");
  add_axes_to(command, options->axes, ".npy images", false);
  finish_convert<WebdatasetOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep

// cohort-data convert webdataset: tar shards in which the files of one sample follow each other and share a
// name up to its first dot (github.com/webdataset/webdataset): 000017.jpg, 000017.json, 000017.cls.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/checksum.h"
#include "cohort/core/text.h"

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
  ColumnOptions columns;
  ConvertOptions common;
};

/// The files of a sample by ending: "jpg", "json", "seg.png".
struct Sample {
  std::size_t archive = 0;
  std::string key;
  std::map<std::string, TarEntry> files;
};

/// The directory is part of the key; the ending begins at the first dot of the file name.
std::pair<std::string, std::string> key_and_ending(const std::string& name) {
  const std::size_t slash = name.rfind('/'), start = slash == std::string::npos ? 0 : slash + 1;
  const std::size_t dot = name.find('.', start);
  if (dot == std::string::npos) return {name, ""};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

void add_samples(const fs::path& archive, std::size_t index, std::vector<Sample>& samples, Checksum& sum) {
  for (const TarEntry& entry : read_tar(archive)) {
    const auto [key, ending] = key_and_ending(entry.name);
    if (samples.empty() || samples.back().archive != index || samples.back().key != key)
      samples.push_back({index, key, {}});
    samples.back().files[ending] = entry;
    const std::string line = fmt::format("{} {} {}\n", entry.name, entry.offset, entry.bytes);
    sum.update(std::as_bytes(std::span(line)));
  }
}

/// The file that is the image: the first one, by name, that looks like one.
const TarEntry* image_of(const Sample& sample) {
  const auto found = std::find_if(sample.files.begin(), sample.files.end(), [](const auto& file) {
    return has_image_name("x." + file.first.substr(file.first.rfind('.') + 1));
  });
  return found == sample.files.end() ? nullptr : &found->second;
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
  Samples(const WebdatasetOptions& options, Checksum& sum) : options_(options) {
    for (std::size_t i = 0; i < options.archives.size(); ++i)
      add_samples(options.archives[i], i, samples_, sum);
    std::erase_if(samples_, [](const Sample& sample) { return image_of(sample) == nullptr; });
  }

  [[nodiscard]] std::size_t size() const { return samples_.size(); }
  [[nodiscard]] const std::string& key(std::size_t index) const { return samples_[index].key; }
  [[nodiscard]] std::string file(std::size_t index) const {
    return content(samples_[index], *image_of(samples_[index]));
  }
  [[nodiscard]] Image image(std::size_t index) const {
    return decode_image(file(index), where(samples_[index]));
  }

  /// "cls": the content of the file with this ending; "json:site": of its key; "archive": the name of the
  /// shard.
  [[nodiscard]] std::vector<std::string> column(const std::string& name, const std::string& option) const {
    const std::size_t colon = name.find(':');
    const std::string ending = name.substr(0, colon);
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
  [[nodiscard]] std::string where(const Sample& sample) const {
    return fmt::format("{}: {}", options_.archives[sample.archive].string(), sample.key);
  }
  [[nodiscard]] std::string content(const Sample& sample, const TarEntry& entry) const {
    return read_tar_entry(options_.archives[sample.archive], entry);
  }
  [[nodiscard]] std::string value_in(const Sample& sample, const TarEntry& entry,
                                     const std::string& key) const {
    const std::string text = content(sample, entry);
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
};

ExitCode run(const WebdatasetOptions& options, comm::Communicator& ranks) {
  std::optional<Samples> samples;
  Source source;
  comm::together(ranks, [&] {
    Checksum sum;
    samples.emplace(options, sum);
    source.where = options.archives.front().string();
    source.content = sum.value();
    for (std::size_t i = 0; i < samples->size(); ++i) source.ids.push_back(samples->key(i));
    read_columns(source, options.columns, [&](const std::string& name, const std::string& option) {
      return samples->column(name, option);
    });
  });
  source.image = [&](std::int64_t index) { return samples->image(static_cast<std::size_t>(index)); };
  source.file = [&](std::int64_t index) { return samples->file(static_cast<std::size_t>(index)); };
  return convert(source, options.common, ranks);
}

}  // namespace

void add_convert_webdataset(CLI::App& convert, Action& action) {
  auto options = std::make_shared<WebdatasetOptions>();
  CLI::App& command = *convert.add_subcommand("webdataset", "tar shards: the files of a sample share a name");
  command.add_option("archives", options->archives, "the shards, uncompressed")
      ->required()
      ->type_name("TAR")
      ->check(CLI::ExistingFile);
  options->columns.add_to(command, "part");
  options->common.add_to(command);
  command.footer(
      "A part is the ending of a file (cls: its text), a key of a JSON file (json:site), or 'archive', the "
      "name of the "
      "shard. Samples without an image are left out.\n"
      "Example:\n"
      "  mpirun -n 8 cohort-data convert webdataset shards/*.tar --label cls=grade --context "
      "json:hospital=hospital "
      "--out data/web");
  choose_on<WebdatasetOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep

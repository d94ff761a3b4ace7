#include "cohort/data/description.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <span>
#include <sys/stat.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/comm/communicator.h"
#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/host.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/data/image_codec.h"
#include "cohort/data/pixel_type.h"

#include "support/json.h"

namespace cohort::data {
namespace {

constexpr const char* kFile = "dataset.json";
constexpr const char* kFormat = "cohort-dataset";
constexpr std::int64_t kMaxSide = 1 << 20;
constexpr std::int64_t kMaxImageBytes = std::int64_t{1} << 32, kMaxShardBytes = std::int64_t{1} << 48;
constexpr std::int64_t kLeastRowBytes = 8;  // its checksum

/// A value of the JSON document that knows its place in it, for messages: "data/x/dataset.json:
/// splits[0].name".
class Node {
 public:
  Node(const Json& json, std::string file, std::string path)
      : json_(&json), file_(std::move(file)), path_(std::move(path)) {}

  [[nodiscard]] Node at(const std::string& key) const {
    if (!json_->is_object()) fail("is not an object");
    const auto found = json_->find(key);
    const std::string path = path_.empty() ? key : path_ + "." + key;
    if (found == json_->end()) throw error(fmt::format("key '{}' is missing", path), path);
    return {*found, file_, path};
  }

  [[nodiscard]] bool has(const std::string& key) const { return json_->contains(key); }

  [[nodiscard]] std::vector<Node> list() const {
    if (!json_->is_array()) fail("is not a list");
    std::vector<Node> nodes;
    for (std::size_t i = 0; i < json_->size(); ++i)
      nodes.emplace_back((*json_)[i], file_, fmt::format("{}[{}]", path_, i));
    return nodes;
  }

  [[nodiscard]] std::string text() const {
    if (!json_->is_string()) fail("is not a text");
    return json_->get<std::string>();
  }

  [[nodiscard]] bool flag() const {
    if (!json_->is_boolean()) fail("is neither true nor false");
    return json_->get<bool>();
  }

  [[nodiscard]] std::int64_t integer(std::int64_t low, std::int64_t high = INT64_MAX) const {
    const bool fits = json_->is_number_integer() && !(json_->is_number_unsigned() &&
                                                      json_->get<std::uint64_t>() > std::uint64_t{INT64_MAX});
    if (!fits) fail("is not an integer");
    const auto value = json_->get<std::int64_t>();
    if (value < low || value > high) fail(fmt::format("is {}, outside {} … {}", value, low, high));
    return value;
  }

  [[nodiscard]] double number() const {
    if (!json_->is_number()) fail("is not a number");
    const auto value = json_->get<double>();
    if (!std::isfinite(value)) fail("is not finite");
    return value;
  }

  [[nodiscard]] std::uint64_t checksum() const { return parse_checksum(text(), file_ + ": " + path_); }

  [[noreturn]] void fail(const std::string& problem) const {
    throw error(fmt::format("key '{}' {}", path_, problem), path_);
  }

 private:
  [[nodiscard]] DataError error(const std::string& what, const std::string& path) const {
    return DataError({what, fmt::format("{}: {}", file_, path),
                      "the file was damaged or edited by hand: restore it or convert the images again"});
  }

  const Json* json_;
  std::string file_, path_;
};

void check_unique(const Node& node, const std::vector<std::string>& names) {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (!seen.insert(name).second) node.fail(fmt::format("has '{}' twice", name));
  }
}

void check_names_of(const std::string& kind, const std::vector<std::string>& names) {
  std::set<std::string_view> seen;
  for (const std::string& name : names) {
    if (!is_utf8(name)) {
      throw DataError({fmt::format("the name of a {} is not valid UTF-8: '{}'", kind, printable(name)),
                       "the images to be written",
                       "rename it; iconv turns tables, and convmv names of files, into UTF-8"});
    }
    if (!seen.insert(name).second) {
      throw DataError({fmt::format("'{}' is twice the name of a {}", name, kind), "the images to be written",
                       "rename one of them, or name it once"});
    }
  }
}

template <class Element>
std::vector<std::string> names_of(const std::vector<Element>& elements) {
  std::vector<std::string> names;
  for (const Element& element : elements) names.push_back(element.name);
  return names;
}

std::vector<std::string> read_names(const Node& node) {
  std::vector<std::string> names;
  for (const Node& entry : node.list()) names.push_back(entry.text());
  check_unique(node, names);
  return names;
}

std::vector<double> read_numbers(const Node& node, std::int64_t count) {
  std::vector<double> numbers;
  for (const Node& entry : node.list()) numbers.push_back(entry.number());
  if (static_cast<std::int64_t>(numbers.size()) != count) {
    node.fail(fmt::format("has {} values for {} channels", numbers.size(), count));
  }
  return numbers;
}

PixelType read_pixel_type(const Node& node) {
  const std::string name = node.text();
  if (const auto type = pixel_type_of(name)) return *type;
  node.fail(fmt::format("is '{}', none of u8, u16, f32", name));
}

ImageLayout read_layout(const Node& node) {
  const ImageLayout layout{read_pixel_type(node.at("type")), node.at("channels").integer(1, 1 << 16),
                           node.at("height").integer(1, kMaxSide), node.at("width").integer(1, kMaxSide)};
  if (layout.bytes() > kMaxImageBytes) node.fail(fmt::format("asks for images of {} bytes", layout.bytes()));
  return layout;
}

bool is_file_name(const std::string& text) {
  const std::filesystem::path path(text);
  return !text.empty() && text.find('\0') == std::string::npos && path == path.filename() && text != "." &&
         text != "..";
}

ShardEntry read_shard(const Node& node) {
  const std::int64_t bytes = node.at("bytes").integer(1, kMaxShardBytes);
  ShardEntry shard{node.at("file").text(), node.at("rows").integer(1), static_cast<std::uint64_t>(bytes),
                   node.at("checksum").checksum()};
  if (!is_file_name(shard.file))
    node.at("file").fail(fmt::format("is '{}', not the name of a file in the folder", shard.file));
  if (shard.rows > bytes / kLeastRowBytes)
    node.at("rows").fail(fmt::format("is {}, more than {} bytes can hold", shard.rows, bytes));
  return shard;
}

Split read_split(const Node& node) {
  Split split{node.at("name").text(), {}};
  if (!is_file_name(split.name))
    node.at("name").fail(fmt::format("is '{}', which cannot name files", split.name));
  for (const Node& shard : node.at("shards").list()) split.shards.push_back(read_shard(shard));
  return split;
}

void read_statistics(const Node& root, Description& description) {
  const std::int64_t channels = description.images.channels;
  description.channels = read_names(root.at("channels"));
  if (static_cast<std::int64_t>(description.channels.size()) != channels) {
    root.at("channels")
        .fail(fmt::format("has {} names for {} channels", description.channels.size(), channels));
  }
  description.mean = read_numbers(root.at("mean"), channels);
  description.deviation = read_numbers(root.at("deviation"), channels);
  for (const double value : description.deviation) {
    if (value <= 0) root.at("deviation").fail("has a value that is not positive");
  }
}

void read_columns(const Node& root, Description& description) {
  for (const Node& node : root.at("labels").list()) {
    description.labels.push_back({node.at("name").text(), read_names(node.at("classes"))});
  }
  check_unique(root.at("labels"), names_of(description.labels));
  for (const Node& node : root.at("contexts").list()) {
    description.contexts.push_back({node.at("name").text(), read_names(node.at("values"))});
  }
  check_unique(root.at("contexts"), names_of(description.contexts));
}

void read_splits(const Node& root, Description& description) {
  std::vector<std::string> files;
  for (const Node& node : root.at("splits").list()) {
    description.splits.push_back(read_split(node));
    for (const ShardEntry& shard : description.splits.back().shards) files.push_back(shard.file);
  }
  if (description.splits.empty()) root.at("splits").fail("is empty");
  check_unique(root.at("splits"), names_of(description.splits));
  check_unique(root.at("splits"), files);
}

Fit read_fit(const Node& node) {
  const std::string name = node.text();
  if (const auto fit = fit_of(name)) return *fit;
  node.fail(fmt::format("is '{}', none of stretch, crop, pad", name));
}

/// Files of programs that did not know the key do not tell.
void read_preparation(const Node& root, Description& description) {
  if (!root.has("preparation")) return;
  const Node node = root.at("preparation");
  Preparation preparation{.gray = node.at("gray").flag()};
  if (node.has("resize")) {
    const Node resize = node.at("resize");
    preparation.height = resize.at("height").integer(1, kMaxSide);
    preparation.width = resize.at("width").integer(1, kMaxSide);
    preparation.fit = read_fit(resize.at("fit"));
  }
  description.preparation = preparation;
}

/// Files of programs that did not know the key have the statistics of their first split.
void read_statistics_split(const Node& root, Description& description) {
  description.statistics =
      root.has("statistics") ? root.at("statistics").text() : description.splits.front().name;
  const std::vector<std::string> names = names_of(description.splits);
  if (std::find(names.begin(), names.end(), description.statistics) == names.end())
    root.at("statistics").fail(fmt::format("is '{}', none of the splits", description.statistics));
}

void read_codec(const Node& root, Description& description) {
  if (root.at("version").integer(1) == 1) return;  // knew no codec
  const Node images = root.at("images");
  const std::string name = images.at("codec").text();
  const std::optional<Codec> codec = codec_of(name);
  if (!codec) images.at("codec").fail(fmt::format("is '{}', none of {}", name, join(codec_names(), ", ")));
  description.codec = *codec;
  if (*codec == Codec::jpeg)
    description.jpeg_quality = static_cast<int>(images.at("jpeg_quality").integer(1, 100));
}

void check_version(const Node& root, const std::string& file) {
  if (root.at("format").text() != kFormat) root.at("format").fail(fmt::format("is not '{}'", kFormat));
  const std::int64_t version = root.at("version").integer(1);
  if (version > Description::kVersion) {
    throw DataError(
        {fmt::format("version {} of the dataset format is not known", version), file + ": version",
         fmt::format("this program reads versions 1 to {}: use a newer one", Description::kVersion)});
  }
}

Description parse(const Json& json, const std::string& file) {
  const Node root(json, file, "");
  check_version(root, file);
  Description description;
  description.name = root.at("name").text();
  description.license = root.at("license").text();
  description.source = root.at("source").checksum();
  description.images = read_layout(root.at("images"));
  read_codec(root, description);
  read_preparation(root, description);
  read_statistics(root, description);
  read_columns(root, description);
  read_splits(root, description);
  read_statistics_split(root, description);
  return description;
}

Json to_json(const ShardEntry& shard) {
  return {{"file", shard.file},
          {"rows", shard.rows},
          {"bytes", shard.bytes},
          {"checksum", checksum_text(shard.checksum)}};
}

Json to_json(const Split& split) {
  Json shards = Json::array();
  for (const ShardEntry& shard : split.shards) shards.push_back(to_json(shard));
  return {{"name", split.name}, {"shards", shards}};
}

Json images_json(const Description& description) {
  const ImageLayout& images = description.images;
  Json json{{"type", pixel_type_name(images.type)},
            {"channels", images.channels},
            {"height", images.height},
            {"width", images.width}};
  if (description.codec != Codec::raw) json["codec"] = codec_name(description.codec);
  if (description.codec == Codec::jpeg) json["jpeg_quality"] = description.jpeg_quality;
  return json;
}

Json to_json(const Preparation& preparation) {
  Json json{{"gray", preparation.gray}};
  if (preparation.height > 0)
    json["resize"] = {
        {"height", preparation.height}, {"width", preparation.width}, {"fit", fit_name(preparation.fit)}};
  return json;
}

Json statistics_json(const Description& description) {
  Json json{{"mean", description.mean}, {"deviation", description.deviation}};
  if (!description.statistics.empty()) json["statistics"] = description.statistics;
  return json;
}

Json to_json(const Description& description) {
  Json labels = Json::array(), contexts = Json::array(), splits = Json::array();
  for (const LabelColumn& label : description.labels)
    labels.push_back({{"name", label.name}, {"classes", label.classes}});
  for (const ContextColumn& key : description.contexts)
    contexts.push_back({{"name", key.name}, {"values", key.values}});
  for (const Split& split : description.splits) splits.push_back(to_json(split));
  Json json{{"format", kFormat},
            {"version", description.version()},
            {"name", description.name},
            {"license", description.license},
            {"source", checksum_text(description.source)},
            {"images", images_json(description)},
            {"channels", description.channels}};
  if (description.preparation) json["preparation"] = to_json(*description.preparation);
  json.update(statistics_json(description));
  json.update({{"labels", labels}, {"contexts", contexts}, {"splits", splits}});
  return json;
}

template <class Element>
const Element& find(const std::vector<Element>& elements, std::string_view name, const char* kind,
                    const std::string& dataset) {
  const auto found =
      std::find_if(elements.begin(), elements.end(), [&](const Element& e) { return e.name == name; });
  if (found != elements.end()) return *found;
  const std::vector<std::string> names = names_of(elements);
  throw UsageError({fmt::format("the dataset has no {} '{}'", kind, name), fmt::format("dataset {}", dataset),
                    names.empty() ? fmt::format("it has no {} at all", kind) : did_you_mean(name, names)});
}

}  // namespace

std::string_view fit_name(Fit fit) noexcept {
  if (fit == Fit::stretch) return "stretch";
  return fit == Fit::crop ? "crop" : "pad";
}

std::optional<Fit> fit_of(std::string_view name) noexcept {
  for (const Fit fit : {Fit::stretch, Fit::crop, Fit::pad}) {
    if (name == fit_name(fit)) return fit;
  }
  return std::nullopt;
}

std::int64_t Split::rows() const noexcept {
  std::int64_t total = 0;
  for (const ShardEntry& shard : shards) total += shard.rows;
  return total;
}

namespace {

std::string read_text(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kFile;
  if (!std::filesystem::is_directory(folder)) {
    throw DataError(
        {"there is no such dataset", folder.string(), "check data.path; cohort-data convert makes datasets"});
  }
  if (!std::filesystem::exists(file)) {
    throw DataError({"the folder holds no dataset.json", folder.string(),
                     "it is not a dataset, or its conversion did not finish: run cohort-data convert again"});
  }
  return read_file(file, kMostRecords);
}

Description parse_text(const std::string& content, const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kFile;
  if (const std::optional<std::string> key = repeated_key(content)) {
    throw DataError({fmt::format("dataset.json has the key '{}' twice", *key), file.string(),
                     "the file was damaged or edited by hand: restore it or convert the images again"});
  }
  try {
    return parse(Json::parse(content), file.string());
  } catch (const Json::exception& error) {
    throw DataError({fmt::format("dataset.json is not valid: {}", error.what()), file.string(),
                     "restore it or convert the images again"});
  }
}

/// Tells a file from its copies on other disks, without reading it. Empty when it is not there.
std::string stamp_of(const std::filesystem::path& folder) {
  struct stat status {};
  if (::stat((folder / kFile).c_str(), &status) != 0) return "";
  return fmt::format("{} {} {}.{}", status.st_ino, status.st_size, status.st_mtim.tv_sec,
                     status.st_mtim.tv_nsec);
}

std::string identity_of(const Description& description, const std::string& content) {
  return fmt::format("{} {}", description.name,
                     checksum_text(checksum(std::as_bytes(std::span(content.data(), content.size())))));
}

/// The file that this rank sees is another one than that of rank 0: it has to say the same.
void check_copy(const Description& first, const std::string& content, const std::filesystem::path& folder) {
  const std::string copy = read_text(folder);
  if (copy == content) return;
  throw UsageError({fmt::format("ranks see different datasets: '{}' on rank 0, '{}' here",
                                identity_of(first, content), identity_of(parse_text(copy, folder), copy)),
                    fmt::format("{} on {}", (folder / kFile).string(), host_name()),
                    "copy the same dataset to all hosts"});
}

const std::string& channel_named(const std::string& wanted, const std::vector<std::string>& known,
                                 const std::string& where) {
  for (const std::string& name : {wanted, "channel_" + wanted}) {
    const auto found = std::find(known.begin(), known.end(), name);
    if (found != known.end()) return *found;
  }
  throw UsageError({fmt::format("there is no channel '{}'", wanted), where, did_you_mean(wanted, known)});
}

}  // namespace

Description Description::read(const std::filesystem::path& folder) {
  return parse_text(read_text(folder), folder);
}

Description Description::read(const std::filesystem::path& folder, comm::Communicator& ranks) {
  std::string content, stamp;
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    content = read_text(folder);
    stamp = stamp_of(folder);
  });
  content = ranks.broadcast_text(std::move(content));
  stamp = ranks.broadcast_text(std::move(stamp));
  Description description;
  comm::together(ranks, [&] {
    description = parse_text(content, folder);
    if (stamp_of(folder) != stamp) check_copy(description, content, folder);
  });
  return description;
}

void Description::check_names() const {
  check_names_of("dataset", {name});
  check_names_of("licence", {license});
  check_names_of("channel", channels);
  check_names_of("split", names_of(splits));
  check_names_of("label", names_of(labels));
  check_names_of("context key", names_of(contexts));
  for (const LabelColumn& label : labels) check_names_of("class of '" + label.name + "'", label.classes);
  for (const ContextColumn& context : contexts)
    check_names_of("value of '" + context.name + "'", context.values);
}

void Description::write(const std::filesystem::path& folder) const {
  check_names();
  write_file_atomically(folder / kFile, to_json(*this).dump(2) + "\n");
}

const Split& Description::split(std::string_view wanted) const {
  return find(splits, wanted, "split", name);
}
std::vector<std::string> with_images(const Description& description, const std::vector<std::string>& splits) {
  std::vector<std::string> found;
  for (const std::string& name : splits) {
    if (description.split(name).rows() > 0) {
      found.push_back(name);
    } else {
      log_warning(fmt::format("split '{}' has no images and is passed over", name));
    }
  }
  return found;
}

const LabelColumn& Description::label(std::string_view wanted) const {
  return find(labels, wanted, "label", name);
}
const ContextColumn& Description::context(std::string_view wanted) const {
  return find(contexts, wanted, "context key", name);
}

bool Description::has_label(std::string_view wanted) const noexcept {
  return std::any_of(labels.begin(), labels.end(),
                     [&](const LabelColumn& column) { return column.name == wanted; });
}

const std::vector<std::string>& Description::values(std::string_view column) const {
  if (has_label(column)) return label(column).classes;
  std::vector<std::string> known = names_of(labels);
  for (const ContextColumn& context : contexts) {
    if (context.name == column) return context.values;
    known.push_back(context.name);
  }
  throw UsageError({fmt::format("the dataset has no label or context '{}'", column),
                    fmt::format("dataset {}", name), did_you_mean(column, known)});
}

std::vector<std::string> channels_named(const std::vector<std::string>& wanted,
                                        const std::vector<std::string>& known, const std::string& where) {
  std::vector<std::string> names;
  for (const std::string& each : wanted) {
    const std::string& name = channel_named(each, known, where);
    if (std::find(names.begin(), names.end(), name) != names.end())
      throw UsageError({fmt::format("channel '{}' is named twice", name), where, "name each channel once"});
    names.push_back(name);
  }
  return names;
}

Description with_channels(Description description, const std::vector<std::string>& channels) {
  if (channels.empty()) return description;
  const std::vector<std::string> all = std::move(description.channels);
  const std::vector<double> mean = std::move(description.mean), deviation = std::move(description.deviation);
  description.channels = channels_named(channels, all, fmt::format("dataset {}", description.name));
  description.images.channels = std::ssize(description.channels);
  description.mean.clear(), description.deviation.clear();
  for (const std::string& name : description.channels) {
    const auto place = static_cast<std::size_t>(std::find(all.begin(), all.end(), name) - all.begin());
    description.mean.push_back(mean[place]);
    description.deviation.push_back(deviation[place]);
  }
  return description;
}

}  // namespace cohort::data

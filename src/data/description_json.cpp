#include "data/description_json.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/data/image_codec.h"
#include "cohort/data/pixel_type.h"

#include "support/json.h"

namespace cohort::data {
namespace {

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

/// Three sides and 2^16 channels may be more than 64 bits count.
double bytes_asked_for(const ImageLayout& layout) {
  auto bytes = static_cast<double>(pixel_type_bytes(layout.type));
  for (const std::int64_t size : layout.sizes()) bytes *= static_cast<double>(size);
  return bytes;
}

/// Before version 3 there were no volumes.
ImageLayout read_layout(const Node& root) {
  const Node node = root.at("images");
  ImageLayout layout{read_pixel_type(node.at("type")), node.at("channels").integer(1, 1 << 16),
                     node.at("height").integer(1, kMaxSide), node.at("width").integer(1, kMaxSide)};
  if (root.at("version").integer(1) >= 3 && node.has("depth"))
    layout.depth = node.at("depth").integer(2, kMaxSide);
  if (bytes_asked_for(layout) > static_cast<double>(kMaxImageBytes))
    node.fail(fmt::format("asks for images of {:.0f} bytes", bytes_asked_for(layout)));
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
    if (resize.has("depth")) preparation.depth = resize.at("depth").integer(1, kMaxSide);
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

Codec read_codec_name(const Node& node) {
  const std::string name = node.text();
  if (const auto codec = codec_of(name)) return *codec;
  node.fail(fmt::format("is '{}', none of {}", name, join(codec_names(), ", ")));
}

void read_codec(const Node& root, Description& description) {
  if (root.at("version").integer(1) == 1) return;  // knew no codec
  const Node images = root.at("images");
  description.codec = read_codec_name(images.at("codec"));
  const bool is_planar = description.codec == Codec::png || description.codec == Codec::jpeg;
  if (is_planar && description.images.is_volume())
    images.at("codec").fail(fmt::format("is '{}', which cannot keep volumes", codec_name(description.codec)));
  if (description.codec == Codec::jpeg)
    description.jpeg_quality = static_cast<int>(images.at("jpeg_quality").integer(1, 100));
}

FieldKind read_kind(const Node& node) {
  const std::string name = node.text();
  if (const auto kind = field_kind_of(name)) return *kind;
  node.fail(fmt::format("is '{}', none of {}", name, join(field_kind_names(), ", ")));
}

ValueType read_value_type(const Node& node) {
  const std::string name = node.text();
  if (const auto type = value_type_of(name)) return *type;
  node.fail(fmt::format("is '{}', none of u8, u16, i32, i64, f32", name));
}

Tokenization read_tokenization(const Node& node) {
  return {node.at("tokenizer").text(), node.at("vocabulary").checksum(),
          node.at("size").integer(1, INT32_MAX), node.at("maximal_length").integer(1, INT32_MAX)};
}

Field read_field(const Node& node) {
  Field field{node.at("name").text(),
              read_kind(node.at("kind")),
              read_value_type(node.at("type")),
              {},
              read_codec_name(node.at("codec"))};
  for (const Node& size : node.at("shape").list()) field.shape.push_back(size.integer(-1, kMaxImageBytes));
  if (node.has("of")) field.of = node.at("of").text();
  if (node.has("names")) field.names = read_names(node.at("names"));
  if (node.has("tokenization")) field.tokenization = read_tokenization(node.at("tokenization"));
  if (!is_file_name(field.name) || field.name.find('/') != std::string::npos || field.name.front() == '.')
    node.at("name").fail(fmt::format("is '{}', which cannot name a field", field.name));
  if (const std::string problem = problem_of(field); !problem.empty()) node.fail(problem);
  return field;
}

/// Tokens are of a text, or of other tokens; all else is of an image.
void check_of(const Node& node, const std::vector<Field>& fields) {
  const bool is_of_text = read_kind(node.at("kind")) == FieldKind::tokens;
  const auto fits = [&](const Field& field) {
    const bool has_text = field.kind == FieldKind::text || field.kind == FieldKind::tokens;
    return field.name == node.at("of").text() && (is_of_text ? has_text : field.kind == FieldKind::image);
  };
  if (std::any_of(fields.begin(), fields.end(), fits)) return;
  node.at("of").fail(fmt::format("is '{}', none of the fields of kind {}", node.at("of").text(),
                                 is_of_text ? "text or tokens" : "image"));
}

void read_fields(const Node& root, Description& description) {
  if (root.at("version").integer(1) < 3) return;  // knew no fields
  if (!root.has("fields") && description.images.is_volume()) return;
  for (const Node& node : root.at("fields").list()) {
    description.fields.push_back(read_field(node));
    const std::string problem = problem_beside(description.fields.back(), description.images);
    if (!problem.empty()) node.fail(problem);
  }
  if (description.fields.empty()) root.at("fields").fail("is empty");
  check_unique(root.at("fields"), names_of(description.fields));
  for (const Node& node : root.at("fields").list()) {
    if (node.has("of")) check_of(node, description.fields);
  }
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
  description.images = read_layout(root);
  read_codec(root, description);
  read_preparation(root, description);
  read_statistics(root, description);
  read_columns(root, description);
  read_fields(root, description);
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
  if (images.is_volume()) json["depth"] = images.depth;
  if (description.version() > 1) json["codec"] = codec_name(description.codec);
  if (description.codec == Codec::jpeg) json["jpeg_quality"] = description.jpeg_quality;
  return json;
}

Json to_json(const Field& field) {
  Json json{{"name", field.name},
            {"kind", field_kind_name(field.kind)},
            {"type", value_type_name(field.type)},
            {"shape", field.shape},
            {"codec", codec_name(field.codec)}};
  if (!field.of.empty()) json["of"] = field.of;
  if (!field.names.empty()) json["names"] = field.names;
  if (const auto& made = field.tokenization) {
    json["tokenization"] = {{"tokenizer", made->tokenizer},
                            {"vocabulary", checksum_text(made->vocabulary)},
                            {"size", made->size},
                            {"maximal_length", made->maximal_length}};
  }
  return json;
}

Json to_json(const Preparation& preparation) {
  Json json{{"gray", preparation.gray}};
  if (preparation.height > 0)
    json["resize"] = {
        {"height", preparation.height}, {"width", preparation.width}, {"fit", fit_name(preparation.fit)}};
  if (preparation.depth > 0) json["resize"]["depth"] = preparation.depth;
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
  json.update({{"labels", labels}, {"contexts", contexts}});
  for (const Field& field : description.fields) json["fields"].push_back(to_json(field));
  json["splits"] = splits;
  return json;
}

}  // namespace

Description parse_description(const std::string& content, const std::string& file) {
  if (const std::optional<std::string> key = repeated_key(content)) {
    throw DataError({fmt::format("dataset.json has the key '{}' twice", *key), file,
                     "the file was damaged or edited by hand: restore it or convert the images again"});
  }
  try {
    return parse(Json::parse(content), file);
  } catch (const Json::exception& error) {
    throw DataError({fmt::format("dataset.json is not valid: {}", error.what()), file,
                     "restore it or convert the images again"});
  }
}

std::string description_text(const Description& description) {
  return to_json(description).dump(2) + "\n";
}

}  // namespace cohort::data

#include "data_prep/zarr_metadata.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/pixel_type.h"

namespace cohort::data_prep {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostDimensions = 8;

std::vector<std::int64_t> extents(const Json& json, std::int64_t least, const std::string& where) {
  const auto sizes = json.get<std::vector<std::int64_t>>();
  if (sizes.empty() || sizes.size() > kMostDimensions)
    refuse_zarr(fmt::format("it has {} dimensions", sizes.size()), where);
  for (const std::int64_t size : sizes) {
    if (size < least || size > std::numeric_limits<std::int32_t>::max())
      refuse_zarr(fmt::format("an axis of {} values", size), where);
  }
  return sizes;
}

std::vector<std::byte> fill_of(const Json& json, data::PixelType type) {
  double value = json.is_number() ? json.get<double>() : 0;
  if (json == "NaN") value = std::numeric_limits<double>::quiet_NaN();
  std::vector<std::byte> bytes(static_cast<std::size_t>(data::pixel_type_bytes(type)));
  if (type == data::PixelType::f32) {
    const auto number = static_cast<float>(value);
    std::memcpy(bytes.data(), &number, sizeof number);
  } else {
    const auto number = static_cast<std::uint16_t>(std::clamp(value, 0.0, 65535.0));
    std::memcpy(bytes.data(), &number, bytes.size());
  }
  return bytes;
}

void check_chunks(const ZarrMetadata& metadata, const std::string& where) {
  if (metadata.separator != "." && metadata.separator != "/")  // another could lead out of the folder
    refuse_zarr("numbers of chunks are separated by neither . nor /", where);
  if (metadata.chunk.size() != metadata.shape.size())
    refuse_zarr("chunks have other dimensions than the array", where);
  double bytes = static_cast<double>(metadata.value_bytes());
  for (const std::int64_t size : metadata.chunk) bytes *= static_cast<double>(size);
  if (bytes > static_cast<double>(kMostChunkBytes)) refuse_zarr("a chunk is larger than 2 GiB", where);
  if (!metadata.shards) return;
  if (metadata.shards->shape.size() != metadata.shape.size())
    refuse_zarr("shards have other dimensions than the array", where);
  double chunks = 1;
  for (std::size_t i = 0; i < metadata.chunk.size(); ++i) {
    const std::int64_t shard = metadata.shards->shape[i], chunk = metadata.chunk[i];
    if (shard % chunk != 0) refuse_zarr("shards do not consist of whole chunks", where);
    chunks *= static_cast<double>(shard / chunk);
  }
  constexpr double kMostChunks = 1 << 24;
  if (chunks > kMostChunks) refuse_zarr("a shard has more than 2^24 chunks", where);
}

// ---- zarr 2: zarr-specs.readthedocs.io/en/latest/v2/v2.0.html

data::PixelType type_of_zarr2(const std::string& type, const std::string& where) {
  if (type == "|u1") return data::PixelType::u8;
  if (type == "<u2" || type == ">u2") return data::PixelType::u16;
  if (type == "<f4" || type == ">f4") return data::PixelType::f32;
  refuse_zarr(fmt::format("values of type {}: images are uint8, uint16 or float32", type), where);
}

ZarrPacking packing_of_zarr2(const Json& compressor, const std::string& where) {
  if (compressor.is_null()) return {};
  const auto name = compressor.at("id").get<std::string>();
  if (name == "blosc" || name == "zstd") return {name};
  if (name == "zlib" || name == "gzip") return {"gzip"};
  refuse_zarr(fmt::format("chunks are packed with {}", name), where);
}

ZarrMetadata parse_zarr2(const Json& json, const std::string& where) {
  ZarrMetadata metadata;
  metadata.shape = extents(json.at("shape"), 0, where);
  metadata.chunk = extents(json.at("chunks"), 1, where);
  const Json& type = json.at("dtype");
  if (!type.is_string()) refuse_zarr("values have several fields", where);
  metadata.type = type_of_zarr2(type.get<std::string>(), where);
  metadata.is_big_endian = type.get<std::string>().front() == '>';
  metadata.fill = fill_of(json.value("fill_value", Json()), metadata.type);
  metadata.separator = json.value("dimension_separator", ".");
  metadata.packing = packing_of_zarr2(json.value("compressor", Json()), where);
  if (json.value("order", "C") != "C") refuse_zarr("it is stored in Fortran's order", where);
  if (const Json filters = json.value("filters", Json()); !filters.empty())
    refuse_zarr(fmt::format("it has the filter {}", filters.front().value("id", "?")), where);
  return metadata;
}

// ---- zarr 3: zarr-specs.readthedocs.io/en/latest/v3/core/v3.0.html

data::PixelType type_of_zarr3(const Json& json, const std::string& where) {
  const std::string type = json.is_string() ? json.get<std::string>() : json.dump();
  if (type == "uint8") return data::PixelType::u8;
  if (type == "uint16") return data::PixelType::u16;
  if (type == "float32") return data::PixelType::f32;
  refuse_zarr(fmt::format("values of type {}: images are uint8, uint16 or float32", type), where);
}

Json configuration(const Json& codec) {
  return codec.value("configuration", Json::object());
}

/// The codecs of zarr 3 by what they do: axes change places, values become bytes, bytes are packed.
struct Codecs {
  Codecs(const Json& json, const std::string& where) {
    for (const Json& codec : json) add(codec, where);
    if (!to_bytes.is_object()) refuse_zarr("no codec makes bytes of its values", where);
  }
  Json to_bytes{};
  ZarrPacking packing{};

 private:
  void add(const Json& codec, const std::string& where) {
    const auto name = codec.at("name").get<std::string>();
    if (name == "transpose") return check_order(configuration(codec), where);
    if (name == "bytes" || name == "sharding_indexed") {
      to_bytes = codec;
    } else if (name == "crc32c") {
      packing.has_checksum = true;
    } else if ((name == "blosc" || name == "gzip" || name == "zstd") && packing.codec.empty() &&
               !packing.has_checksum) {
      packing.codec = name;
    } else {
      refuse_zarr(fmt::format("chunks are packed with {}", name), where);
    }
  }
  static void check_order(const Json& settings, const std::string& where) {
    const Json& order = settings.at("order");
    for (std::size_t i = 0; order.is_array() && i < order.size(); ++i) {
      if (order[i] != i) refuse_zarr("its axes are stored in another order", where);
    }
    if (!order.is_array() && order != "C") refuse_zarr("its axes are stored in another order", where);
  }
};

void add_shards(ZarrMetadata& metadata, const Codecs& outer, const std::string& where) {
  const Json settings = configuration(outer.to_bytes);
  ZarrShards shards{metadata.chunk};
  metadata.chunk = extents(settings.at("chunk_shape"), 1, where);
  const Codecs inner(settings.at("codecs"), where);
  if (inner.to_bytes.at("name") != "bytes") refuse_zarr("shards lie in shards", where);
  metadata.is_big_endian = configuration(inner.to_bytes).value("endian", "little") == "big";
  metadata.packing = inner.packing;
  const Codecs index(settings.at("index_codecs"), where);
  if (!index.packing.codec.empty()) refuse_zarr("the index of its shards is packed", where);
  if (!outer.packing.codec.empty() || outer.packing.has_checksum)
    refuse_zarr("whole shards are packed", where);
  shards.index_has_checksum = index.packing.has_checksum;
  shards.index_at_start = settings.value("index_location", "end") == "start";
  metadata.shards = std::move(shards);
}

std::vector<std::string> dimension_names(const Json& json) {
  std::vector<std::string> names;
  const Json all = json.value("dimension_names", Json());
  if (!all.is_array()) return names;
  for (const Json& name : all) names.push_back(name.is_string() ? name.get<std::string>() : "");
  return names;
}

ZarrMetadata parse_zarr3(const Json& json, const std::string& where) {
  if (json.at("node_type") != "array") refuse_zarr("it is a group, no array", where);
  ZarrMetadata metadata;
  metadata.shape = extents(json.at("shape"), 0, where);
  if (json.at("chunk_grid").at("name") != "regular") refuse_zarr("its chunks are not regular", where);
  metadata.chunk = extents(configuration(json.at("chunk_grid")).at("chunk_shape"), 1, where);
  metadata.type = type_of_zarr3(json.at("data_type"), where);
  metadata.fill = fill_of(json.value("fill_value", Json()), metadata.type);
  const Json& keys = json.at("chunk_key_encoding");
  const bool is_default = keys.at("name") == "default";
  metadata.separator = configuration(keys).value("separator", is_default ? "/" : ".");
  if (is_default) metadata.prefix = "c" + metadata.separator;
  metadata.dimensions = dimension_names(json);
  const Codecs codecs(json.at("codecs"), where);
  if (codecs.to_bytes.at("name") == "sharding_indexed") {
    add_shards(metadata, codecs, where);
  } else {
    metadata.is_big_endian = configuration(codecs.to_bytes).value("endian", "little") == "big";
    metadata.packing = codecs.packing;
  }
  return metadata;
}

/// Content of a file; nothing: there is no such file.
std::optional<std::string> metadata_text(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  return read_file(file);
}

}  // namespace

void refuse_zarr(const std::string& reason, const std::string& where) {
  throw DataError({"the zarr array cannot be read: " + reason, where,
                   "docs/data.md lists what is read; zarr-python writes such a copy"});
}

std::int64_t ZarrMetadata::value_bytes() const {
  return data::pixel_type_bytes(type);
}

std::int64_t ZarrMetadata::chunk_bytes() const {
  return std::accumulate(chunk.begin(), chunk.end(), value_bytes(), std::multiplies<>());
}

ZarrMetadata parse_zarr_metadata(const std::string& text, const std::string& where) {
  try {
    const Json json = Json::parse(text);
    const auto version = json.at("zarr_format").get<int>();
    if (version != 2 && version != 3) refuse_zarr(fmt::format("zarr {}", version), where);
    ZarrMetadata metadata = version == 2 ? parse_zarr2(json, where) : parse_zarr3(json, where);
    check_chunks(metadata, where);
    return metadata;
  } catch (const Json::exception& error) {
    refuse_zarr(fmt::format("its metadata are damaged: {}", error.what()), where);
  }
}

ZarrMetadata read_zarr_metadata(const std::filesystem::path& folder) {
  const bool is_version_3 = std::filesystem::exists(folder / "zarr.json");
  const std::filesystem::path file = folder / (is_version_3 ? "zarr.json" : ".zarray");
  const auto text = metadata_text(file);
  if (!text) refuse_zarr("there is none", folder.string());
  return parse_zarr_metadata(*text, file.string());
}

bool is_zarr_array(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / ".zarray")) return true;
  const auto text = metadata_text(folder / "zarr.json");
  if (!text) return false;
  const Json json = Json::parse(*text, nullptr, false);
  return json.is_object() && json.value("node_type", Json()) == "array";
}

Json zarr_attributes(const std::filesystem::path& folder) {
  try {
    if (const auto text = metadata_text(folder / "zarr.json"))
      return Json::parse(*text).value("attributes", Json::object());
    if (const auto text = metadata_text(folder / ".zattrs")) return Json::parse(*text);
  } catch (const Json::exception& error) {
    refuse_zarr(fmt::format("its metadata are damaged: {}", error.what()), folder.string());
  }
  return Json::object();
}

}  // namespace cohort::data_prep

#include "data_prep/zarr.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <numeric>
#include <zstd.h>

#include <boost/crc.hpp>
#include <fmt/format.h>
#include <zlib.h>
#ifdef COHORT_BLOSC
#include <blosc.h>
#endif

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/pixel_type.h"

#include "data_prep/readers.h"

namespace cohort::data_prep {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little);

constexpr std::int64_t kMostChunkBytes = std::int64_t{1} << 31;  // as blosc has it
constexpr std::size_t kKeptBytes = std::size_t{256} << 20;
constexpr std::size_t kMostDimensions = 8;

[[noreturn]] void refuse_zarr(const std::string& reason, const std::string& where) {
  throw DataError({"the zarr array cannot be read: " + reason, where,
                   "docs/data.md lists what is read; zarr-python writes such a copy"});
}

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

// ---- bytes

std::uint32_t crc32c(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> sum;
  sum.process_bytes(bytes.data(), bytes.size());
  return sum.checksum();
}

/// Without the checksum at its end, which is compared.
std::string_view checked_bytes(std::string_view bytes, const std::string& where) {
  std::uint32_t written = 0;
  if (bytes.size() < sizeof written) refuse_zarr("a chunk is damaged", where);
  const std::string_view content = bytes.substr(0, bytes.size() - sizeof written);
  std::memcpy(&written, bytes.data() + content.size(), sizeof written);
  if (written != crc32c(content)) refuse_zarr("the checksum of a chunk is wrong", where);
  return content;
}

bool unpack_gzip(std::string_view packed, std::span<std::byte> out) {
  constexpr int kZlibOrGzip = 15 + 32;
  z_stream stream{};
  if (inflateInit2(&stream, kZlibOrGzip) != Z_OK) return false;
  std::string input(packed);
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const bool ended = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  return ended;
}

bool unpack_blosc([[maybe_unused]] std::string_view packed, [[maybe_unused]] std::span<std::byte> out,
                  [[maybe_unused]] const std::string& where) {
#ifdef COHORT_BLOSC
  std::size_t bytes = 0;
  if (blosc_cbuffer_validate(packed.data(), packed.size(), &bytes) != 0 || bytes != out.size()) return false;
  return blosc_decompress_ctx(packed.data(), out.data(), out.size(), 1) == static_cast<int>(out.size());
#else
  refuse_left_out("zarr chunks that are packed with blosc", "libblosc-dev", where);
#endif
}

bool unpack(const std::string& codec, std::string_view packed, std::span<std::byte> out,
            const std::string& where) {
  if (codec == "blosc") return unpack_blosc(packed, out, where);
  if (codec == "gzip") return unpack_gzip(packed, out);
  if (codec == "zstd")
    return ZSTD_decompress(out.data(), out.size(), packed.data(), packed.size()) == out.size();
  if (packed.size() != out.size()) return false;
  std::memcpy(out.data(), packed.data(), out.size());
  return true;
}

void swap_bytes(std::span<std::byte> bytes, std::int64_t size) {
  for (auto value = bytes.begin(); value != bytes.end(); value += size) std::reverse(value, value + size);
}

/// Content of a file, or of a part of it; nothing: there is no such file.
std::optional<std::string> content_of(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  return read_file(file);
}

/// `count` bytes from `start`, counted from the end of the file where `start` is negative.
std::string part_of(std::ifstream& file, std::int64_t start, std::uint64_t count, const std::string& where) {
  if (count > static_cast<std::uint64_t>(kMostChunkBytes)) refuse_zarr("a shard is damaged", where);
  file.seekg(start, start < 0 ? std::ios::end : std::ios::beg);
  std::string bytes(count, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(count));
  if (!file.good()) refuse_zarr("a shard is damaged or ends too early", where);
  return bytes;
}

/// Row-major walk over the places of a box [first, end).
bool advance(std::vector<std::int64_t>& place, std::span<const std::int64_t> first,
             std::span<const std::int64_t> end) {
  for (std::size_t i = place.size(); i-- > 0;) {
    if (++place[i] < end[i]) return true;
    place[i] = first[i];
  }
  return false;
}

std::int64_t offset_of(std::span<const std::int64_t> place, std::span<const std::int64_t> shape) {
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < place.size(); ++i) offset = offset * shape[i] + place[i];
  return offset;
}

/// Where chunk and region overlap, in the array.
struct Overlap {
  std::vector<std::int64_t> start, end;
  Overlap(std::span<const std::int64_t> chunk_start, std::span<const std::int64_t> chunk,
          std::span<const std::int64_t> start_of, std::span<const std::int64_t> size) {
    for (std::size_t i = 0; i < size.size(); ++i) {
      start.push_back(std::max(chunk_start[i], start_of[i]));
      end.push_back(std::min(chunk_start[i] + chunk[i], start_of[i] + size[i]));
    }
  }
};

std::vector<std::int64_t> minus(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  std::vector<std::int64_t> difference(a.begin(), a.end());
  for (std::size_t i = 0; i < difference.size(); ++i) difference[i] -= b[i];
  return difference;
}

void fill_row(std::span<std::byte> row, std::span<const std::byte> value) {
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = value[i % value.size()];
}

}  // namespace

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

bool is_zarr_array(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / ".zarray")) return true;
  const auto text = content_of(folder / "zarr.json");
  if (!text) return false;
  const Json json = Json::parse(*text, nullptr, false);
  return json.is_object() && json.value("node_type", Json()) == "array";
}

Json zarr_attributes(const std::filesystem::path& folder) {
  try {
    if (const auto text = content_of(folder / "zarr.json"))
      return Json::parse(*text).value("attributes", Json::object());
    if (const auto text = content_of(folder / ".zattrs")) return Json::parse(*text);
  } catch (const Json::exception& error) {
    refuse_zarr(fmt::format("its metadata are damaged: {}", error.what()), folder.string());
  }
  return Json::object();
}

ZarrArray::ZarrArray(std::filesystem::path folder) : folder_(std::move(folder)) {
  const bool is_version_3 = std::filesystem::exists(folder_ / "zarr.json");
  const std::filesystem::path file = folder_ / (is_version_3 ? "zarr.json" : ".zarray");
  const auto text = content_of(file);
  if (!text) refuse_zarr("there is none", folder_.string());
  metadata_ = parse_zarr_metadata(*text, file.string());
}

std::filesystem::path ZarrArray::file_of(const Place& place) const {
  std::string name = metadata_.prefix;
  for (std::size_t i = 0; i < place.size(); ++i)
    name += fmt::format("{}{}", i == 0 ? "" : metadata_.separator, place[i]);
  return folder_ / name;
}

std::filesystem::path ZarrArray::file_at(std::span<const std::int64_t> position) const {
  const Place& size = metadata_.shards ? metadata_.shards->shape : metadata_.chunk;
  Place place;
  for (std::size_t i = 0; i < size.size(); ++i) place.push_back(position[i] / size[i]);
  return file_of(place);
}

/// The index has two 64-bit numbers for each chunk, in row-major order: where it begins, and its bytes.
std::optional<std::string> ZarrArray::chunk_in_shard(const Place& place) {
  Place shard, inside, per_shard;
  for (std::size_t i = 0; i < place.size(); ++i) {
    per_shard.push_back(metadata_.shards->shape[i] / metadata_.chunk[i]);
    shard.push_back(place[i] / per_shard[i]);
    inside.push_back(place[i] % per_shard[i]);
  }
  const std::filesystem::path path = file_of(shard);
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) return std::nullopt;
  constexpr std::int64_t kEntry = 16;
  if (shard != shard_) {
    const std::int64_t bytes =
        std::accumulate(per_shard.begin(), per_shard.end(), kEntry, std::multiplies<>()) +
        (metadata_.shards->index_has_checksum ? 4 : 0);
    index_ = part_of(file, metadata_.shards->index_at_start ? 0 : -bytes, static_cast<std::uint64_t>(bytes),
                     path.string());
    if (metadata_.shards->index_has_checksum) checked_bytes(index_, path.string());
    shard_ = shard;
  }
  std::array<std::uint64_t, 2> entry{};
  std::memcpy(entry.data(), index_.data() + offset_of(inside, per_shard) * kEntry, kEntry);
  if (entry[0] == std::numeric_limits<std::uint64_t>::max()) return std::nullopt;
  if (entry[0] > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    refuse_zarr("a shard is damaged", path.string());
  return part_of(file, static_cast<std::int64_t>(entry[0]), entry[1], path.string());
}

std::optional<std::string> ZarrArray::packed_chunk(const Place& place) {
  return metadata_.shards ? chunk_in_shard(place) : content_of(file_of(place));
}

std::vector<std::byte> ZarrArray::load(const Place& place) {
  const std::optional<std::string> packed = packed_chunk(place);
  if (!packed) return {};
  std::vector<std::byte> values(static_cast<std::size_t>(metadata_.chunk_bytes()));
  const std::string where = metadata_.shards ? folder_.string() : file_of(place).string();
  const ZarrPacking& packing = metadata_.packing;
  const std::string_view bytes = packing.has_checksum ? checked_bytes(*packed, where) : *packed;
  if (!unpack(packing.codec, bytes, values, where)) refuse_zarr("a chunk is damaged", where);
  if (metadata_.is_big_endian) swap_bytes(values, metadata_.value_bytes());
  return values;
}

const std::vector<std::byte>& ZarrArray::chunk(const Place& place) {
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [&](const Chunk& c) { return c.place == place; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    return kept_.front().values;
  }
  const std::size_t most =
      std::max<std::size_t>(1, kKeptBytes / static_cast<std::size_t>(metadata_.chunk_bytes()));
  while (kept_.size() >= most) kept_.pop_back();
  kept_.push_front({place, load(place)});
  return kept_.front().values;
}

void ZarrArray::read(std::span<const std::int64_t> start, std::span<const std::int64_t> size,
                     std::span<std::byte> out) {
  const std::size_t dimensions = size.size(), last = dimensions - 1;
  const std::int64_t bytes = metadata_.value_bytes();
  Place first, end;
  for (std::size_t i = 0; i < dimensions; ++i) {
    first.push_back(start[i] / metadata_.chunk[i]);
    end.push_back((start[i] + size[i] - 1) / metadata_.chunk[i] + 1);
  }
  Place place = first;
  do {
    Place chunk_start;
    for (std::size_t i = 0; i < dimensions; ++i) chunk_start.push_back(place[i] * metadata_.chunk[i]);
    const std::vector<std::byte>& values = chunk(place);
    const Overlap overlap(chunk_start, metadata_.chunk, start, size);
    const auto row_bytes = static_cast<std::size_t>((overlap.end[last] - overlap.start[last]) * bytes);
    std::vector<std::int64_t> row = overlap.start, row_end = overlap.end;
    row_end[last] = row[last] + 1;
    do {
      const std::span<std::byte> to =
          out.subspan(static_cast<std::size_t>(offset_of(minus(row, start), size) * bytes), row_bytes);
      if (values.empty())
        fill_row(to, metadata_.fill);
      else
        std::memcpy(to.data(), values.data() + offset_of(minus(row, chunk_start), metadata_.chunk) * bytes,
                    row_bytes);
    } while (advance(row, overlap.start, row_end));
  } while (advance(place, first, end));
}

}  // namespace cohort::data_prep

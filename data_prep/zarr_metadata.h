#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cohort/data/description.h"

namespace cohort::data_prep {

constexpr std::int64_t kMostChunkBytes = std::int64_t{1} << 31;  ///< as blosc has it

/// Throws DataError: what cannot be read of the array at `where`.
[[noreturn]] void refuse_zarr(const std::string& reason, const std::string& where);

/// How the chunks of a zarr array are packed, once their values are bytes.
struct ZarrPacking {
  std::string codec{};        ///< blosc, gzip (zlib too), zstd; empty: not at all
  bool has_checksum = false;  ///< CRC-32C behind the packed bytes
};

/// Chunks that lie together in a file, as sharding_indexed of zarr 3 describes it.
struct ZarrShards {
  std::vector<std::int64_t> shape;  ///< of a shard, in values
  bool index_has_checksum = false, index_at_start = false;
  ZarrPacking packing{};  ///< of whole shards
};

/// What the metadata of an array say: `.zarray` of zarr 2, `zarr.json` of zarr 3.
struct ZarrMetadata {
  std::vector<std::int64_t> shape, chunk;
  data::PixelType type = data::PixelType::u8;
  bool is_big_endian = false;
  std::vector<std::byte> fill{};  ///< one value, little-endian
  std::string prefix{};           ///< of the names of chunks
  std::string separator{};        ///< between their numbers
  ZarrPacking packing{};
  std::optional<ZarrShards> shards{};
  std::vector<std::string> dimensions{};  ///< names; may be empty

  [[nodiscard]] std::int64_t value_bytes() const;
  [[nodiscard]] std::int64_t chunk_bytes() const;
};

/// Throws DataError naming `where`: no metadata of an array, or of one that is not read (docs/data.md).
ZarrMetadata parse_zarr_metadata(const std::string& text, const std::string& where);

/// Of the array in `folder`. Throws DataError.
ZarrMetadata read_zarr_metadata(const std::filesystem::path& folder);

/// Whether a folder holds an array.
bool is_zarr_array(const std::filesystem::path& folder);

/// Attributes of a group or an array, {} where it has none. Throws DataError.
nlohmann::json zarr_attributes(const std::filesystem::path& folder);

}  // namespace cohort::data_prep

#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "cohort/data/description.h"

namespace cohort::data_prep {

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

/// Whether a folder holds an array.
bool is_zarr_array(const std::filesystem::path& folder);

/// Attributes of a group or an array, {} where it has none. Throws DataError.
nlohmann::json zarr_attributes(const std::filesystem::path& folder);

/// An array in a folder, read a region at a time. Chunks that were unpacked last are kept, up to 256 MiB. For
/// one thread.
class ZarrArray {
 public:
  /// Throws DataError.
  explicit ZarrArray(std::filesystem::path folder);

  [[nodiscard]] const ZarrMetadata& metadata() const noexcept { return metadata_; }
  /// The values of a region, row-major in the machine's order. Chunks that are not there hold the fill value.
  /// Throws DataError: damaged. Precondition: it lies in the array.
  void read(std::span<const std::int64_t> start, std::span<const std::int64_t> size,
            std::span<std::byte> out);
  /// The file of the chunk that holds a position.
  [[nodiscard]] std::filesystem::path file_at(std::span<const std::int64_t> position) const;

 private:
  using Place = std::vector<std::int64_t>;
  struct Chunk {
    Place place;
    std::vector<std::byte> values;  ///< empty: not there
  };

  const std::vector<std::byte>& chunk(const Place& place);
  [[nodiscard]] std::vector<std::byte> load(const Place& place);
  [[nodiscard]] std::optional<std::string> packed_chunk(const Place& place);
  [[nodiscard]] std::optional<std::string> chunk_in_shard(const Place& place);
  [[nodiscard]] std::filesystem::path file_of(const Place& place) const;

  std::filesystem::path folder_;
  ZarrMetadata metadata_;
  std::list<Chunk> kept_{};  // used last first
  Place shard_{};            // whose index is kept
  std::string index_{};
};

}  // namespace cohort::data_prep

#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data_prep/zarr_metadata.h"

namespace cohort::data_prep {

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

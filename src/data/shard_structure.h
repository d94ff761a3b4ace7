#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "cohort/data/dataset_writer.h"

namespace cohort::data {

/// Where the rows of a field go.
struct FieldOffsets {
  std::uint64_t values = 0, checksums = 0;
  std::uint64_t offsets = 0;  ///< 0: rows of one length have none
};

/// Where the rows go in a file that has everything else already.
struct ShardOffsets {
  std::uint64_t images = 0;     ///< of the first byte of /images or /encoded
  std::uint64_t checksums = 0;  ///< of the first row's checksum
  std::uint64_t offsets = 0;    ///< of /offset; 0: raw images have none
  std::vector<FieldOffsets> fields;
};

/// Writes a shard without its pixels and checksums, for which room is left: HDF5 is done with the file before
/// the bulk of it is written. A write that fails inside the HDF5 library (1.10) leaves it in a state in which
/// the process crashes when it ends; a plain write that fails is an error like any other. Throws DataError.
/// `image_bytes`, `field_bytes`: of all images, and of all rows of each field, as they are kept. `rows`: of
/// the shard, in their order.
ShardOffsets write_structure(const std::filesystem::path& path, const Description& description,
                             std::uint64_t image_bytes, std::span<const std::uint64_t> field_bytes,
                             const RowTable& rows);

}  // namespace cohort::data

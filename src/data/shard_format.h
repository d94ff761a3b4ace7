#pragma once
// Names and types inside a shard, for its reader and its writer; docs/formats/dataset.md describes them.
#include <cstddef>
#include <cstdint>
#include <string>

#include <hdf5.h>

#include "cohort/data/pixel_type.h"

namespace cohort::data::shard_format {

inline constexpr const char* kImages = "/images";
inline constexpr const char* kEncoded = "/encoded";
inline constexpr const char* kOffsets = "/offset";
inline constexpr const char* kIds = "/id";
inline constexpr const char* kChecksums = "/checksum";
inline constexpr const char* kLabels = "/labels";
inline constexpr const char* kContexts = "/context";

inline std::string label_path(const std::string& name) {
  return std::string(kLabels) + "/" + name;
}
inline std::string context_path(const std::string& name) {
  return std::string(kContexts) + "/" + name;
}

inline hid_t stored_type(PixelType type) {
  if (type == PixelType::u8) return H5T_STD_U8LE;
  return type == PixelType::u16 ? H5T_STD_U16LE : H5T_IEEE_F32LE;
}

/// What a shard needs for each row whose image takes `image_bytes`.
inline std::uint64_t row_bytes(const Description& description, std::uint64_t image_bytes,
                               std::size_t longest_id) {
  const std::uint64_t columns = description.labels.size() + description.contexts.size();
  const std::uint64_t offset = description.codec == Codec::raw ? 0 : 8;
  return image_bytes + offset + 8 + 4 * columns + longest_id;
}

/// What it needs besides, generously: HDF5's headers and tables.
inline std::uint64_t structure_bytes(const Description& description) {
  return 16384 + 1024 * (description.labels.size() + description.contexts.size());
}

}  // namespace cohort::data::shard_format

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
inline constexpr const char* kFields = "/field";

inline std::string label_path(const std::string& name) {
  return std::string(kLabels) + "/" + name;
}
inline std::string context_path(const std::string& name) {
  return std::string(kContexts) + "/" + name;
}

/// "/field/lungs/values", "…/offset", "…/checksum".
inline std::string field_path(const std::string& name, const char* part = "") {
  return std::string(kFields) + "/" + name + part;
}

inline hid_t stored_type(ValueType type) {
  if (type == ValueType::u8) return H5T_STD_U8LE;
  if (type == ValueType::u16) return H5T_STD_U16LE;
  if (type == ValueType::i32) return H5T_STD_I32LE;
  return type == ValueType::i64 ? H5T_STD_I64LE : H5T_IEEE_F32LE;
}

inline hid_t stored_type(PixelType type) {
  if (type == PixelType::u8) return H5T_STD_U8LE;
  return type == PixelType::u16 ? H5T_STD_U16LE : H5T_IEEE_F32LE;
}

/// What a shard needs for each row whose image and fields take `value_bytes`.
inline std::uint64_t row_bytes(const Description& description, std::uint64_t value_bytes,
                               std::size_t longest_id) {
  const std::uint64_t columns = description.labels.size() + description.contexts.size();
  const std::uint64_t offset = description.codec == Codec::raw ? 0 : 8;
  const std::uint64_t fields = 16 * description.fields.size();  // offset and checksum
  return value_bytes + offset + 8 + 4 * columns + fields + longest_id;
}

/// What it needs besides, generously: HDF5's headers and tables.
inline std::uint64_t structure_bytes(const Description& description) {
  return 16384 + 1024 * (description.labels.size() + description.contexts.size()) +
         4096 * description.fields.size();
}

}  // namespace cohort::data::shard_format

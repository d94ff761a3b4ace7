#pragma once
// Rows of fields as they are kept in a shard.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cohort/data/field.h"

namespace cohort::data {

/// The values of a row in the field's codec. Precondition: neither problem_of() nor problem_of_values().
std::vector<std::byte> encode_field(const Field& field, std::span<const std::byte> values);

/// The inverse; `values` becomes as long as the row. Throws DataError saying why when `stored` is no such
/// row.
void decode_field(const Field& field, std::span<const std::byte> stored, std::vector<std::byte>& values);

/// Whether a shard says where each row begins: they differ in length.
[[nodiscard]] inline bool has_offsets(const Field& field) noexcept {
  return field.differs() || field.codec != Codec::raw;
}

/// Of a row whose length differs.
inline constexpr std::uint64_t kMostDifferingBytes = std::uint64_t{1} << 30;

/// Bytes in which lengths and offsets are counted: of an entry of a raw row, else single bytes.
[[nodiscard]] inline std::int64_t unit_bytes(const Field& field) noexcept {
  return field.codec == Codec::raw ? field.entry_bytes() : 1;
}

}  // namespace cohort::data

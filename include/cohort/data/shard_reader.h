#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cohort/data/description.h"

namespace cohort::data {

/// One HDF5 shard, open for reading. Opening and the column functions use the HDF5 library (one thread in the
/// process); read() does not (pread at the offset of the contiguous dataset), so that any number of threads
/// may call it. Move-only.
class ShardReader {
 public:
  /// Throws DataError: file missing, not HDF5, no /images (codecs: /encoded), shape or type unlike `layout`,
  /// rows unlike `entry`, truncated; or a field that is not there as `fields` say.
  static ShardReader open(const std::filesystem::path& folder, const ShardEntry& entry,
                          const ImageLayout& layout, Codec codec, const std::vector<Field>& fields = {});
  /// A label or context of all rows, [rows], by its path in the file, of a shard of which nothing else is
  /// read. Throws DataError.
  static std::vector<std::int32_t> column(const std::filesystem::path& folder, const ShardEntry& entry,
                                          const std::string& path);
  ShardReader(ShardReader&&) noexcept;
  ShardReader& operator=(ShardReader&&) noexcept;
  ShardReader(const ShardReader&) = delete;
  ShardReader& operator=(const ShardReader&) = delete;
  ~ShardReader();

  [[nodiscard]] std::int64_t rows() const noexcept;
  [[nodiscard]] std::vector<std::int32_t> labels(
      const std::string& name) const;  ///< [rows]; DataError if missing
  [[nodiscard]] std::vector<std::int32_t> contexts(
      const std::string& name) const;                  ///< [rows]; DataError if missing
  [[nodiscard]] std::vector<std::string> ids() const;  ///< [rows]
  /// Those of rows first … first+count-1. Throws DataError on a short read.
  [[nodiscard]] std::vector<std::string> ids(std::int64_t first, std::int64_t count) const;
  /// The id of one row, read from the file. Throws DataError on a short read.
  [[nodiscard]] std::string id(std::int64_t row) const;
  /// One image, [C, H, W], into `out` (layout.bytes(), aligned for its type), decoded if it is kept in a
  /// codec. Its checksum is verified. Throws DataError on a short read or a damaged row, naming file, row and
  /// id.
  void read(std::int64_t row, std::span<std::byte> out) const;

  /// A row of field number `field` of those given to open(), decoded, its checksum verified: `values` becomes
  /// [bytes], as long as the row. Memory of rows is not kept: offset and checksum are read with the row. From
  /// any thread. Throws as read() does, naming the field.
  void read_field(std::int64_t row, std::size_t field, std::vector<std::byte>& values) const;

  /// One image as it is kept in the codec; its checksum is verified. Throws as read() does.
  [[nodiscard]] std::string encoded(std::int64_t row) const;

 private:
  struct Impl;
  explicit ShardReader(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort::data

#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cohort/data/dataset_writer.h"

#include "data/shard_rows.h"

namespace cohort::data {

/// Mean and sum of squared distances from it, of the pixels of one channel.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  /// Chan, Golub, LeVeque 1979: moments of two sets from those of each.
  void add(const Moments& other) noexcept;
  [[nodiscard]] double deviation() const noexcept;  ///< population; 1 for a constant channel
};

/// A row in the description's codec, as the source has it or encoded here. `image` becomes what readers meet:
/// jpeg changes pixels a little.
std::vector<std::byte> encoded_row(const Description& description, const PixelSource& source,
                                   std::int64_t row, std::span<std::byte> image);

/// A row of a field in its codec. Throws DataError naming the row when its values are wrong.
std::vector<std::byte> encoded_field(const Field& field, std::size_t number, std::string_view id,
                                     const PixelSource& source, std::int64_t index);

struct WrittenShard {
  ShardEntry entry;
  std::vector<Moments> channels;
};

/// Writes one shard with these rows, alone: beside it, then checked by reading it back, synced,
/// renamed. `row_done` is called after each row. Throws DataError and then leaves nothing behind.
WrittenShard write_shard(const std::filesystem::path& folder, const std::string& file,
                         const Description& description, const ShardRows& rows, const PixelSource& pixels,
                         const std::function<void()>& row_done);

}  // namespace cohort::data

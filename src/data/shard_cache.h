#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "cohort/data/shard_reader.h"

namespace cohort::data {

/// The shards of a split, of which the most recently used stay open: a screen has more of them than a process
/// may open files.
class ShardCache {
 public:
  static constexpr std::size_t kMostOpen = 512;

  /// Opens none yet. `most_open` ≥ 1.
  ShardCache(std::filesystem::path folder, const Description& description, std::span<const ShardEntry> shards,
             std::size_t most_open = kMostOpen);

  [[nodiscard]] std::size_t size() const noexcept { return shards_.size(); }
  /// Opens shard `index` if it is not open, and closes the one whose last use is longest ago if there are too
  /// many; those in use stay open as long as somebody has them. From any thread. Throws DataError.
  [[nodiscard]] std::shared_ptr<const ShardReader> shard(std::size_t index);

 private:
  struct Slot {
    ShardEntry entry;
    std::shared_ptr<const ShardReader> reader;  // null: closed
    std::uint64_t last_use = 0;
  };
  void close_oldest();

  std::filesystem::path folder_;
  ImageLayout layout_;
  Codec codec_;
  std::vector<Field> fields_;
  std::size_t most_open_, open_ = 0;
  std::uint64_t uses_ = 0;
  std::vector<Slot> shards_;
  std::mutex mutex_;
};

}  // namespace cohort::data

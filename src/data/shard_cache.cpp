#include "data/shard_cache.h"

#include <algorithm>

#include "cohort/core/error.h"

namespace cohort::data {

ShardCache::ShardCache(std::filesystem::path folder, const Description& description,
                       std::span<const ShardEntry> shards, std::size_t most_open)
    : folder_(std::move(folder)),
      layout_(description.images),
      codec_(description.codec),
      fields_(description.fields),
      most_open_(most_open) {
  COHORT_CHECK(most_open >= 1, "{} open shards", most_open);
  for (const ShardEntry& entry : shards) shards_.push_back({entry, nullptr, 0});
}

std::shared_ptr<const ShardReader> ShardCache::shard(std::size_t index) {
  const std::lock_guard lock(mutex_);
  Slot& slot = shards_.at(index);
  slot.last_use = ++uses_;
  if (slot.reader) return slot.reader;
  auto reader =
      std::make_shared<const ShardReader>(ShardReader::open(folder_, slot.entry, layout_, codec_, fields_));
  if (open_ == most_open_) close_oldest();
  slot.reader = std::move(reader);
  ++open_;
  return slot.reader;
}

void ShardCache::close_oldest() {
  Slot* oldest = nullptr;
  for (Slot& slot : shards_) {
    if (slot.reader && (oldest == nullptr || slot.last_use < oldest->last_use)) oldest = &slot;
  }
  oldest->reader.reset();
  --open_;
}

}  // namespace cohort::data

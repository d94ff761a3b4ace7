#include "data/shard_cache.h"

#include <atomic>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "data/shard_writer.h"
#include "support/temporary_folder.h"

namespace cohort::data {
namespace {

constexpr std::int64_t kShards = 6, kRowsEach = 4;

/// Shard s holds rows whose pixels are 10 s + row.
class ShardCacheTest : public ::testing::Test {
 protected:
  ShardCacheTest() {
    description_.images = {PixelType::u8, 1, 2, 2};
    for (std::int64_t shard = 0; shard < kShards; ++shard) {
      const std::vector<Row> rows{{"a", 0, {}, {}}, {"b", 0, {}, {}}, {"c", 0, {}, {}}, {"d", 0, {}, {}}};
      const std::vector<std::int64_t> order{0, 1, 2, 3};
      const auto fill = [&](std::int64_t row, std::span<std::byte> out) {
        std::fill(out.begin(), out.end(), static_cast<std::byte>(10 * shard + row));
      };
      const std::string file = fmt::format("train-{:05}.h5", shard);
      entries_.push_back(
          write_shard(folder_.path(), file, description_, shard_rows(RowTable(rows), order), fill, [] {
          }).entry);
    }
  }

  static std::int64_t open_files() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  }

  testing::TemporaryFolder folder_;
  Description description_;
  std::vector<ShardEntry> entries_;
};

TEST_F(ShardCacheTest, KeepsNoMoreFilesOpenThanAllowed) {
  const std::int64_t before = open_files();
  ShardCache cache(folder_.path(), description_, entries_, 2);
  EXPECT_EQ(open_files(), before);
  for (std::size_t shard = 0; shard < kShards; ++shard) EXPECT_EQ(cache.shard(shard)->rows(), kRowsEach);
  EXPECT_EQ(open_files(), before + 2);
}

TEST_F(ShardCacheTest, ClosesTheOneUsedLongestAgo) {
  ShardCache cache(folder_.path(), description_, entries_, 2);
  static_cast<void>(cache.shard(1));
  const ShardReader* first = cache.shard(0).get();
  static_cast<void>(cache.shard(3));  // shard 1 goes

  EXPECT_EQ(cache.shard(0).get(), first);
  std::filesystem::remove(folder_.path() / entries_[1].file);
  EXPECT_THROW(static_cast<void>(cache.shard(1)), DataError);
}

TEST_F(ShardCacheTest, ThreadsReadWhatTheyAskForWhileShardsComeAndGo) {
  ShardCache cache(folder_.path(), description_, entries_, 1);
  std::atomic<std::int64_t> wrong{0};
  std::vector<std::jthread> threads;
  for (std::int64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      std::vector<std::byte> image(4);
      for (std::int64_t i = 0; i < 300; ++i) {
        const std::int64_t shard = (i * 5 + thread) % kShards, row = i % kRowsEach;
        cache.shard(static_cast<std::size_t>(shard))->read(row, image);
        wrong += image.back() != static_cast<std::byte>(10 * shard + row) ? 1 : 0;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace cohort::data

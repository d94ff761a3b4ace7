#include "data_prep/recheck.h"

#include <algorithm>

#include <fmt/format.h>

#include "cohort/data/shard_reader.h"

#include "data/shard_rows.h"
#include "data/shard_writer.h"

namespace cohort::data_prep {
namespace {

/// What the dataset would give back for an image, had it been converted now, into `image`.
void read_now(const data::PixelSource& images, const data::Description& description, std::int64_t index,
              std::span<std::byte> image) {
  if (description.codec == data::Codec::jpeg)
    data::encoded_row(description, images, index, image);  // leaves there what can be decoded from it
  else
    images(index, image);
}

bool has_same_fields(const data::ShardReader& reader, const data::PixelSource& images,
                     const data::Description& description, std::int64_t row, std::int64_t index) {
  std::vector<std::byte> stored;
  for (std::size_t field = 0; field < description.fields.size(); ++field) {
    reader.read_field(row, field, stored);
    if (stored != images.field(field, index)) return false;
  }
  return true;
}

void compare_shard(const data::PixelSource& images, const ConvertOptions& options,
                   const data::Description& description, const data::ShardEntry& entry,
                   const data::ShardRows& rows) {
  const data::ShardReader reader =
      data::ShardReader::open(options.out, entry, description.images, description.codec, description.fields);
  std::vector<std::byte> stored(static_cast<std::size_t>(description.images.bytes())), now(stored.size());
  for (std::int64_t row = 0; row < reader.rows(); ++row) {
    const std::int64_t index = rows.source[static_cast<std::size_t>(row)];
    reader.read(row, stored);
    read_now(images, description, index, now);
    if (now == stored && has_same_fields(reader, images, description, row, index)) continue;
    throw DataError({fmt::format("image '{}' has changed since it was converted", rows.rows.ids()[row]),
                     options.out.string(), "replace the dataset with --overwrite"});
  }
}

/// All shards and where their rows lie.
std::vector<std::pair<data::ShardEntry, data::ShardPlace>> shards_of(const data::Description& description) {
  std::vector<std::pair<data::ShardEntry, data::ShardPlace>> shards;
  for (std::size_t split = 0; split < description.splits.size(); ++split) {
    std::int64_t first = 0;
    for (const data::ShardEntry& entry : description.splits[split].shards) {
      shards.push_back({entry, {split, first, entry.rows}});
      first += entry.rows;
    }
  }
  return shards;
}

}  // namespace

void recheck(const Source& source, const data::RowTable& rows, const ConvertOptions& options,
             comm::Communicator& ranks) {
  const data::Description description = data::Description::read(options.out, ranks);
  Remarks remarks;
  const data::PixelSource images = pixel_source(source, options, description, remarks);
  const auto shards = shards_of(description);
  data::RowDealer dealer(rows, description.splits.size(), ranks);
  const auto rank = static_cast<std::size_t>(ranks.rank()), size = static_cast<std::size_t>(ranks.size());
  for (std::size_t round = 0; round < shards.size(); round += size) {
    std::vector<data::ShardPlace> places;
    for (std::size_t i = round; i < std::min(shards.size(), round + size); ++i)
      places.push_back(shards[i].second);
    const data::ShardRows shard = dealer.deal(places);
    comm::together(ranks, [&] {
      if (round + rank < shards.size())
        compare_shard(images, options, description, shards[round + rank].first, shard);
    });
  }
}

}  // namespace cohort::data_prep

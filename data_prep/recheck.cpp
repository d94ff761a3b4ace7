#include "data_prep/recheck.h"

#include <unordered_map>

#include <fmt/format.h>

#include "cohort/data/shard_reader.h"

#include "data/shard_writer.h"

namespace cohort::data_prep {
namespace {

using Indices = std::unordered_map<std::string_view, std::int64_t>;

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
                   const Indices& index_of) {
  const data::ShardReader reader =
      data::ShardReader::open(options.out, entry, description.images, description.codec, description.fields);
  const std::vector<std::string> ids = reader.ids();
  std::vector<std::byte> stored(static_cast<std::size_t>(description.images.bytes())), now(stored.size());
  for (std::int64_t row = 0; row < reader.rows(); ++row) {
    const std::string& id = ids[static_cast<std::size_t>(row)];
    reader.read(row, stored);
    read_now(images, description, index_of.at(id), now);
    if (now == stored && has_same_fields(reader, images, description, row, index_of.at(id))) continue;
    throw DataError({fmt::format("image '{}' has changed since it was converted", id), options.out.string(),
                     "replace the dataset with --overwrite"});
  }
}

}  // namespace

void recheck(const Source& source, const ConvertOptions& options, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    const data::Description description = data::Description::read(options.out);
    Remarks remarks;
    const data::PixelSource images = pixel_source(source, options, description, remarks);
    Indices index_of;
    for (std::int64_t i = 0; i < std::ssize(source.ids); ++i)
      index_of.emplace(source.ids[static_cast<std::size_t>(i)], i);
    std::int64_t shard = 0;
    for (const data::Split& split : description.splits) {
      for (const data::ShardEntry& entry : split.shards) {
        if (shard++ % ranks.size() == ranks.rank())
          compare_shard(images, options, description, entry, index_of);
      }
    }
  });
}

}  // namespace cohort::data_prep

#include "data_prep/zarr.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <numeric>
#include <zstd.h>

#include <boost/crc.hpp>
#include <fmt/format.h>
#include <zlib.h>
#ifdef COHORT_BLOSC
#include <blosc.h>
#endif

#include "cohort/core/file.h"

#include "data_prep/readers.h"

namespace cohort::data_prep {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::size_t kKeptBytes = std::size_t{256} << 20;

std::uint32_t crc32c(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> sum;
  sum.process_bytes(bytes.data(), bytes.size());
  return sum.checksum();
}

/// Without the checksum at its end, which is compared.
std::string_view checked_bytes(std::string_view bytes, const std::string& where) {
  std::uint32_t written = 0;
  if (bytes.size() < sizeof written) refuse_zarr("a chunk is damaged", where);
  const std::string_view content = bytes.substr(0, bytes.size() - sizeof written);
  std::memcpy(&written, bytes.data() + content.size(), sizeof written);
  if (written != crc32c(content)) refuse_zarr("the checksum of a chunk is wrong", where);
  return content;
}

bool unpack_gzip(std::string_view packed, std::span<std::byte> out) {
  constexpr int kZlibOrGzip = 15 + 32;
  z_stream stream{};
  if (inflateInit2(&stream, kZlibOrGzip) != Z_OK) return false;
  std::string input(packed);
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const bool ended = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  return ended;
}

bool unpack_blosc([[maybe_unused]] std::string_view packed, [[maybe_unused]] std::span<std::byte> out,
                  [[maybe_unused]] const std::string& where) {
#ifdef COHORT_BLOSC
  std::size_t bytes = 0;
  if (blosc_cbuffer_validate(packed.data(), packed.size(), &bytes) != 0 || bytes != out.size()) return false;
  return blosc_decompress_ctx(packed.data(), out.data(), out.size(), 1) == static_cast<int>(out.size());
#else
  refuse_left_out("zarr chunks that are packed with blosc", "libblosc-dev", where);
#endif
}

bool unpack(const std::string& codec, std::string_view packed, std::span<std::byte> out,
            const std::string& where) {
  if (codec == "blosc") return unpack_blosc(packed, out, where);
  if (codec == "gzip") return unpack_gzip(packed, out);
  if (codec == "zstd")
    return ZSTD_decompress(out.data(), out.size(), packed.data(), packed.size()) == out.size();
  if (packed.size() != out.size()) return false;
  std::memcpy(out.data(), packed.data(), out.size());
  return true;
}

void swap_bytes(std::span<std::byte> bytes, std::int64_t size) {
  for (auto value = bytes.begin(); value != bytes.end(); value += size) std::reverse(value, value + size);
}

/// `count` bytes from `start`, counted from the end of the file where `start` is negative.
std::string part_of(std::ifstream& file, std::int64_t start, std::uint64_t count, const std::string& where) {
  if (count > static_cast<std::uint64_t>(kMostChunkBytes)) refuse_zarr("a shard is damaged", where);
  file.seekg(start, start < 0 ? std::ios::end : std::ios::beg);
  std::string bytes(count, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(count));
  if (!file.good()) refuse_zarr("a shard is damaged or ends too early", where);
  return bytes;
}

/// Row-major walk over the places of a box [first, end).
bool advance(std::vector<std::int64_t>& place, std::span<const std::int64_t> first,
             std::span<const std::int64_t> end) {
  for (std::size_t i = place.size(); i-- > 0;) {
    if (++place[i] < end[i]) return true;
    place[i] = first[i];
  }
  return false;
}

std::int64_t offset_of(std::span<const std::int64_t> place, std::span<const std::int64_t> shape) {
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < place.size(); ++i) offset = offset * shape[i] + place[i];
  return offset;
}

/// Where chunk and region overlap, in the array.
struct Overlap {
  std::vector<std::int64_t> start, end;
  Overlap(std::span<const std::int64_t> chunk_start, std::span<const std::int64_t> chunk,
          std::span<const std::int64_t> start_of, std::span<const std::int64_t> size) {
    for (std::size_t i = 0; i < size.size(); ++i) {
      start.push_back(std::max(chunk_start[i], start_of[i]));
      end.push_back(std::min(chunk_start[i] + chunk[i], start_of[i] + size[i]));
    }
  }
};

std::vector<std::int64_t> minus(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  std::vector<std::int64_t> difference(a.begin(), a.end());
  for (std::size_t i = 0; i < difference.size(); ++i) difference[i] -= b[i];
  return difference;
}

void fill_row(std::span<std::byte> row, std::span<const std::byte> value) {
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = value[i % value.size()];
}

}  // namespace

ZarrArray::ZarrArray(std::filesystem::path folder)
    : folder_(std::move(folder)), metadata_(read_zarr_metadata(folder_)) {}

std::filesystem::path ZarrArray::file_of(const Place& place) const {
  std::string name = metadata_.prefix;
  for (std::size_t i = 0; i < place.size(); ++i)
    name += fmt::format("{}{}", i == 0 ? "" : metadata_.separator, place[i]);
  return folder_ / name;
}

std::filesystem::path ZarrArray::file_at(std::span<const std::int64_t> position) const {
  const Place& size = metadata_.shards ? metadata_.shards->shape : metadata_.chunk;
  Place place;
  for (std::size_t i = 0; i < size.size(); ++i) place.push_back(position[i] / size[i]);
  return file_of(place);
}

/// The index has two 64-bit numbers for each chunk, in row-major order: where it begins, and its bytes.
std::optional<std::string> ZarrArray::chunk_in_shard(const Place& place) {
  Place shard, inside, per_shard;
  for (std::size_t i = 0; i < place.size(); ++i) {
    per_shard.push_back(metadata_.shards->shape[i] / metadata_.chunk[i]);
    shard.push_back(place[i] / per_shard[i]);
    inside.push_back(place[i] % per_shard[i]);
  }
  const std::filesystem::path path = file_of(shard);
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) return std::nullopt;
  constexpr std::int64_t kEntry = 16;
  if (shard != shard_) {
    const std::int64_t bytes =
        std::accumulate(per_shard.begin(), per_shard.end(), kEntry, std::multiplies<>()) +
        (metadata_.shards->index_has_checksum ? 4 : 0);
    index_ = part_of(file, metadata_.shards->index_at_start ? 0 : -bytes, static_cast<std::uint64_t>(bytes),
                     path.string());
    if (metadata_.shards->index_has_checksum) checked_bytes(index_, path.string());
    shard_ = shard;
  }
  std::array<std::uint64_t, 2> entry{};
  std::memcpy(entry.data(), index_.data() + offset_of(inside, per_shard) * kEntry, kEntry);
  if (entry[0] == std::numeric_limits<std::uint64_t>::max()) return std::nullopt;
  if (entry[0] > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    refuse_zarr("a shard is damaged", path.string());
  return part_of(file, static_cast<std::int64_t>(entry[0]), entry[1], path.string());
}

std::optional<std::string> ZarrArray::packed_chunk(const Place& place) {
  if (metadata_.shards) return chunk_in_shard(place);
  const std::filesystem::path file = file_of(place);
  if (!std::filesystem::exists(file)) return std::nullopt;
  return read_file(file);
}

std::vector<std::byte> ZarrArray::load(const Place& place) {
  const std::optional<std::string> packed = packed_chunk(place);
  if (!packed) return {};
  const std::string where = metadata_.shards ? folder_.string() : file_of(place).string();
  const ZarrPacking& packing = metadata_.packing;
  const std::string_view bytes = packing.has_checksum ? checked_bytes(*packed, where) : *packed;
  if (packing.codec.empty() && std::ssize(bytes) != metadata_.chunk_bytes())
    refuse_zarr("a chunk is damaged", where);
  std::vector<std::byte> values(static_cast<std::size_t>(metadata_.chunk_bytes()));
  if (!unpack(packing.codec, bytes, values, where)) refuse_zarr("a chunk is damaged", where);
  if (metadata_.is_big_endian) swap_bytes(values, metadata_.value_bytes());
  return values;
}

const std::vector<std::byte>& ZarrArray::chunk(const Place& place) {
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [&](const Chunk& c) { return c.place == place; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    return kept_.front().values;
  }
  const std::size_t most =
      std::max<std::size_t>(1, kKeptBytes / static_cast<std::size_t>(metadata_.chunk_bytes()));
  while (kept_.size() >= most) kept_.pop_back();
  kept_.push_front({place, load(place)});
  return kept_.front().values;
}

void ZarrArray::read(std::span<const std::int64_t> start, std::span<const std::int64_t> size,
                     std::span<std::byte> out) {
  const std::size_t dimensions = size.size(), last = dimensions - 1;
  const std::int64_t bytes = metadata_.value_bytes();
  Place first, end;
  for (std::size_t i = 0; i < dimensions; ++i) {
    first.push_back(start[i] / metadata_.chunk[i]);
    end.push_back((start[i] + size[i] - 1) / metadata_.chunk[i] + 1);
  }
  Place place = first;
  do {
    Place chunk_start;
    for (std::size_t i = 0; i < dimensions; ++i) chunk_start.push_back(place[i] * metadata_.chunk[i]);
    const std::vector<std::byte>& values = chunk(place);
    const Overlap overlap(chunk_start, metadata_.chunk, start, size);
    const auto row_bytes = static_cast<std::size_t>((overlap.end[last] - overlap.start[last]) * bytes);
    std::vector<std::int64_t> row = overlap.start, row_end = overlap.end;
    row_end[last] = row[last] + 1;
    do {
      const std::span<std::byte> to =
          out.subspan(static_cast<std::size_t>(offset_of(minus(row, start), size) * bytes), row_bytes);
      if (values.empty())
        fill_row(to, metadata_.fill);
      else
        std::memcpy(to.data(), values.data() + offset_of(minus(row, chunk_start), metadata_.chunk) * bytes,
                    row_bytes);
    } while (advance(row, overlap.start, row_end));
  } while (advance(place, first, end));
}

}  // namespace cohort::data_prep

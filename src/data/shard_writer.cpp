#include "data/shard_writer.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/pixel_type.h"
#include "cohort/data/shard_reader.h"

#include "data/shard_structure.h"

namespace cohort::data {
namespace {

Moments moments_of(const auto* values, std::int64_t count) {
  Moments moments{static_cast<double>(count), 0, 0};
  for (std::int64_t i = 0; i < count; ++i) moments.mean += static_cast<double>(values[i]);
  moments.mean /= moments.count;
  for (std::int64_t i = 0; i < count; ++i) {
    const double distance = static_cast<double>(values[i]) - moments.mean;
    moments.squares += distance * distance;
  }
  return moments;
}

void add_image(const ImageLayout& layout, const std::byte* image, std::vector<Moments>& channels) {
  const std::int64_t plane = layout.height * layout.width;
  visit_pixels(layout.type, image, [&](const auto* values) {
    for (std::size_t c = 0; c < channels.size(); ++c) {
      channels[c].add(moments_of(values + static_cast<std::int64_t>(c) * plane, plane));
    }
  });
}

void write_at(const FileDescriptor& file, std::uint64_t offset, std::span<const std::byte> bytes,
              const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw DataError({fmt::format("the shard cannot be written: {}", std::strerror(errno)), path.string(),
                       "free some space or choose another folder; nothing of this shard was kept"});
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

/// Pixels and checksums, into the room that the structure has for them. Returns the moments of every channel.
std::vector<Moments> write_rows(const std::filesystem::path& path, const ShardOffsets& offsets,
                                const ImageLayout& layout, std::span<const std::int64_t> order,
                                const PixelSource& pixels, const std::function<void()>& row_done) {
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  std::vector<Moments> channels(static_cast<std::size_t>(layout.channels));
  std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
  std::vector<std::uint64_t> checksums;
  for (const std::int64_t row : order) {
    pixels(row, image);
    write_at(file, offsets.images + checksums.size() * image.size(), image, path);
    checksums.push_back(checksum(image));
    add_image(layout, image.data(), channels);
    row_done();
  }
  write_at(file, offsets.checksums, std::as_bytes(std::span(checksums)), path);
  return channels;
}

/// Reads every row of the finished file again; the reader compares it with its checksum.
void verify(const std::filesystem::path& folder, const ShardEntry& entry, const ImageLayout& layout) {
  const ShardReader reader = ShardReader::open(folder, entry, layout);
  std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
  for (std::int64_t row = 0; row < reader.rows(); ++row) reader.read(row, image);
}

}  // namespace

void Moments::add(const Moments& other) noexcept {
  if (other.count == 0) return;
  const double total = count + other.count, distance = other.mean - mean;
  squares += other.squares + distance * distance * count * other.count / total;
  mean += distance * other.count / total;
  count = total;
}

double Moments::deviation() const noexcept {
  return squares > 0 ? std::sqrt(squares / count) : 1;
}

WrittenShard write_shard(const std::filesystem::path& folder, const std::string& file,
                         const Description& description, std::span<const Row> rows,
                         std::span<const std::int64_t> order, const PixelSource& pixels,
                         const std::function<void()>& row_done) {
  const std::filesystem::path partial = folder / (file + ".partial");
  WrittenShard shard{{partial.filename().string(), static_cast<std::int64_t>(order.size()), 0, 0}, {}};
  try {
    const ShardOffsets offsets = write_structure(partial, description, rows, order);
    shard.channels = write_rows(partial, offsets, description.images, order, pixels, row_done);
    sync_file(partial);
    shard.entry.bytes = std::filesystem::file_size(partial);
    shard.entry.checksum = checksum_file(partial);
    verify(folder, shard.entry, description.images);
    std::filesystem::rename(partial, folder / file);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(partial, ignored);
    throw;
  }
  shard.entry.file = file;
  return shard;
}

}  // namespace cohort::data

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
#include "cohort/data/image_codec.h"
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
                       disk_remedy(errno, "choose another folder; nothing of this shard was kept")});
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

/// Images of a codec: how long they are is known only once all are encoded, and the file's structure needs to
/// know.
struct EncodedRows {
  FileDescriptor content;                 ///< without a name: gone when it is closed
  std::vector<std::uint64_t> offsets{0};  ///< [N + 1] into `content`
  std::vector<std::uint64_t> checksums;
  std::vector<Moments> channels;
};

FileDescriptor open_nameless(const std::filesystem::path& path) {
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) {
    throw DataError({fmt::format("a file cannot be made: {}", std::strerror(errno)), path.string(),
                     disk_remedy(errno, "check the folder's permissions")});
  }
  std::filesystem::remove(path);
  return file;
}

bool can_be_decoded(const Description& description, std::span<const std::byte> encoded,
                    std::span<std::byte> image) {
  try {
    decode_image(description.codec, description.images, encoded, image);
    return true;
  } catch (const DataError&) {
    return false;
  }
}

EncodedRows encode_rows(const std::filesystem::path& path, const Description& description,
                        std::span<const std::int64_t> order, const PixelSource& pixels,
                        const std::function<void()>& row_done) {
  const ImageLayout& layout = description.images;
  EncodedRows rows{open_nameless(path), {0}, {}, {}};
  rows.channels.resize(static_cast<std::size_t>(layout.channels));
  std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
  for (const std::int64_t row : order) {
    const auto encoded = encoded_row(description, pixels, row, image);
    write_at(rows.content, rows.offsets.back(), encoded, path);
    rows.offsets.push_back(rows.offsets.back() + encoded.size());
    rows.checksums.push_back(checksum(encoded));
    add_image(layout, image.data(), rows.channels);
    row_done();
  }
  return rows;
}

void copy_content(const EncodedRows& rows, const FileDescriptor& target, std::uint64_t offset,
                  const std::filesystem::path& path) {
  std::vector<std::byte> block(std::size_t{4} << 20);
  for (std::uint64_t at = 0; at < rows.offsets.back();) {
    const ssize_t count = ::pread(rows.content.get(), block.data(), block.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      throw DataError({fmt::format("the encoded images cannot be read back: {}", std::strerror(errno)),
                       path.string(), disk_remedy(errno, "check the disk, then convert again")});
    }
    write_at(target, offset + at, std::span(block).first(static_cast<std::size_t>(count)), path);
    at += static_cast<std::uint64_t>(count);
  }
}

std::vector<Moments> write_encoded(const std::filesystem::path& path, const Description& description,
                                   std::span<const Row> rows, std::span<const std::int64_t> order,
                                   const PixelSource& pixels, const std::function<void()>& row_done) {
  EncodedRows encoded = encode_rows(path.string() + ".encoded", description, order, pixels, row_done);
  const ShardOffsets offsets = write_structure(path, description, encoded.offsets.back(), rows, order);
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  copy_content(encoded, file, offsets.images, path);
  write_at(file, offsets.offsets, std::as_bytes(std::span(encoded.offsets)), path);
  write_at(file, offsets.checksums, std::as_bytes(std::span(encoded.checksums)), path);
  return std::move(encoded.channels);
}

/// Pixels and checksums, into the room that the structure has for them. Returns the moments of every channel.
std::vector<Moments> write_raw(const std::filesystem::path& path, const Description& description,
                               std::span<const Row> rows, std::span<const std::int64_t> order,
                               const PixelSource& pixels, const std::function<void()>& row_done) {
  const ImageLayout& layout = description.images;
  const auto image_bytes = static_cast<std::uint64_t>(layout.bytes());
  const ShardOffsets offsets = write_structure(path, description, order.size() * image_bytes, rows, order);
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
void verify(const std::filesystem::path& folder, const ShardEntry& entry, const Description& description) {
  const ShardReader reader = ShardReader::open(folder, entry, description.images, description.codec);
  std::vector<std::byte> image(static_cast<std::size_t>(description.images.bytes()));
  for (std::int64_t row = 0; row < reader.rows(); ++row) reader.read(row, image);
}

}  // namespace

std::vector<std::byte> encoded_row(const Description& description, const PixelSource& source,
                                   std::int64_t row, std::span<std::byte> image) {
  if (source.encoded) {
    auto stored = source.encoded(row);
    if (stored && can_be_decoded(description, *stored, image)) return std::move(*stored);
  }
  source(row, image);
  auto encoded = encode_image(description.codec, description.images, description.jpeg_quality, image);
  if (description.codec == Codec::jpeg) decode_image(description.codec, description.images, encoded, image);
  return encoded;
}

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
    const auto write = description.codec == Codec::raw ? write_raw : write_encoded;
    shard.channels = write(partial, description, rows, order, pixels, row_done);
    sync_file(partial);
    shard.entry.bytes = std::filesystem::file_size(partial);
    shard.entry.checksum = checksum_file(partial);
    verify(folder, shard.entry, description);
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

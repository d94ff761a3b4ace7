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

#include "data/field_codec.h"
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
  const std::int64_t plane = layout.values() / layout.channels;
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

FileDescriptor open_nameless(const std::filesystem::path& path) {
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) {
    throw DataError({fmt::format("a file cannot be made: {}", std::strerror(errno)), path.string(),
                     disk_remedy(errno, "check the folder's permissions")});
  }
  std::filesystem::remove(path);
  return file;
}

/// Rows whose lengths are known only once all are there, and the file's structure needs to know.
class SpooledRows {
 public:
  explicit SpooledRows(const std::filesystem::path& shard)
      : shard_(shard), content_(open_nameless(shard.string() + ".encoded")) {}

  void add(std::span<const std::byte> row) {
    write_at(content_, offsets_.back(), row, shard_);
    offsets_.push_back(offsets_.back() + row.size());
    checksums_.push_back(checksum(row));
  }
  [[nodiscard]] std::uint64_t bytes() const { return offsets_.back(); }

  /// To their places in the finished structure; `offsets` 0: it has none. `unit`: bytes in which they count.
  void copy_to(const FileDescriptor& target, std::uint64_t values, std::uint64_t offsets,
               std::uint64_t checksums, std::uint64_t unit = 1) {
    copy_content(target, values);
    for (std::uint64_t& offset : offsets_) offset /= unit;
    if (offsets != 0) write_at(target, offsets, std::as_bytes(std::span(offsets_)), shard_);
    write_at(target, checksums, std::as_bytes(std::span(checksums_)), shard_);
  }

 private:
  void copy_content(const FileDescriptor& target, std::uint64_t offset) const {
    std::vector<std::byte> block(std::size_t{4} << 20);
    for (std::uint64_t at = 0; at < bytes();) {
      const ssize_t count = ::pread(content_.get(), block.data(), block.size(), static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        throw DataError({fmt::format("the encoded images cannot be read back: {}", std::strerror(errno)),
                         shard_.string(), disk_remedy(errno, "check the disk, then convert again")});
      }
      write_at(target, offset + at, std::span(block).first(static_cast<std::size_t>(count)), shard_);
      at += static_cast<std::uint64_t>(count);
    }
  }

  std::filesystem::path shard_;
  FileDescriptor content_;                 // without a name: gone when it is closed
  std::vector<std::uint64_t> offsets_{0};  // [N + 1] into `content_`
  std::vector<std::uint64_t> checksums_;
};

bool can_be_decoded(const Description& description, std::span<const std::byte> encoded,
                    std::span<std::byte> image) {
  try {
    decode_image(description.codec, description.images, encoded, image);
    return true;
  } catch (const DataError&) {
    return false;
  }
}

/// What a shard is made of.
struct ShardContent {
  const std::filesystem::path& path;
  const Description& description;
  const ShardRows& rows;
  const PixelSource& source;
  const std::function<void()>& row_done;
};

std::vector<std::byte> field_of_row(const ShardContent& shard, std::size_t field, std::size_t row) {
  return encoded_field(shard.description.fields[field], field,
                       shard.rows.rows.ids()[static_cast<std::int64_t>(row)], shard.source,
                       shard.rows.source[row]);
}

std::vector<SpooledRows> encode_fields(const ShardContent& shard) {
  std::vector<SpooledRows> fields;
  for (std::size_t i = 0; i < shard.description.fields.size(); ++i) {
    SpooledRows& rows = fields.emplace_back(shard.path);
    for (std::size_t row = 0; row < shard.rows.source.size(); ++row) rows.add(field_of_row(shard, i, row));
  }
  return fields;
}

std::vector<std::uint64_t> lengths_of(const std::vector<SpooledRows>& fields) {
  std::vector<std::uint64_t> bytes;
  for (const SpooledRows& field : fields) bytes.push_back(field.bytes());
  return bytes;
}

void write_fields(const ShardContent& shard, std::vector<SpooledRows>& fields, const ShardOffsets& offsets,
                  const FileDescriptor& file) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const FieldOffsets& places = offsets.fields[i];
    const auto unit = static_cast<std::uint64_t>(unit_bytes(shard.description.fields[i]));
    fields[i].copy_to(file, places.values, places.offsets, places.checksums, unit);
  }
}

/// Images as they are stored, in memory and on the way to it.
std::vector<std::byte> stored_row(const ShardContent& shard, std::int64_t row, std::span<std::byte> image) {
  if (shard.description.codec != Codec::raw) return encoded_row(shard.description, shard.source, row, image);
  shard.source(row, image);
  return {image.begin(), image.end()};
}

/// Rows one after the other, each with its fields.
std::vector<Moments> write_by_row(const ShardContent& shard) {
  const ImageLayout& layout = shard.description.images;
  SpooledRows images(shard.path);
  std::vector<SpooledRows> fields;
  for (std::size_t i = 0; i < shard.description.fields.size(); ++i) fields.emplace_back(shard.path);
  std::vector<Moments> channels(static_cast<std::size_t>(layout.channels));
  std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
  for (std::size_t row = 0; row < shard.rows.source.size(); ++row) {
    images.add(stored_row(shard, shard.rows.source[row], image));
    add_image(layout, image.data(), channels);
    for (std::size_t i = 0; i < fields.size(); ++i) fields[i].add(field_of_row(shard, i, row));
    shard.row_done();
  }
  const ShardOffsets offsets =
      write_structure(shard.path, shard.description, images.bytes(), lengths_of(fields), shard.rows.rows);
  const FileDescriptor file(::open(shard.path.c_str(), O_WRONLY | O_CLOEXEC));
  images.copy_to(file, offsets.images, offsets.offsets, offsets.checksums);
  write_fields(shard, fields, offsets, file);
  return channels;
}

/// Pixels and checksums, into the room that the structure has for them. Returns the moments of every channel.
std::vector<Moments> write_raw(const ShardContent& shard) {
  std::vector<SpooledRows> fields = encode_fields(shard);
  const ImageLayout& layout = shard.description.images;
  const auto image_bytes = static_cast<std::uint64_t>(layout.bytes());
  const ShardOffsets offsets =
      write_structure(shard.path, shard.description, shard.rows.source.size() * image_bytes,
                      lengths_of(fields), shard.rows.rows);
  const FileDescriptor file(::open(shard.path.c_str(), O_WRONLY | O_CLOEXEC));
  std::vector<Moments> channels(static_cast<std::size_t>(layout.channels));
  std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
  std::vector<std::uint64_t> checksums;
  for (const std::int64_t row : shard.rows.source) {
    shard.source(row, image);
    write_at(file, offsets.images + checksums.size() * image.size(), image, shard.path);
    checksums.push_back(checksum(image));
    add_image(layout, image.data(), channels);
    shard.row_done();
  }
  write_at(file, offsets.checksums, std::as_bytes(std::span(checksums)), shard.path);
  write_fields(shard, fields, offsets, file);
  return channels;
}

/// Reads every row of the finished file again; the reader compares it with its checksum.
void verify(const std::filesystem::path& folder, const ShardEntry& entry, const Description& description) {
  const ShardReader reader =
      ShardReader::open(folder, entry, description.images, description.codec, description.fields);
  std::vector<std::byte> image(static_cast<std::size_t>(description.images.bytes())), values;
  for (std::int64_t row = 0; row < reader.rows(); ++row) {
    reader.read(row, image);
    for (std::size_t field = 0; field < description.fields.size(); ++field)
      reader.read_field(row, field, values);
  }
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

std::vector<std::byte> encoded_field(const Field& field, std::size_t number, std::string_view id,
                                     const PixelSource& source, std::int64_t index) {
  const std::vector<std::byte> values = source.field(number, index);
  const std::string problem = problem_of_values(field, values);
  if (problem.empty()) return encode_field(field, values);
  throw DataError({fmt::format("field '{}' of image '{}' {}", field.name, id, problem),
                   source.place ? source.place(index) : "the images to be written",
                   "correct it, or leave the image out"});
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
                         const Description& description, const ShardRows& rows, const PixelSource& pixels,
                         const std::function<void()>& row_done) {
  const std::filesystem::path partial = folder / (file + ".partial");
  WrittenShard shard{{partial.filename().string(), rows.rows.size(), 0, 0}, {}};
  try {
    const bool is_raw = description.codec == Codec::raw && !pixels.reads_by_row;
    const auto write = is_raw ? write_raw : write_by_row;
    shard.channels = write({partial, description, rows, pixels, row_done});
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

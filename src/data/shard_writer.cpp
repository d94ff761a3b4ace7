#include "data/shard_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <numeric>
#include <type_traits>
#include <unistd.h>
#include <utility>

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

double mean_of(const auto* values, std::int64_t count) {
  // Whole numbers add up to the same in any order: far below 2^53, doubles hold them exactly.
  using Value = std::remove_cvref_t<decltype(*values)>;
  std::conditional_t<std::is_integral_v<Value>, std::int64_t, double> sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += values[i];
  return static_cast<double>(sum) / static_cast<double>(count);
}

/// Of `Together` channels from `first` on: each is added up in the order of its pixels, beside the others,
/// since an addition waits for the one before it.
template <std::size_t Together>
void add_moments(const auto* first, std::int64_t plane, std::span<Moments> channels) {
  std::array<double, Together> mean{}, squares{};
  for (std::size_t c = 0; c < Together; ++c)
    mean[c] = mean_of(first + static_cast<std::int64_t>(c) * plane, plane);
  for (std::int64_t i = 0; i < plane; ++i) {
    for (std::size_t c = 0; c < Together; ++c) {
      const double distance = static_cast<double>(first[static_cast<std::int64_t>(c) * plane + i]) - mean[c];
      squares[c] += distance * distance;
    }
  }
  for (std::size_t c = 0; c < Together; ++c)
    channels[c].add({static_cast<double>(plane), mean[c], squares[c]});
}

void add_image(const ImageLayout& layout, const std::byte* image, std::vector<Moments>& channels) {
  const std::int64_t plane = layout.values() / layout.channels;
  visit_pixels(layout.type, image, [&](const auto* values) {
    constexpr std::size_t kTogether = 3;
    std::span<Moments> left(channels);
    for (; left.size() >= kTogether; left = left.subspan(kTogether), values += kTogether * plane)
      add_moments<kTogether>(values, plane, left);
    for (; !left.empty(); left = left.subspan(1), values += plane) add_moments<1>(values, plane, left);
  });
}

/// Moments of a shard. Rows may come in any order; what they add up to depends on it, so that it is that of
/// the file.
class ShardMoments {
 public:
  explicit ShardMoments(const ImageLayout& layout)
      : layout_(layout), channels_(static_cast<std::size_t>(layout.channels)) {}

  void add(std::int64_t row, const std::byte* image) {
    if (row == next_) {
      add_image(layout_, image, channels_);
      ++next_;
    } else {
      std::vector<Moments> channels(channels_.size());
      add_image(layout_, image, channels);
      waiting_.emplace(row, std::move(channels));
    }
    for (auto first = waiting_.begin(); first != waiting_.end() && first->first == next_; ++next_) {
      for (std::size_t c = 0; c < channels_.size(); ++c) channels_[c].add(first->second[c]);
      first = waiting_.erase(first);
    }
  }
  [[nodiscard]] std::vector<Moments> all() && { return std::move(channels_); }

 private:
  const ImageLayout& layout_;
  std::vector<Moments> channels_;
  std::map<std::int64_t, std::vector<Moments>> waiting_;  // by row
  std::int64_t next_ = 0;
};

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
  SpooledRows(const std::filesystem::path& shard, std::size_t rows)
      : shard_(shard),
        content_(open_nameless(shard.string() + ".encoded")),
        begins_(rows),
        offsets_(rows + 1),
        checksums_(rows) {}

  /// Once for each row, in any order.
  void add(std::size_t row, std::span<const std::byte> values) {
    write_at(content_, bytes_, values, shard_);
    begins_.at(row) = bytes_;
    bytes_ += values.size();
    offsets_[row + 1] = values.size();
    checksums_[row] = checksum(values);
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  /// To their places in the finished structure; `offsets` 0: it has none. `unit`: bytes in which they count.
  void copy_to(const FileDescriptor& target, std::uint64_t values, std::uint64_t offsets,
               std::uint64_t checksums, std::uint64_t unit = 1) {
    std::partial_sum(offsets_.begin(), offsets_.end(), offsets_.begin());
    copy_content(target, values);
    for (std::uint64_t& offset : offsets_) offset /= unit;
    if (offsets != 0) write_at(target, offsets, std::as_bytes(std::span(offsets_)), shard_);
    write_at(target, checksums, std::as_bytes(std::span(checksums_)), shard_);
  }

 private:
  /// Rows that were added one after the other are copied together.
  void copy_content(const FileDescriptor& target, std::uint64_t values) const {
    for (std::size_t row = 0; row < begins_.size();) {
      const std::size_t first = row++;
      while (row < begins_.size() && begins_[row] - begins_[first] == offsets_[row] - offsets_[first]) ++row;
      copy(begins_[first], offsets_[row] - offsets_[first], target, values + offsets_[first]);
    }
  }

  void copy(std::uint64_t from, std::uint64_t bytes, const FileDescriptor& target, std::uint64_t to) const {
    std::vector<std::byte> block(std::min(bytes, std::uint64_t{4} << 20));
    while (bytes > 0) {
      const std::span<std::byte> piece = std::span(block).first(std::min<std::uint64_t>(bytes, block.size()));
      const ssize_t count = ::pread(content_.get(), piece.data(), piece.size(), static_cast<off_t>(from));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        throw DataError({fmt::format("the encoded images cannot be read back: {}", std::strerror(errno)),
                         shard_.string(), disk_remedy(errno, "check the disk, then convert again")});
      }
      write_at(target, to, piece.first(static_cast<std::size_t>(count)), shard_);
      from += static_cast<std::uint64_t>(count);
      to += static_cast<std::uint64_t>(count);
      bytes -= static_cast<std::uint64_t>(count);
    }
  }

  std::filesystem::path shard_;
  FileDescriptor content_;              // without a name: gone when it is closed
  std::uint64_t bytes_ = 0;             // of `content_`
  std::vector<std::uint64_t> begins_;   // of each row, there
  std::vector<std::uint64_t> offsets_;  // [N + 1] in the shard; before copy_to() the bytes of the row before
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

/// Calls use(row) for all rows of the file, a stretch at a time, in the order of the list that they come
/// from: neighbours there lie side by side in a file, or share what has to be decoded. What has to wait for
/// the order of the file stays small.
void for_rows(const ShardContent& shard, const std::function<void(std::size_t row)>& use) {
  constexpr std::size_t kStretch = 4096;
  const std::vector<std::int64_t>& source = shard.rows.source;
  for (std::size_t first = 0; first < source.size(); first += kStretch) {
    std::vector<std::size_t> rows(std::min(kStretch, source.size() - first));
    std::iota(rows.begin(), rows.end(), first);
    std::sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) { return source[a] < source[b]; });
    for (const std::size_t row : rows) use(row);
  }
}

std::vector<std::byte> field_of_row(const ShardContent& shard, std::size_t field, std::size_t row) {
  return encoded_field(shard.description.fields[field], field,
                       shard.rows.rows.ids()[static_cast<std::int64_t>(row)], shard.source,
                       shard.rows.source[row]);
}

std::vector<SpooledRows> encode_fields(const ShardContent& shard) {
  std::vector<SpooledRows> fields;
  for (std::size_t i = 0; i < shard.description.fields.size(); ++i) {
    SpooledRows& rows = fields.emplace_back(shard.path, shard.rows.source.size());
    for_rows(shard, [&](std::size_t row) { rows.add(row, field_of_row(shard, i, row)); });
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
  const std::size_t rows = shard.rows.source.size();
  SpooledRows images(shard.path, rows);
  std::vector<SpooledRows> fields;
  for (std::size_t i = 0; i < shard.description.fields.size(); ++i) fields.emplace_back(shard.path, rows);
  ShardMoments moments(layout);
  std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
  for_rows(shard, [&](std::size_t row) {
    images.add(row, stored_row(shard, shard.rows.source[row], image));
    moments.add(static_cast<std::int64_t>(row), image.data());
    for (std::size_t i = 0; i < fields.size(); ++i) fields[i].add(row, field_of_row(shard, i, row));
    shard.row_done();
  });
  const ShardOffsets offsets =
      write_structure(shard.path, shard.description, images.bytes(), lengths_of(fields), shard.rows.rows);
  const FileDescriptor file(::open(shard.path.c_str(), O_WRONLY | O_CLOEXEC));
  images.copy_to(file, offsets.images, offsets.offsets, offsets.checksums);
  write_fields(shard, fields, offsets, file);
  return std::move(moments).all();
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
  ShardMoments moments(layout);
  std::vector<std::byte> image(static_cast<std::size_t>(image_bytes));
  std::vector<std::uint64_t> checksums(shard.rows.source.size());
  for_rows(shard, [&](std::size_t row) {
    shard.source(shard.rows.source[row], image);
    write_at(file, offsets.images + row * image_bytes, image, shard.path);
    checksums[row] = checksum(image);
    moments.add(static_cast<std::int64_t>(row), image.data());
    shard.row_done();
  });
  write_at(file, offsets.checksums, std::as_bytes(std::span(checksums)), shard.path);
  write_fields(shard, fields, offsets, file);
  return std::move(moments).all();
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

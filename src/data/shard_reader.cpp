#include "cohort/data/shard_reader.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/read_at.h"
#include "cohort/data/image_codec.h"

#include "data/field_codec.h"
#include "data/shard_format.h"
#include "support/hdf5.h"

namespace cohort::data {
namespace {

static_assert(std::endian::native == std::endian::little, "rows are read as stored: little-endian");

constexpr const char* kVerify =
    "cohort-data verify lists all damage; restore the file or convert the images again";

[[noreturn]] void damaged(const std::string& what, const std::filesystem::path& path) {
  throw DataError({what, path.string(), kVerify});
}

[[noreturn]] void refused(const char* action, int error, const std::filesystem::path& path) {
  throw DataError({fmt::format("the shard cannot be {}: {}", action, std::strerror(error)), path.string(),
                   disk_remedy(error, kVerify)});
}

void check_size(const std::filesystem::path& path, const ShardEntry& entry) {
  std::error_code error;
  const std::uint64_t bytes = std::filesystem::file_size(path, error);
  if (error) refused("opened", error.value(), path);
  if (bytes == entry.bytes) return;
  damaged(fmt::format("the shard {} {} bytes, dataset.json says {}",
                      bytes < entry.bytes ? "is truncated: it has" : "is not the one of dataset.json: it has",
                      bytes, entry.bytes),
          path);
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text;
  for (const std::int64_t size : shape) text += fmt::format("{}{}", text.empty() ? "" : ", ", size);
  return "[" + text + "]";
}

void check_shape(const hdf5::Dataset& dataset, const std::string& name,
                 const std::vector<std::int64_t>& expected, const std::filesystem::path& path) {
  const std::vector<std::int64_t> shape = hdf5::shape_of(dataset, path.string());
  if (shape == expected) return;
  damaged(fmt::format("{} has shape {}, dataset.json says {}", name, shape_text(shape), shape_text(expected)),
          path);
}

hdf5::Type type_of(const hdf5::Dataset& dataset, const std::filesystem::path& path) {
  return hdf5::Type(hdf5::check_hdf5(H5Dget_type(dataset.get()), "H5Dget_type", path.string()));
}

/// Offset in the file of the first byte of a contiguous dataset of `bytes` bytes.
std::uint64_t offset_of(const hdf5::Dataset& dataset, const std::string& name, std::uint64_t bytes,
                        const ShardEntry& entry, const std::filesystem::path& path) {
  const haddr_t offset = H5Dget_offset(dataset.get());
  if (offset == HADDR_UNDEF) damaged(fmt::format("{} is not stored contiguously", name), path);
  if (offset > entry.bytes || bytes > entry.bytes - offset)
    damaged(fmt::format("{} ends beyond the file", name), path);
  return offset;
}

hdf5::File open_shard(const std::filesystem::path& path) {
  hdf5::silence();
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  if (const int error = is_hdf5 < 0 ? hdf5::system_error_in(hdf5::deepest_error()) : 0; error != 0)
    refused("opened", error, path);
  if (is_hdf5 <= 0) damaged("the shard is not an HDF5 file", path);
  return hdf5::open_file(path);
}

hdf5::Dataset open_column(const hdf5::File& file, const std::string& name,
                          const std::filesystem::path& path) {
  std::string partial;
  for (std::size_t at = 1; at != std::string::npos + 1;) {
    const std::size_t slash = name.find('/', at);
    partial = name.substr(0, slash);
    if (!hdf5::exists(file.get(), partial, path.string()))
      damaged(fmt::format("the shard has no {}", partial), path);
    if (slash == std::string::npos) break;
    at = slash + 1;
  }
  if (!hdf5::is_contiguous(file.get(), name, path.string()))
    damaged(fmt::format("{} is not contiguous in the shard itself", name), path);
  return hdf5::open_dataset(file.get(), name, path.string());
}

std::vector<std::int32_t> read_column(const std::filesystem::path& path, std::int64_t rows,
                                      const std::string& name) {
  const hdf5::Lock lock;
  const hdf5::File file = open_shard(path);
  const hdf5::Dataset dataset = open_column(file, name, path);
  check_shape(dataset, name, {rows}, path);
  std::vector<std::int32_t> values(static_cast<std::size_t>(rows));
  hdf5::check_hdf5(H5Dread(dataset.get(), H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
                   "H5Dread", fmt::format("{}: {}", path.string(), name), kVerify);
  return values;
}

/// Of the values of all rows of a field; -1: what the file says.
std::vector<std::int64_t> shape_of_values(const Field& field, std::int64_t rows) {
  if (field.codec != Codec::raw) return {-1};
  std::vector<std::int64_t> shape = field.shape;
  if (!field.differs()) shape.insert(shape.begin(), rows);
  return shape;
}

}  // namespace

struct ShardReader::Impl {
  /// A field, and where its rows are in the file.
  struct StoredField {
    Field field;
    std::uint64_t values = 0, bytes = 0;  // of all rows
    std::uint64_t offsets = 0, checksums = 0;
  };

  std::filesystem::path path;
  ShardEntry entry;
  ImageLayout layout;
  Codec codec = Codec::raw;
  FileDescriptor descriptor;
  std::uint64_t checksums = 0, offsets = 0;  // where those of rows begin; offsets: of encoded images, [N + 1]
  std::uint64_t images_offset = 0, images_bytes = 0;
  std::uint64_t ids_offset = 0;
  std::size_t id_bytes = 0;
  std::vector<StoredField> fields;

  void open_field(const hdf5::File& file, const Field& field);
  /// Where its numbers of 64 bits begin, so that they can be read row by row.
  [[nodiscard]] std::uint64_t open_numbers(const hdf5::File& file, const std::string& name,
                                           std::int64_t count) const;
  [[nodiscard]] std::uint64_t number_at(std::uint64_t start, std::int64_t index) const;
  [[nodiscard]] std::vector<std::uint64_t> offsets_of_all() const;
  void read_stored(const StoredField& stored, std::int64_t row, std::vector<std::byte>& bytes) const;
  void open_images(const hdf5::File& file);
  void open_encoded(const hdf5::File& file);
  void open_ids(const hdf5::File& file);
  void read_raw(std::int64_t row, std::span<std::byte> out) const;
  void read_stored(std::int64_t row, std::vector<std::byte>& stored) const;
  void read_encoded(std::int64_t row, std::span<std::byte> out) const;
  void check_row(std::int64_t row, std::span<const std::byte> stored) const;
  void read_at(std::uint64_t offset, std::span<std::byte> out) const;
  [[nodiscard]] std::string id(std::int64_t row) const;
};

void ShardReader::Impl::open_images(const hdf5::File& file) {
  const hdf5::Dataset images = open_column(file, shard_format::kImages, path);
  std::vector<std::int64_t> shape = layout.sizes();
  shape.insert(shape.begin(), entry.rows);
  check_shape(images, shard_format::kImages, shape, path);
  if (H5Tequal(type_of(images, path).get(), shard_format::stored_type(layout.type)) <= 0) {
    damaged(fmt::format("/images is not of type {}, as dataset.json says", pixel_type_name(layout.type)),
            path);
  }
  const auto bytes = static_cast<std::uint64_t>(entry.rows) * static_cast<std::uint64_t>(layout.bytes());
  images_offset = offset_of(images, shard_format::kImages, bytes, entry, path);
  images_bytes = bytes;
}

void ShardReader::Impl::open_encoded(const hdf5::File& file) {
  offsets = open_numbers(file, shard_format::kOffsets, entry.rows + 1);
  const std::vector<std::uint64_t> ends = offsets_of_all();
  const hdf5::Dataset encoded = open_column(file, shard_format::kEncoded, path);
  check_shape(encoded, shard_format::kEncoded, {static_cast<std::int64_t>(ends.back())}, path);
  if (ends.front() != 0 || !std::is_sorted(ends.begin(), ends.end()))
    damaged("/offset does not begin at 0 and ascend", path);
  if (H5Tequal(type_of(encoded, path).get(), H5T_STD_U8LE) <= 0) damaged("/encoded is not of type u8", path);
  images_bytes = ends.back();
  images_offset = offset_of(encoded, shard_format::kEncoded, images_bytes, entry, path);
}

void ShardReader::Impl::open_ids(const hdf5::File& file) {
  const hdf5::Dataset ids = open_column(file, shard_format::kIds, path);
  check_shape(ids, shard_format::kIds, {entry.rows}, path);
  const hdf5::Type type = type_of(ids, path);
  if (H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) != 0) {
    damaged("/id does not hold texts of fixed length", path);
  }
  id_bytes = H5Tget_size(type.get());
  if (id_bytes > entry.bytes / static_cast<std::uint64_t>(entry.rows))
    damaged("/id ends beyond the file", path);
  ids_offset =
      offset_of(ids, shard_format::kIds, static_cast<std::uint64_t>(entry.rows) * id_bytes, entry, path);
}

std::vector<std::uint64_t> ShardReader::Impl::offsets_of_all() const {
  std::vector<std::uint64_t> all(static_cast<std::size_t>(entry.rows) + 1);
  read_at(offsets, std::as_writable_bytes(std::span(all)));
  return all;
}

std::uint64_t ShardReader::Impl::open_numbers(const hdf5::File& file, const std::string& name,
                                              std::int64_t count) const {
  const hdf5::Dataset dataset = open_column(file, name, path);
  check_shape(dataset, name, {count}, path);
  if (H5Tequal(type_of(dataset, path).get(), H5T_STD_U64LE) <= 0)
    damaged(fmt::format("{} is not of type u64", name), path);
  return offset_of(dataset, name, static_cast<std::uint64_t>(count) * 8, entry, path);
}

void ShardReader::Impl::open_field(const hdf5::File& file, const Field& field) {
  const std::string name = shard_format::field_path(field.name, "/values");
  const hdf5::Dataset values = open_column(file, name, path);
  std::vector<std::int64_t> expected = shape_of_values(field, entry.rows);
  const std::vector<std::int64_t> shape = hdf5::shape_of(values, path.string());
  if (expected.front() < 0 && !shape.empty()) expected.front() = shape.front();
  check_shape(values, name, expected, path);
  const hid_t type = field.codec == Codec::raw ? shard_format::stored_type(field.type) : H5T_STD_U8LE;
  if (H5Tequal(type_of(values, path).get(), type) <= 0)
    damaged(fmt::format("{} is not of the type that dataset.json says", name), path);
  const std::int64_t count = expected.front(), unit = field.codec == Codec::raw ? field.entry_bytes() : 1;
  if (count > static_cast<std::int64_t>(entry.bytes) / unit)
    damaged(fmt::format("{} ends beyond the file", name), path);
  StoredField stored{field, 0, static_cast<std::uint64_t>(count * unit)};
  if (stored.bytes > 0) stored.values = offset_of(values, name, stored.bytes, entry, path);
  if (has_offsets(field))
    stored.offsets = open_numbers(file, shard_format::field_path(field.name, "/offset"), entry.rows + 1);
  stored.checksums = open_numbers(file, shard_format::field_path(field.name, "/checksum"), entry.rows);
  fields.push_back(std::move(stored));
}

std::uint64_t ShardReader::Impl::number_at(std::uint64_t start, std::int64_t index) const {
  std::uint64_t number = 0;
  read_at(start + 8 * static_cast<std::uint64_t>(index), std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

void ShardReader::Impl::read_stored(const StoredField& stored, std::int64_t row,
                                    std::vector<std::byte>& bytes) const {
  const Field& field = stored.field;
  const auto unit = static_cast<std::uint64_t>(unit_bytes(field)), number = static_cast<std::uint64_t>(row);
  const bool differs = has_offsets(field);
  const std::uint64_t most = stored.bytes / unit, begin = differs ? number_at(stored.offsets, row) : number,
                      end = differs ? number_at(stored.offsets, row + 1) : number + 1;
  if (begin > end || end > most)
    damaged(fmt::format("row {} ('{}') of field '{}' is damaged: it ends beyond the field", row, id(row),
                        field.name),
            path);
  bytes.resize((end - begin) * unit);
  read_at(stored.values + begin * unit, bytes);
  if (checksum(bytes) == number_at(stored.checksums, row)) return;
  damaged(fmt::format("row {} ('{}') of field '{}' is damaged: its checksum does not match", row, id(row),
                      field.name),
          path);
}

void ShardReader::Impl::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (cohort::read_at(descriptor, offset, out) == out.size()) return;
  if (errno != 0) refused("read", errno, path);
  damaged("the shard ends too early: it became shorter since it was opened", path);
}

std::string ShardReader::Impl::id(std::int64_t row) const {
  std::string text(id_bytes, '\0');
  read_at(ids_offset + static_cast<std::uint64_t>(row) * id_bytes, std::as_writable_bytes(std::span(text)));
  return text.substr(0, text.find('\0'));
}

void ShardReader::Impl::check_row(std::int64_t row, std::span<const std::byte> stored) const {
  if (checksum(stored) == number_at(checksums, row)) return;
  damaged(fmt::format("row {} ('{}') is damaged: its checksum does not match", row, id(row)), path);
}

void ShardReader::Impl::read_raw(std::int64_t row, std::span<std::byte> out) const {
  read_at(images_offset + static_cast<std::uint64_t>(row) * out.size(), out);
  check_row(row, out);
}

void ShardReader::Impl::read_stored(std::int64_t row, std::vector<std::byte>& stored) const {
  const auto number = static_cast<std::uint64_t>(row), bytes = static_cast<std::uint64_t>(layout.bytes());
  const bool raw = codec == Codec::raw;
  const std::uint64_t begin = raw ? number * bytes : number_at(offsets, row),
                      end = raw ? begin + bytes : number_at(offsets, row + 1);
  if (begin > end || end > images_bytes)
    damaged(fmt::format("row {} ('{}') is damaged: it ends beyond the images", row, id(row)), path);
  stored.resize(end - begin);
  read_at(images_offset + begin, stored);
  check_row(row, stored);
}

void ShardReader::Impl::read_encoded(std::int64_t row, std::span<std::byte> out) const {
  thread_local std::vector<std::byte> encoded;
  read_stored(row, encoded);
  try {
    decode_image(codec, layout, encoded, out);
  } catch (const DataError& error) {
    damaged(fmt::format("row {} ('{}') cannot be decoded: {}", row, id(row), error.text().what), path);
  }
}

ShardReader ShardReader::open(const std::filesystem::path& folder, const ShardEntry& entry,
                              const ImageLayout& layout, Codec codec, const std::vector<Field>& fields) {
  auto impl = std::make_unique<Impl>();
  impl->path = folder / entry.file;
  impl->entry = entry;
  impl->layout = layout;
  impl->codec = codec;
  check_size(impl->path, entry);
  impl->descriptor = FileDescriptor(::open(impl->path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!impl->descriptor) refused("opened", errno, impl->path);
  const hdf5::Lock lock;
  const hdf5::File file = open_shard(impl->path);
  codec == Codec::raw ? impl->open_images(file) : impl->open_encoded(file);
  impl->open_ids(file);
  for (const Field& field : fields) impl->open_field(file, field);
  impl->checksums = impl->open_numbers(file, shard_format::kChecksums, entry.rows);
  return ShardReader(std::move(impl));
}

std::vector<std::int32_t> ShardReader::column(const std::filesystem::path& folder, const ShardEntry& entry,
                                              const std::string& path) {
  const std::filesystem::path file = folder / entry.file;
  check_size(file, entry);
  return read_column(file, entry.rows, path);
}

ShardReader::ShardReader(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
ShardReader::ShardReader(ShardReader&&) noexcept = default;
ShardReader& ShardReader::operator=(ShardReader&&) noexcept = default;
ShardReader::~ShardReader() = default;

std::int64_t ShardReader::rows() const noexcept {
  return impl_->entry.rows;
}

std::vector<std::int32_t> ShardReader::labels(const std::string& name) const {
  return read_column(impl_->path, rows(), shard_format::label_path(name));
}

std::vector<std::int32_t> ShardReader::contexts(const std::string& name) const {
  return read_column(impl_->path, rows(), shard_format::context_path(name));
}

std::string ShardReader::id(std::int64_t row) const {
  COHORT_CHECK(row >= 0 && row < rows(), "row {} of {} rows", row, rows());
  return impl_->id(row);
}

std::vector<std::string> ShardReader::ids() const {
  return ids(0, rows());
}

std::vector<std::string> ShardReader::ids(std::int64_t first, std::int64_t count) const {
  COHORT_CHECK(first >= 0 && count >= 0 && first + count <= rows(), "rows {} to {} of {}", first,
               first + count, rows());
  std::string all(impl_->id_bytes * static_cast<std::size_t>(count), '\0');
  impl_->read_at(impl_->ids_offset + impl_->id_bytes * static_cast<std::size_t>(first),
                 std::as_writable_bytes(std::span(all)));
  std::vector<std::string> ids;
  for (std::size_t at = 0; at < all.size(); at += impl_->id_bytes) {
    const std::string text = all.substr(at, impl_->id_bytes);
    ids.push_back(text.substr(0, text.find('\0')));
  }
  return ids;
}

void ShardReader::read(std::int64_t row, std::span<std::byte> out) const {
  COHORT_CHECK(row >= 0 && row < rows(), "row {} of {} rows", row, rows());
  COHORT_CHECK(static_cast<std::int64_t>(out.size()) == impl_->layout.bytes(), "{} bytes for an image of {}",
               out.size(), impl_->layout.bytes());
  impl_->codec == Codec::raw ? impl_->read_raw(row, out) : impl_->read_encoded(row, out);
}

void ShardReader::read_field(std::int64_t row, std::size_t field, std::vector<std::byte>& values) const {
  COHORT_CHECK(row >= 0 && row < rows(), "row {} of {} rows", row, rows());
  const Impl::StoredField& stored = impl_->fields.at(field);
  if (stored.field.codec == Codec::raw) return impl_->read_stored(stored, row, values);
  thread_local std::vector<std::byte> encoded;
  impl_->read_stored(stored, row, encoded);
  try {
    decode_field(stored.field, encoded, values);
  } catch (const DataError& error) {
    damaged(fmt::format("row {} ('{}') of field '{}' cannot be decoded: {}", row, impl_->id(row),
                        stored.field.name, error.text().what),
            impl_->path);
  }
}

std::string ShardReader::encoded(std::int64_t row) const {
  COHORT_CHECK(row >= 0 && row < rows(), "row {} of {} rows", row, rows());
  std::vector<std::byte> stored;
  impl_->read_stored(row, stored);
  return {reinterpret_cast<const char*>(stored.data()), stored.size()};
}

}  // namespace cohort::data

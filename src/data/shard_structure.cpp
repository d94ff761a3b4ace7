#include "data/shard_structure.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "data/field_codec.h"
#include "data/shard_format.h"
#include "support/hdf5.h"

namespace cohort::data {
namespace {

constexpr const char* kFix = "free some space or choose another folder; nothing of this shard was kept";

/// Finds out before HDF5 does whether the disk has room for a file of `bytes`.
void check_room(const std::filesystem::path& path, std::uint64_t bytes) {
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  const int error = file ? ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes)) : errno;
  const bool unknown = error == EINVAL || error == EOPNOTSUPP;  // not every file system can reserve
  if (error == 0 || unknown) return;
  throw DataError({fmt::format("there is no room for {} bytes: {}", bytes, std::strerror(error)),
                   path.string(), disk_remedy(error, kFix)});
}

/// Never 0: HDF5 has no text of no bytes.
std::size_t longest_id(const PackedTexts& ids) {
  std::size_t longest = 1;
  for (std::int64_t row = 0; row < ids.size(); ++row) longest = std::max(longest, ids[row].size());
  return longest;
}

class Structure {
 public:
  Structure(const std::filesystem::path& path, const Description& description, const RowTable& rows)
      : where_(path.string()), description_(description), rows_(rows), file_(path) {}

  /// Leaves room for a dataset; returns its offset in the file.
  std::uint64_t make_room(const std::string& name, hid_t type, const std::vector<std::int64_t>& shape) {
    const hdf5::Dataset dataset = hdf5::create_dataset(file_.get(), name, type, shape, where_);
    return H5Dget_offset(dataset.get());
  }
  void write_columns();
  /// Room for the rows of every field, which take so many bytes.
  std::vector<FieldOffsets> make_room_for_fields(std::span<const std::uint64_t> bytes);
  void save() { file_.save(); }

 private:
  FieldOffsets make_room_for(const Field& field, std::uint64_t bytes);
  void write_ids();
  void write_column(hid_t parent, const std::string& name, hid_t stored, hid_t memory, const void* values);
  void write_indices(const std::string& group, const std::vector<std::string>& names,
                     const std::vector<PackedIndices>& columns);

  std::string where_;
  const Description& description_;
  const RowTable& rows_;
  hdf5::NewFile file_;
};

void Structure::write_column(hid_t parent, const std::string& name, hid_t stored, hid_t memory,
                             const void* values) {
  const hdf5::Dataset dataset =
      hdf5::create_dataset(parent, name, stored, std::vector<std::int64_t>{rows_.size()}, where_);
  hdf5::check_hdf5(H5Dwrite(dataset.get(), memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "H5Dwrite", where_,
                   kFix);
}

void Structure::write_indices(const std::string& group, const std::vector<std::string>& names,
                              const std::vector<PackedIndices>& columns) {
  const hdf5::Group parent = hdf5::create_group(file_.get(), group, where_);
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::vector<std::int32_t> values;
    values.reserve(static_cast<std::size_t>(rows_.size()));
    for (std::int64_t row = 0; row < rows_.size(); ++row) values.push_back(columns[i][row]);
    write_column(parent.get(), names[i], H5T_STD_I32LE, H5T_NATIVE_INT32, values.data());
  }
}

void Structure::write_ids() {
  const std::size_t longest = longest_id(rows_.ids());
  std::string all;
  all.reserve(longest * static_cast<std::size_t>(rows_.size()));
  for (std::int64_t row = 0; row < rows_.size(); ++row) {
    const std::size_t end = all.size() + longest;
    all += rows_.ids()[row];
    all.resize(end, '\0');
  }
  const hdf5::Type type(hdf5::check_hdf5(H5Tcopy(H5T_C_S1), "H5Tcopy", where_));
  hdf5::check_hdf5(H5Tset_size(type.get(), longest), "H5Tset_size", where_);
  hdf5::check_hdf5(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "H5Tset_strpad", where_);
  hdf5::check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "H5Tset_cset", where_);
  write_column(file_.get(), shard_format::kIds, type.get(), type.get(), all.data());
}

void Structure::write_columns() {
  write_ids();
  std::vector<std::string> labels, contexts;
  for (const LabelColumn& label : description_.labels) labels.push_back(label.name);
  for (const ContextColumn& context : description_.contexts) contexts.push_back(context.name);
  write_indices(shard_format::kLabels, labels, rows_.labels());
  write_indices(shard_format::kContexts, contexts, rows_.contexts());
}

/// Of the values of all rows: as many as there are rows, or entries, or bytes.
std::vector<std::int64_t> stored_shape(const Field& field, std::int64_t rows, std::uint64_t bytes) {
  if (field.codec != Codec::raw) return {static_cast<std::int64_t>(bytes)};
  std::vector<std::int64_t> shape = field.shape;
  if (field.differs())
    shape.front() = static_cast<std::int64_t>(bytes) / field.entry_bytes();
  else
    shape.insert(shape.begin(), rows);
  return shape;
}

FieldOffsets Structure::make_room_for(const Field& field, std::uint64_t bytes) {
  const hdf5::Group group = hdf5::create_group(file_.get(), shard_format::field_path(field.name), where_);
  const std::int64_t count = rows_.size();
  const auto room = [&](const char* part, hid_t type, const std::vector<std::int64_t>& shape) {
    return make_room(shard_format::field_path(field.name, part), type, shape);
  };
  FieldOffsets offsets;
  const hid_t type = field.codec == Codec::raw ? shard_format::stored_type(field.type) : H5T_STD_U8LE;
  offsets.values = room("/values", type, stored_shape(field, count, bytes));
  if (has_offsets(field)) offsets.offsets = room("/offset", H5T_STD_U64LE, {count + 1});
  offsets.checksums = room("/checksum", H5T_STD_U64LE, {count});
  return offsets;
}

std::vector<FieldOffsets> Structure::make_room_for_fields(std::span<const std::uint64_t> bytes) {
  std::vector<FieldOffsets> offsets;
  if (description_.fields.empty()) return offsets;
  const hdf5::Group parent = hdf5::create_group(file_.get(), shard_format::kFields, where_);
  for (std::size_t i = 0; i < description_.fields.size(); ++i)
    offsets.push_back(make_room_for(description_.fields[i], bytes[i]));
  return offsets;
}

}  // namespace

ShardOffsets write_structure(const std::filesystem::path& path, const Description& description,
                             std::uint64_t image_bytes, std::span<const std::uint64_t> field_bytes,
                             const RowTable& rows) {
  const std::uint64_t value_bytes = std::accumulate(field_bytes.begin(), field_bytes.end(), image_bytes);
  const auto row_count = static_cast<std::uint64_t>(rows.size());
  check_room(path, shard_format::structure_bytes(description) + value_bytes +
                       row_count * shard_format::row_bytes(description, 0, longest_id(rows.ids())));
  Structure structure(path, description, rows);
  const ImageLayout& images = description.images;
  const std::int64_t count = rows.size();
  ShardOffsets offsets;
  if (description.codec == Codec::raw) {
    std::vector<std::int64_t> shape = images.sizes();
    shape.insert(shape.begin(), count);
    offsets.images =
        structure.make_room(shard_format::kImages, shard_format::stored_type(images.type), shape);
  } else {
    offsets.images =
        structure.make_room(shard_format::kEncoded, H5T_STD_U8LE, {static_cast<std::int64_t>(image_bytes)});
    offsets.offsets = structure.make_room(shard_format::kOffsets, H5T_STD_U64LE, {count + 1});
  }
  offsets.checksums = structure.make_room(shard_format::kChecksums, H5T_STD_U64LE, {count});
  structure.write_columns();
  offsets.fields = structure.make_room_for_fields(field_bytes);
  structure.save();
  return offsets;
}

}  // namespace cohort::data

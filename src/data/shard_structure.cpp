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
std::size_t longest_id(std::span<const Row> rows, std::span<const std::int64_t> order) {
  std::size_t longest = 1;
  for (const std::int64_t row : order)
    longest = std::max(longest, rows[static_cast<std::size_t>(row)].id.size());
  return longest;
}

class Structure {
 public:
  Structure(const std::filesystem::path& path, const Description& description, std::span<const Row> rows,
            std::span<const std::int64_t> order)
      : where_(path.string()), description_(description), rows_(rows), order_(order), file_(path) {}

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
  [[nodiscard]] const Row& row(std::int64_t index) const { return rows_[static_cast<std::size_t>(index)]; }
  FieldOffsets make_room_for(const Field& field, std::uint64_t bytes);
  void write_ids();
  void write_column(hid_t parent, const std::string& name, hid_t stored, hid_t memory, const void* values);
  void write_indices(const std::string& group, const std::vector<std::string>& names,
                     std::vector<std::int32_t> Row::*column);

  std::string where_;
  const Description& description_;
  std::span<const Row> rows_;
  std::span<const std::int64_t> order_;
  hdf5::NewFile file_;
};

void Structure::write_column(hid_t parent, const std::string& name, hid_t stored, hid_t memory,
                             const void* values) {
  const hdf5::Dataset dataset = hdf5::create_dataset(
      parent, name, stored, std::vector<std::int64_t>{static_cast<std::int64_t>(order_.size())}, where_);
  hdf5::check_hdf5(H5Dwrite(dataset.get(), memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "H5Dwrite", where_,
                   kFix);
}

void Structure::write_indices(const std::string& group, const std::vector<std::string>& names,
                              std::vector<std::int32_t> Row::*column) {
  const hdf5::Group parent = hdf5::create_group(file_.get(), group, where_);
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::vector<std::int32_t> values;
    for (const std::int64_t index : order_) values.push_back((row(index).*column)[i]);
    write_column(parent.get(), names[i], H5T_STD_I32LE, H5T_NATIVE_INT32, values.data());
  }
}

void Structure::write_ids() {
  const std::size_t longest = longest_id(rows_, order_);
  std::string all;
  for (const std::int64_t index : order_) {
    const std::size_t end = all.size() + longest;
    all += row(index).id;
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
  write_indices(shard_format::kLabels, labels, &Row::labels);
  write_indices(shard_format::kContexts, contexts, &Row::contexts);
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
  const auto count = static_cast<std::int64_t>(order_.size());
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
                             std::span<const Row> rows, std::span<const std::int64_t> order) {
  const std::uint64_t value_bytes = std::accumulate(field_bytes.begin(), field_bytes.end(), image_bytes);
  check_room(path, shard_format::structure_bytes(description) + value_bytes +
                       order.size() * shard_format::row_bytes(description, 0, longest_id(rows, order)));
  Structure structure(path, description, rows, order);
  const ImageLayout& images = description.images;
  const auto count = static_cast<std::int64_t>(order.size());
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

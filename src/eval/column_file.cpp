#include "eval/column_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/file.h"

namespace cohort::eval {
namespace {

constexpr const char* kWrite = "write the table";

/// With its folder.
std::filesystem::path writable(std::filesystem::path file) {
  if (file.has_parent_path()) make_writable_folder(file.parent_path());
  return file;
}

hid_t type_of(const at::Tensor& values) {
  switch (values.scalar_type()) {
    case at::kInt:
      return H5T_STD_I32LE;
    case at::kLong:
      return H5T_STD_I64LE;
    default:
      return H5T_IEEE_F32LE;
  }
}

/// On the CPU, contiguous, of a type that is stored.
at::Tensor storable(const at::Tensor& values) {
  const bool is_integer = values.scalar_type() == at::kInt || values.scalar_type() == at::kLong;
  return values.to(at::kCPU, is_integer ? values.scalar_type() : at::kFloat).contiguous();
}

/// `width` bytes, or any number (H5T_VARIABLE).
hdf5::Type text_type(std::size_t width, const std::string& where) {
  hdf5::Type type(hdf5::check_hdf5(H5Tcopy(H5T_C_S1), "H5Tcopy", where));
  hdf5::check_hdf5(H5Tset_size(type.get(), width), "H5Tset_size", where);
  hdf5::check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "H5Tset_cset", where);
  if (width != H5T_VARIABLE)
    hdf5::check_hdf5(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "H5Tset_strpad", where);
  return type;
}

void set_attribute(hid_t object, const std::string& name, hid_t type, const void* value,
                   const std::string& where) {
  const hdf5::Space space = hdf5::make_space({}, where);
  const hdf5::Attribute attribute(hdf5::check_hdf5(
      H5Acreate2(object, name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT), "H5Acreate2", where));
  hdf5::check_hdf5(H5Awrite(attribute.get(), type, value), "H5Awrite", where);
}

}  // namespace

ColumnFile::ColumnFile(std::filesystem::path file)
    : file_(writable(std::move(file))),
      beside_(file_.string() + ".partial"),
      where_(file_.string()),
      made_(beside_) {}

ColumnFile::~ColumnFile() {
  std::error_code ignored;
  if (!stays_) std::filesystem::remove(beside_, ignored);
}

hdf5::Group ColumnFile::group(const std::string& name) const {
  return hdf5::create_group(root(), name, where_);
}

ColumnFile::Place ColumnFile::reserve(hid_t parent, const std::string& name, hid_t type,
                                      std::span<const std::int64_t> shape) {
  const hdf5::Dataset dataset = hdf5::create_dataset(parent, name, type, shape, where_);
  return {H5Dget_offset(dataset.get())};
}

void ColumnFile::add_texts(hid_t parent, const std::string& name, std::int64_t rows,
                           std::function<std::string_view(std::int64_t row)> text) {
  std::size_t width = 1;
  for (std::int64_t row = 0; row < rows; ++row) width = std::max(width, text(row).size());
  later_.push_back({reserve_texts(parent, name, rows, width), rows, width, std::move(text)});
}

ColumnFile::Place ColumnFile::reserve_texts(hid_t parent, const std::string& name, std::int64_t rows,
                                            std::size_t width) {
  const hdf5::Type type = text_type(width, where_);
  return reserve(parent, name, type.get(), std::span(&rows, 1));
}

ColumnFile::Place ColumnFile::reserve_values(hid_t parent, const std::string& name, const at::Tensor& like,
                                             std::int64_t rows) {
  std::vector<std::int64_t> shape(like.sizes().begin(), like.sizes().end());
  shape.front() = rows;
  return reserve(parent, name, type_of(like), shape);
}

void ColumnFile::add_attributes(const TableAttributes& attributes) {
  for (const auto& [name, value] : attributes) {
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      set_attribute(root(), name, H5T_NATIVE_INT64, number, where_);
      continue;
    }
    const char* const text = std::get<std::string>(value).c_str();
    set_attribute(root(), name, text_type(H5T_VARIABLE, where_).get(), &text, where_);
  }
}

void ColumnFile::write() {
  made_.save();
  written_ = FileDescriptor(::open(beside_.c_str(), O_WRONLY | O_CLOEXEC));
  if (!written_)
    throw DataError({fmt::format("cannot {}: {}", kWrite, std::strerror(errno)), where_, disk_remedy(errno)});
  for (Later& texts : later_) {
    std::string padded(texts.width * static_cast<std::size_t>(texts.rows), '\0');
    for (std::int64_t row = 0; row < texts.rows; ++row)
      texts.text(row).copy(padded.data() + static_cast<std::size_t>(row) * texts.width, texts.width);
    append(texts.place, std::as_bytes(std::span(padded)));
  }
}

void ColumnFile::append(Place& place, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;  // a dataset without rows lies nowhere
  if (::lseek(written_.get(), static_cast<off_t>(place.offset), SEEK_SET) < 0)
    throw DataError({fmt::format("cannot {}: {}", kWrite, std::strerror(errno)), where_, disk_remedy(errno)});
  write_all(written_, bytes, file_, kWrite);
  place.offset += bytes.size();
}

void ColumnFile::append(Place& place, const at::Tensor& values) {
  const at::Tensor stored = storable(values);
  append(place, {static_cast<const std::byte*>(stored.const_data_ptr()), stored.nbytes()});
}

void ColumnFile::leave() {
  sync_file(beside_);
  stays_ = true;
}

void ColumnFile::commit() {
  sync_file(beside_);
  std::error_code error;
  std::filesystem::rename(beside_, file_, error);
  if (error)
    throw DataError({fmt::format("cannot rename the finished file: {}", error.message()), where_,
                     disk_remedy(error.value())});
  sync_folder(file_.has_parent_path() ? file_.parent_path() : ".");
}

}  // namespace cohort::eval

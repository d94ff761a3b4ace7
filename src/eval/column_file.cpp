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
  std::filesystem::remove(beside_, ignored);
}

hdf5::Group ColumnFile::group(const std::string& name) const {
  return hdf5::create_group(root(), name, where_);
}

void ColumnFile::add(hid_t parent, const std::string& name, hid_t type, std::span<const std::int64_t> shape,
                     std::function<void(const Put& put)> write) {
  const hdf5::Dataset dataset = hdf5::create_dataset(parent, name, type, shape, where_);
  if (std::find(shape.begin(), shape.end(), 0) == shape.end())
    later_.push_back({H5Dget_offset(dataset.get()), std::move(write)});
}

void ColumnFile::add_values(hid_t parent, const std::string& name, const std::vector<at::Tensor>& parts) {
  std::vector<at::Tensor> stored;
  std::int64_t rows = 0;
  for (const at::Tensor& part : parts) {
    stored.push_back(storable(part));
    rows += part.size(0);
  }
  std::vector<std::int64_t> shape(parts.front().sizes().begin(), parts.front().sizes().end());
  shape.front() = rows;
  const hid_t type = type_of(stored.front());
  add(parent, name, type, shape, [stored = std::move(stored)](const Put& put) {
    for (const at::Tensor& part : stored)
      put({static_cast<const std::byte*>(part.const_data_ptr()), part.nbytes()});
  });
}

void ColumnFile::add_texts(hid_t parent, const std::string& name, std::int64_t rows,
                           std::function<std::string_view(std::int64_t row)> text) {
  std::size_t width = 1;
  for (std::int64_t row = 0; row < rows; ++row) width = std::max(width, text(row).size());
  const hdf5::Type type = text_type(width, where_);
  const std::vector<std::int64_t> shape{rows};
  add(parent, name, type.get(), shape, [rows, width, text = std::move(text)](const Put& put) {
    constexpr std::int64_t kBlock = 4096;
    for (std::int64_t first = 0; first < rows; first += kBlock) {
      const std::int64_t count = std::min(kBlock, rows - first);
      std::string padded(width * static_cast<std::size_t>(count), '\0');
      for (std::int64_t i = 0; i < count; ++i) {
        const std::string_view value = text(first + i);
        value.copy(padded.data() + static_cast<std::size_t>(i) * width, width);
      }
      put(std::as_bytes(std::span(padded)));
    }
  });
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

void ColumnFile::commit() {
  made_.save();
  const FileDescriptor file(::open(beside_.c_str(), O_WRONLY | O_CLOEXEC));
  const Put put = [&](std::span<const std::byte> bytes) { write_all(file, bytes, file_, kWrite); };
  for (const Later& values : later_) {
    if (!file || ::lseek(file.get(), static_cast<off_t>(values.offset), SEEK_SET) < 0)
      throw DataError(
          {fmt::format("cannot {}: {}", kWrite, std::strerror(errno)), where_, disk_remedy(errno)});
    values.write(put);
  }
  sync_file(beside_);
  std::error_code error;
  std::filesystem::rename(beside_, file_, error);
  if (error)
    throw DataError({fmt::format("cannot rename the finished file: {}", error.message()), where_,
                     disk_remedy(error.value())});
  sync_folder(file_.has_parent_path() ? file_.parent_path() : ".");
}

}  // namespace cohort::eval

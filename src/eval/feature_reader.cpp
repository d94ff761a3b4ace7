#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/eval/feature_file.h"

#include "eval/column_file.h"

namespace cohort::eval {

struct FeatureReader::Impl {
  std::filesystem::path path;
  hdf5::File file;
  std::int64_t rows = 0;
};

FeatureReader::FeatureReader(std::filesystem::path file) : impl_(std::make_unique<Impl>()) {
  const hdf5::Lock lock;
  impl_->path = std::move(file);
  impl_->file = hdf5::open_file(impl_->path);
  const std::string where = impl_->path.string();
  impl_->rows = hdf5::shape_of(hdf5::open_dataset(impl_->file.get(), "id", where), where).front();
}

FeatureReader::~FeatureReader() = default;

std::int64_t FeatureReader::rows() const noexcept {
  return impl_->rows;
}

at::Tensor FeatureReader::read(const std::string& name, std::int64_t first, std::int64_t count) const {
  const hdf5::Lock lock;
  const std::string where = fmt::format("{}: {}", impl_->path.string(), name);
  const hdf5::Dataset dataset = hdf5::open_dataset(impl_->file.get(), name, impl_->path.string());
  std::vector<std::int64_t> shape = hdf5::shape_of(dataset, where);
  const hdf5::Space all = hdf5::make_space(shape, where);
  shape.front() = count;
  std::vector<hsize_t> start(shape.size(), 0), size(shape.begin(), shape.end());
  start.front() = static_cast<hsize_t>(first);
  hdf5::check_hdf5(
      H5Sselect_hyperslab(all.get(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr),
      "H5Sselect_hyperslab", where);
  const hdf5::Space part = hdf5::make_space(shape, where);
  at::Tensor values = at::empty(shape);
  hdf5::check_hdf5(H5Dread(dataset.get(), H5T_NATIVE_FLOAT, part.get(), all.get(), H5P_DEFAULT,
                           values.mutable_data_ptr<float>()),
                   "H5Dread", where);
  return values;
}

}  // namespace cohort::eval

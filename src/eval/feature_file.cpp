#include "cohort/eval/feature_file.h"

#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/file.h"

#include "support/hdf5.h"

namespace cohort::eval {
namespace {

/// Removes a file when it goes, if it is still there under this name.
struct RemovedUnlessKept {
  std::filesystem::path file;
  explicit RemovedUnlessKept(std::filesystem::path name) : file(std::move(name)) {}
  RemovedUnlessKept(const RemovedUnlessKept&) = delete;
  RemovedUnlessKept& operator=(const RemovedUnlessKept&) = delete;
  ~RemovedUnlessKept() {
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
  }
};

/// An open file and what messages call it.
struct Target {
  hid_t file;
  std::string where;
};

void write_values(const Target& target, hid_t parent, const std::string& name, hid_t type,
                  std::span<const std::int64_t> shape, const void* values) {
  const hdf5::Dataset dataset = hdf5::create_dataset(parent, name, type, shape, target.where);
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  if (empty) return;
  hdf5::check_hdf5(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "H5Dwrite",
                   target.where);
}

void write_tensor(const Target& target, hid_t parent, const std::string& name, const at::Tensor& values) {
  const at::Tensor whole = values.to(at::kCPU, at::kFloat).contiguous();
  const std::vector<std::int64_t> shape(whole.sizes().begin(), whole.sizes().end());
  write_values(target, parent, name, H5T_NATIVE_FLOAT, shape, whole.const_data_ptr<float>());
}

void write_indices(const Target& target, hid_t parent, const std::string& name,
                   const std::vector<std::int32_t>& values) {
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(values.size())};
  write_values(target, parent, name, H5T_NATIVE_INT32, shape, values.data());
}

/// UTF-8 of one fixed length, padded with zeros: contiguous, and every reader knows it.
void write_ids(const Target& target, const std::vector<std::string>& ids) {
  std::size_t width = 1;
  for (const std::string& id : ids) width = std::max(width, id.size());
  std::string padded(width * ids.size(), '\0');
  for (std::size_t i = 0; i < ids.size(); ++i)
    std::memcpy(padded.data() + i * width, ids[i].data(), ids[i].size());
  const hdf5::Type type(hdf5::check_hdf5(H5Tcopy(H5T_C_S1), "H5Tcopy", target.where));
  hdf5::check_hdf5(H5Tset_size(type.get(), width), "H5Tset_size", target.where);
  hdf5::check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "H5Tset_cset", target.where);
  hdf5::check_hdf5(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "H5Tset_strpad", target.where);
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(ids.size())};
  write_values(target, target.file, "id", type.get(), shape, padded.data());
}

void write_columns(const Target& target, const data::Dataset& dataset) {
  const hdf5::Group labels = hdf5::create_group(target.file, "labels", target.where);
  for (const data::LabelColumn& column : dataset.description().labels) {
    write_indices(target, labels.get(), column.name, dataset.labels(column.name));
  }
  const hdf5::Group contexts = hdf5::create_group(target.file, "context", target.where);
  for (const data::ContextColumn& column : dataset.description().contexts) {
    write_indices(target, contexts.get(), column.name, dataset.contexts(column.name));
  }
}

void write_context_tokens(const Target& target, const at::Tensor& tokens,
                          const std::vector<std::string>& keys) {
  const hdf5::Group group = hdf5::create_group(target.file, "context_tokens", target.where);
  for (std::size_t k = 0; k < keys.size(); ++k) {
    write_tensor(target, group.get(), keys[k], tokens.select(1, static_cast<std::int64_t>(k)));
  }
}

}  // namespace

void write_features(const std::filesystem::path& file, const data::Dataset& dataset,
                    const Prediction& prediction, const std::vector<std::string>& keys) {
  if (file.has_parent_path()) make_writable_folder(file.parent_path());
  const std::filesystem::path beside = file.string() + ".partial";
  const RemovedUnlessKept partial{beside};
  hdf5::NewFile made(beside);
  const Target target{made.get(), file.string()};
  write_tensor(target, target.file, "features", prediction.features);
  if (prediction.patches.defined()) write_tensor(target, target.file, "patch_tokens", prediction.patches);
  if (prediction.logits.defined()) write_tensor(target, target.file, "logits", prediction.logits);
  write_ids(target, dataset.ids());
  write_columns(target, dataset);
  if (prediction.context.defined()) write_context_tokens(target, prediction.context, keys);
  made.save();
  sync_file(beside);
  std::error_code error;
  std::filesystem::rename(beside, file, error);
  if (error)
    throw DataError({fmt::format("cannot rename the finished file: {}", error.message()), target.where,
                     disk_remedy(error.value())});
}

}  // namespace cohort::eval

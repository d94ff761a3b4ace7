#include "cohort/eval/feature_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

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

/// Values that are written once the structure of the file is on the disk.
struct Values {
  std::uint64_t offset;
  std::shared_ptr<const void> start;  ///< owned
  std::size_t bytes;
};

/// An open file and what messages call it.
struct Target {
  hid_t file;
  std::string where;
  std::vector<Values> later;
};

void add_values(Target& target, hid_t parent, const std::string& name, hid_t type,
                std::span<const std::int64_t> shape, std::shared_ptr<const void> start, std::size_t bytes) {
  const hdf5::Dataset dataset = hdf5::create_dataset(parent, name, type, shape, target.where);
  if (bytes > 0) target.later.push_back({H5Dget_offset(dataset.get()), std::move(start), bytes});
}

void write_later(const std::filesystem::path& path, const Target& target) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  for (const Values& values : target.later) {
    file.seekp(static_cast<std::streamoff>(values.offset));
    file.write(static_cast<const char*>(values.start.get()), static_cast<std::streamsize>(values.bytes));
  }
  file.close();
  if (!file) {
    throw DataError({fmt::format("the features cannot be written: {}", std::strerror(errno)), target.where,
                     disk_remedy(errno)});
  }
}

void write_tensor(Target& target, hid_t parent, const std::string& name, const at::Tensor& values) {
  const at::Tensor whole = values.to(at::kCPU, at::kFloat).contiguous();
  const std::vector<std::int64_t> shape(whole.sizes().begin(), whole.sizes().end());
  const void* const start = whole.const_data_ptr<float>();
  add_values(target, parent, name, H5T_IEEE_F32LE, shape, {std::make_shared<at::Tensor>(whole), start},
             whole.nbytes());
}

void write_indices(Target& target, hid_t parent, const std::string& name,
                   const std::vector<std::int32_t>& values) {
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(values.size())};
  const auto kept = std::make_shared<std::vector<std::int32_t>>(values);
  add_values(target, parent, name, H5T_STD_I32LE, shape, {kept, kept->data()},
             kept->size() * sizeof(std::int32_t));
}

/// UTF-8 of one fixed length, padded with zeros: contiguous, and every reader knows it.
void write_texts(Target& target, const std::string& name, const std::vector<std::string>& texts) {
  std::size_t width = 1;
  for (const std::string& text : texts) width = std::max(width, text.size());
  std::string padded(width * texts.size(), '\0');
  for (std::size_t i = 0; i < texts.size(); ++i)
    std::memcpy(padded.data() + i * width, texts[i].data(), texts[i].size());
  const hdf5::Type type(hdf5::check_hdf5(H5Tcopy(H5T_C_S1), "H5Tcopy", target.where));
  hdf5::check_hdf5(H5Tset_size(type.get(), width), "H5Tset_size", target.where);
  hdf5::check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "H5Tset_cset", target.where);
  hdf5::check_hdf5(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "H5Tset_strpad", target.where);
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(texts.size())};
  const auto kept = std::make_shared<std::string>(std::move(padded));
  add_values(target, target.file, name, type.get(), shape, {kept, kept->data()}, kept->size());
}

void write_columns(Target& target, const data::Dataset& dataset) {
  const hdf5::Group labels = hdf5::create_group(target.file, "labels", target.where);
  for (const data::LabelColumn& column : dataset.description().labels) {
    write_indices(target, labels.get(), column.name, dataset.labels(column.name));
  }
  const hdf5::Group contexts = hdf5::create_group(target.file, "context", target.where);
  for (const data::ContextColumn& column : dataset.description().contexts) {
    write_indices(target, contexts.get(), column.name, dataset.contexts(column.name));
  }
}

void write_context_tokens(Target& target, const at::Tensor& tokens, const std::vector<std::string>& keys) {
  const hdf5::Group group = hdf5::create_group(target.file, "context_tokens", target.where);
  for (std::size_t k = 0; k < keys.size(); ++k) {
    write_tensor(target, group.get(), keys[k], tokens.select(1, static_cast<std::int64_t>(k)));
  }
}

}  // namespace

void write_features(const std::filesystem::path& file, const data::Dataset& dataset,
                    const Prediction& prediction, const std::vector<std::string>& keys,
                    const std::vector<std::string>& classes) {
  if (file.has_parent_path()) make_writable_folder(file.parent_path());
  const std::filesystem::path beside = file.string() + ".partial";
  const RemovedUnlessKept partial{beside};
  hdf5::NewFile made(beside);
  Target target{made.get(), file.string(), {}};
  write_tensor(target, target.file, "features", prediction.features);
  if (prediction.patches.defined()) write_tensor(target, target.file, "patch_tokens", prediction.patches);
  if (prediction.logits.defined()) write_tensor(target, target.file, "logits", prediction.logits);
  if (prediction.logits.defined()) write_texts(target, "logit_classes", classes);
  write_texts(target, "id", dataset.ids());
  write_columns(target, dataset);
  if (prediction.context.defined()) write_context_tokens(target, prediction.context, keys);
  made.save();
  write_later(beside, target);
  sync_file(beside);
  std::error_code error;
  std::filesystem::rename(beside, file, error);
  if (error)
    throw DataError({fmt::format("cannot rename the finished file: {}", error.message()), target.where,
                     disk_remedy(error.value())});
  sync_folder(file.has_parent_path() ? file.parent_path() : ".");
}

}  // namespace cohort::eval

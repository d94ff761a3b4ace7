#include "eval/feature_layout.h"

#include <string_view>
#include <vector>

namespace cohort::eval {
namespace {

void add_names(ColumnFile& file, hid_t parent, const std::string& name,
               const std::vector<std::string>& names) {
  file.add_texts(parent, name, std::ssize(names),
                 [&names](std::int64_t i) { return std::string_view(names[static_cast<std::size_t>(i)]); });
}

}  // namespace

void add_feature_layout(ColumnFile& file, const data::Dataset& dataset, const FeatureContents& contents,
                        std::size_t id_width) {
  const std::int64_t rows = dataset.rows(), width = contents.width;
  const auto room = [&](hid_t parent, const std::string& name, hid_t type,
                        const std::vector<std::int64_t>& shape) {
    (void)hdf5::create_dataset(parent, name, type, shape, name);
  };
  if (width > 0) room(file.root(), "features", H5T_IEEE_F32LE, {rows, width});
  if (contents.patches > 0)
    room(file.root(), "patch_tokens", H5T_IEEE_F32LE, {rows, contents.patches, width});
  if (!contents.classes.empty()) {
    room(file.root(), "logits", H5T_IEEE_F32LE, {rows, std::ssize(contents.classes)});
    add_names(file, file.root(), "logit_classes", contents.classes);
  }
  if (!contents.answers.empty()) {
    const hdf5::Group answers = file.group("answers");
    for (const auto& [name, shape] : contents.answers) {
      std::vector<std::int64_t> all{rows};
      all.insert(all.end(), shape.begin(), shape.end());
      room(answers.get(), name, H5T_IEEE_F32LE, all);
    }
  }
  (void)file.reserve_texts(file.root(), "id", rows, id_width);
  const hdf5::Group labels = file.group("labels"), label_names = file.group("label_names");
  for (const data::LabelColumn& column : dataset.description().labels) {
    room(labels.get(), column.name, H5T_STD_I32LE, {rows});
    add_names(file, label_names.get(), column.name, column.classes);
  }
  const hdf5::Group context = file.group("context"), context_names = file.group("context_names");
  for (const data::ContextColumn& column : dataset.description().contexts) {
    room(context.get(), column.name, H5T_STD_I32LE, {rows});
    add_names(file, context_names.get(), column.name, column.values);
  }
  if (!contents.keys.empty()) {
    const hdf5::Group tokens = file.group("context_tokens");
    for (const std::string& key : contents.keys) room(tokens.get(), key, H5T_IEEE_F32LE, {rows, width});
  }
  file.add_attributes(contents.attributes);
}

Place place_of(hid_t in, const std::filesystem::path& file, const std::string& name) {
  const std::string where = file.string();
  const hdf5::Dataset dataset = hdf5::open_dataset(in, name, where);
  const hdf5::Type type(hdf5::check_hdf5(H5Dget_type(dataset.get()), "H5Dget_type", where));
  std::uint64_t bytes = H5Tget_size(type.get());
  const std::vector<std::int64_t> shape = hdf5::shape_of(dataset, where);
  for (std::size_t i = 1; i < shape.size(); ++i) bytes *= static_cast<std::uint64_t>(shape[i]);
  return {H5Dget_offset(dataset.get()), bytes};
}

}  // namespace cohort::eval

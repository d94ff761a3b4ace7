#include "cohort/eval/feature_file.h"

#include <ATen/ATen.h>

#include "eval/column_file.h"

namespace cohort::eval {
namespace {

void add_names(ColumnFile& file, hid_t parent, const std::string& name,
               const std::vector<std::string>& names) {
  file.add_texts(parent, name, std::ssize(names),
                 [&names](std::int64_t i) { return std::string_view(names[static_cast<std::size_t>(i)]); });
}

/// The column itself stays with its dataset.
void add_indices(ColumnFile& file, hid_t parent, const std::string& name,
                 const std::vector<std::int32_t>& column) {
  file.add_values(parent, name, {index_tensor(column)});
}

void add_columns(ColumnFile& file, const data::Dataset& dataset) {
  const hdf5::Group labels = file.group("labels"), label_names = file.group("label_names");
  for (const data::LabelColumn& column : dataset.description().labels) {
    add_indices(file, labels.get(), column.name, dataset.labels(column.name));
    add_names(file, label_names.get(), column.name, column.classes);
  }
  const hdf5::Group contexts = file.group("context"), context_names = file.group("context_names");
  for (const data::ContextColumn& column : dataset.description().contexts) {
    add_indices(file, contexts.get(), column.name, dataset.contexts(column.name));
    add_names(file, context_names.get(), column.name, column.values);
  }
}

void add_context_tokens(ColumnFile& file, const at::Tensor& tokens, const std::vector<std::string>& keys) {
  const hdf5::Group group = file.group("context_tokens");
  for (std::size_t k = 0; k < keys.size(); ++k)
    file.add_values(group.get(), keys[k], {tokens.select(1, static_cast<std::int64_t>(k))});
}

}  // namespace

void write_features(const std::filesystem::path& file, const data::Dataset& dataset,
                    const Prediction& prediction, const std::vector<std::string>& keys,
                    const std::vector<std::string>& classes, const TableAttributes& attributes) {
  ColumnFile made(file);
  const std::vector<std::string>& ids = dataset.ids();
  made.add_values(made.root(), "features", {prediction.features});
  if (prediction.patches.defined()) made.add_values(made.root(), "patch_tokens", {prediction.patches});
  if (prediction.logits.defined()) {
    made.add_values(made.root(), "logits", {prediction.logits});
    add_names(made, made.root(), "logit_classes", classes);
  }
  add_names(made, made.root(), "id", ids);
  add_columns(made, dataset);
  if (prediction.context.defined()) add_context_tokens(made, prediction.context, keys);
  made.add_attributes(attributes);
  made.commit();
}

}  // namespace cohort::eval

// Files of the kinds reports.runs_interval, reports.schedules and small_data.folds: what studies of several
// runs go by.
#include <string>
#include <vector>

#include "cohort/core/runs_interval.h"

#include "checks.h"
#include "data_prep/published_folds.h"
#include "train/learning_rate.h"
#include "train/plateau.h"

namespace cohort::golden_check {
namespace {

constexpr Tolerance kRates{0.0, 1e-12};

/// lr[i] is that of the steps before metric[i].
void check_plateau(Comparison& file, const std::string& name, const nlohmann::json& about) {
  train::RunConfig config;
  config.optimizer.lr = about.at("base");
  config.schedule.plateau.patience = about.at("patience");
  config.schedule.plateau.factor = about.at("factor");
  train::Plateau plateau(config.schedule.plateau, 0, about.at("mode") == "min");
  for (std::size_t i = 0; i < about.at("lr").size(); ++i) {
    file.number(name + " " + std::to_string(i), train::learning_rate(config, 0, 1, 1, plateau.reductions()),
                about.at("lr")[i], kRates);
    plateau.note(about.at("metric")[i]);
  }
}

data::PackedIndices packed(const at::Tensor& values) {
  data::PackedIndices packed(values.numel(), -1);
  for (std::int64_t i = 0; i < values.numel(); ++i) packed.set(i, values[i].item<std::int32_t>());
  return packed;
}

std::vector<std::string> names_of(const at::Tensor& values) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i <= values.max().item<std::int64_t>(); ++i)
    names.push_back(fmt::format("{:03}", i));
  return names;
}

at::Tensor unpacked(const data::PackedIndices& values) {
  at::Tensor tensor = at::empty({values.size()}, at::kLong);
  for (std::int64_t i = 0; i < values.size(); ++i) tensor[i] = values[i];
  return tensor;
}

/// [folds, classes] images.
at::Tensor counts_of(const at::Tensor& fold, const at::Tensor& label, std::int64_t folds,
                     std::int64_t classes) {
  return at::bincount(fold * classes + label, {}, folds * classes).view({folds, classes});
}

}  // namespace

void check_folds(Comparison& file) {
  const at::Tensor &labels = file.input("in.labels"), &patients = file.input("in.patients");
  const std::int64_t folds = file.about().at("config").at("folds"),
                     classes = file.about().at("config").at("classes");
  data::PackedTexts ids;
  for (std::int64_t i = 0; i < labels.numel(); ++i) ids.add(std::to_string(i));
  data_prep::Divisible images{.ids = ids, .classes = packed(labels), .class_names = names_of(labels)};
  const at::Tensor by_image = unpacked(data_prep::scikit_learn_folds(images, folds));
  file.tensor("out.fold_images", by_image, kExact);
  file.tensor("out.class_counts_images", counts_of(by_image, labels, folds, classes), kExact);
  // Shuffling changes which images of a class a fold takes, not how many.
  file.tensor("out.class_counts_shuffled", counts_of(by_image, labels, folds, classes), kExact);
  images.group = "patient";
  images.groups = packed(patients);
  images.group_names = names_of(patients);
  file.tensor("out.fold_patients", unpacked(data_prep::scikit_learn_folds(images, folds)), kExact);
}

void check_runs_interval(Comparison& file) {
  const Tolerance tolerance{0.0, file.about().at("tolerance").get<double>()};
  for (const auto& of : file.about().at("cases")) {
    const auto values = of.at("values").get<std::vector<double>>();
    const RunsInterval interval = runs_interval(values);
    file.number("mean", interval.mean, of.at("mean"), tolerance);
    file.number("deviation", interval.deviation, of.at("std"), tolerance);
    file.number("half width", interval.half_width, of.at("half_width"), tolerance);
  }
}

// Of the schedules Cohort has the plateau.
void check_schedules(Comparison& file) {
  for (const auto& [name, about] : file.about().at("cases").items()) {
    if (about.at("kind") == "plateau") check_plateau(file, name, about);
  }
}

}  // namespace cohort::golden_check

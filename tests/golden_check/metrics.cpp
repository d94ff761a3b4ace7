// Files of the kinds small_data.metrics and reports.supervised_multilabel: scores of classes and of flags.
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/eval/task.h"
#include "cohort/method/field_losses.h"

#include "checks.h"
#include "eval/running_scores.h"
#include "eval/spilled_rankings.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

Tolerance metric_tolerance(Comparison& file) {
  return {0.0, leading_number(file.about().at("tolerance").at("values"))};
}

at::Tensor column_of_scores(const std::vector<eval::ScoredGroup>& classes, const std::string& name,
                            double where_there_is_none) {
  std::vector<double> values;
  for (const eval::ScoredGroup& group : classes) {
    for (const eval::Score& score : group.scores)
      if (score.name == name) values.push_back(std::isnan(score.value) ? where_there_is_none : score.value);
  }
  return at::tensor(values, at::kDouble);
}

at::Tensor axis_of(const eval::CurvePoints& points, std::size_t axis, bool reversed = false) {
  std::vector<double> values;
  for (const auto& point : points) values.push_back(point.at(axis));
  const at::Tensor all = at::tensor(values, at::kDouble);
  return reversed ? all.flip(0) : all;
}

/// Areas by the probabilities themselves, of which many are equal: -1 where there is none.
void compare_areas(Comparison& file, const at::Tensor& probabilities,
                   const std::vector<std::int32_t>& labels) {
  const std::int64_t classes = probabilities.size(1);
  eval::SpilledRankings rankings(classes);
  rankings.add(probabilities.contiguous(), labels);
  std::vector<double> areas, precisions;
  for (std::int32_t c = 0; c < classes; ++c) {
    const auto positives = std::count(labels.begin(), labels.end(), c);
    const std::optional<eval::Area> area =
        rankings.area(c, c, positives, std::ssize(labels) - positives, one_rank());
    areas.push_back(area ? area->area : -1);
    precisions.push_back(area ? area->average_precision : -1);
    if (c != 1) continue;
    file.tensor("out.roc1_fpr", axis_of(area->roc, 0), metric_tolerance(file));
    file.tensor("out.roc1_tpr", axis_of(area->roc, 1), metric_tolerance(file));
    file.tensor("out.pr1_recall", axis_of(area->precision_recall, 0, true), metric_tolerance(file));
    file.tensor("out.pr1_precision", axis_of(area->precision_recall, 1, true), metric_tolerance(file));
  }
  const at::Tensor found = at::tensor(areas, at::kDouble);
  file.tensor("out.auc_per_class", found, metric_tolerance(file));
  file.tensor("out.ap_per_class", at::tensor(precisions, at::kDouble), metric_tolerance(file));
  file.tensor("out.macro_auc", found.masked_select(found >= 0).mean().reshape({1}), metric_tolerance(file));
}

eval::Scorecard card_of(eval::RunningScores& scores, std::int64_t classes, comm::Communicator& ranks) {
  std::vector<std::string> names;
  for (std::int64_t c = 0; c < classes; ++c) names.push_back(std::to_string(c));
  const eval::Scores found = scores.finish({}, ranks);
  return eval::scorecard_of(found, scores.detail(), names, {});
}

at::Tensor confusion_of(const at::Tensor& labels, const at::Tensor& answers, std::int64_t classes) {
  return at::bincount(labels * classes + answers, {}, classes * classes).reshape({classes, classes});
}

void compare_number(Comparison& file, const std::string& name, double value) {
  file.tensor_if_there("out." + name, at::tensor({value}, at::kDouble), metric_tolerance(file));
}

}  // namespace

void check_metrics(Comparison& file) {
  const at::Tensor &labels = file.input("in.labels"), &probabilities = file.input("in.probabilities");
  const std::int64_t classes = probabilities.size(1);
  const at::Tensor numbers = labels.to(at::kInt).contiguous();
  const std::vector<std::int32_t> of_images(numbers.const_data_ptr<std::int32_t>(),
                                            numbers.const_data_ptr<std::int32_t>() + numbers.numel());
  eval::RunningScores scores(classes, 0, labels.numel());
  scores.add(probabilities.clamp_min(1e-300).log(), at::arange(labels.numel()), of_images, {});
  const eval::Scorecard card = card_of(scores, classes, one_rank());
  for (const std::string name : {"accuracy", "balanced_accuracy", "weighted_f1", "kappa"})
    compare_number(file, name, card.find(name == "weighted_f1" ? "f1_weighted" : name)->value);
  for (const auto& [name, ours] :
       {std::pair{"precision", "precision"}, {"recall", "sensitivity"}, {"f1", "f1"}}) {
    const at::Tensor values = column_of_scores(card.classes, ours, 0);
    file.tensor(std::string("out.") + name, values, metric_tolerance(file));
    compare_number(file, std::string("macro_") + name, values.mean().item<double>());
  }
  std::vector<std::int64_t> support;
  for (const eval::ScoredGroup& group : card.classes) support.push_back(group.samples);
  file.tensor("out.support", at::tensor(support, at::kLong), kExact);
  const at::Tensor answers = probabilities.argmax(1);
  file.tensor("out.prediction", answers, kExact);
  file.tensor("out.confusion_rows_true", confusion_of(labels, answers, classes), kExact);
  compare_areas(file, probabilities, of_images);
  if (classes == 2) {
    const auto value = [&](std::size_t of, const std::string& name) {
      return column_of_scores({card.classes[of]}, name, 0).item<double>();
    };
    compare_number(file, "auc", card.find("auc")->value);
    compare_number(file, "average_precision", value(1, "average_precision"));
    compare_number(file, "f1_class0", value(0, "f1"));
    compare_number(file, "f1_class1", value(1, "f1"));
  }
  // Not of ours: thresholds of points, points that lie on no line, and what published code does wrong.
  for (const std::string name : {"roc1_threshold", "roc1_short_fpr", "roc1_short_tpr",
                                 "auc_wrong_of_published_code", "ap_wrong_of_published_code"})
    if (file.has("out." + name)) (void)file.input("out." + name);
}

void check_supervised_multilabel(Comparison& file) {
  constexpr Tolerance kAreas{0.0, 1e-9}, kLoss{1e-6}, kGradients{1e-5};
  const at::Tensor raw = file.input("in.raw_labels"), labels = at::where(raw == 2, 0, raw.abs());
  file.tensor("out.labels", labels, kExact);
  const at::Tensor features = leaf(file.float_input("in.h")),
                   weight = leaf(file.float_input("param.fc.weight")),
                   bias = leaf(file.float_input("param.fc.bias"));
  const at::Tensor logits = at::linear(features, weight, bias);
  const at::Tensor loss = method::flags_cross_entropy(logits, labels.to(at::kByte)) / labels.numel();
  loss.backward();
  file.tensor("out.probability", logits.detach().sigmoid(), kLoss);
  file.tensor("loss", loss.detach(), kLoss);
  file.number("accuracy", logits.gt(0).eq(labels.eq(1)).to(at::kDouble).mean().item<double>(),
              file.about().at("accuracy"), {1e-12});
  file.tensor("grad.fc.weight", weight.grad(), kGradients);
  file.tensor("grad.fc.bias", bias.grad(), kGradients);
  file.tensor("grad_in.h", features.grad(), kGradients);

  const auto names = file.about().at("labels").get<std::vector<std::string>>();
  const data::Field field{"findings", data::FieldKind::flags, data::ValueType::u8, {labels.size(1)}};
  const auto task = eval::find_task("multilabel").make({field, names, {}, labels.size(0), {}});
  const method::Answers answers{{"logits", logits.detach()}};
  const at::Tensor rows = at::arange(labels.size(0));
  task->add({{rows.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(rows.numel())},
             {},
             answers,
             {labels.to(at::kByte), {}}});
  const eval::Scorecard card = task->finish(one_rank());
  const auto areas = file.about().at("auroc").get<std::vector<double>>();
  const at::Tensor found = column_of_scores(card.classes, "auroc", -1);
  for (std::size_t i = 0; i < areas.size(); ++i)
    file.number("auroc of " + names[i], found[static_cast<std::int64_t>(i)].item<double>(), areas[i], kAreas);
  file.number("auroc_macro", card.find("auroc")->value, file.about().at("auroc_macro"), kAreas);
  file.number("accuracy", card.find("accuracy")->value, file.about().at("accuracy"), kAreas);
  file.number("loss of the task", card.find("loss")->value, file.about().at("loss"), kLoss);
}

}  // namespace cohort::golden_check

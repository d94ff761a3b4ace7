#include "cohort/eval/evaluation.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/data/grouping.h"

#include "support/json.h"

namespace cohort::eval {
namespace {

Json context_json(const ContextScore& score) {
  return {{"context", score.context},
          {"images", score.images},
          {"accuracy", nine_digits(score.accuracy)},
          {"low", nine_digits(score.low)},
          {"high", nine_digits(score.high)},
          {"confidence", nine_digits(score.confidence)}};
}

}  // namespace

Evaluation evaluation_of(const at::Tensor& logits, const data::Dataset& dataset,
                         const EvaluationColumns& columns) {
  const std::vector<std::string> keys = data::grouping_keys(columns.context_key);
  const std::string key = keys.empty() ? "" : keys.front();
  const data::Description& description = dataset.description();
  Evaluation evaluation{dataset.split(), columns.label, description.label(columns.label).classes, key, {}};
  const auto& labels = dataset.labels(columns.label);
  if (key.empty()) {
    evaluation.scores = score(logits, labels, {}, {});
  } else {
    evaluation.scores = score(logits, labels, dataset.contexts(key), description.context(key).values);
  }
  return evaluation;
}

Evaluation evaluate(nn::VisionTransformer& model, const data::Dataset& dataset,
                    const EvaluationColumns& columns, const EvalConfig& config,
                    augment::Normalisation normalisation, bool bf16, comm::Communicator& ranks) {
  const Prediction prediction =
      predict(model, dataset, columns.context_key, config, normalisation, bf16, ranks);
  Evaluation evaluation;
  comm::together(ranks, [&] { evaluation = evaluation_of(prediction.logits, dataset, columns); });
  evaluation.images_per_second = prediction.images_per_second;
  return evaluation;
}

std::string evaluation_json(const Evaluation& evaluation, std::int64_t step, std::int64_t epoch) {
  const Scores& scores = evaluation.scores;
  Json json{{"kind", "evaluation"},
            {"step", step},
            {"epoch", epoch},
            {"split", evaluation.split},
            {"label", evaluation.label},
            {"classes", evaluation.classes},
            {"context_key", evaluation.context_key},
            {"images", scores.images},
            {"accuracy", nine_digits(scores.accuracy)},
            {"balanced_accuracy", nine_digits(scores.balanced_accuracy)}};
  if (!evaluation.classifier.empty()) json["classifier"] = evaluation.classifier;
  if (scores.auc) json["auc"] = nine_digits(*scores.auc);
  json["loss"] = nine_digits(scores.loss);
  json["confidence"] = nine_digits(scores.confidence);
  json["majority"] = nine_digits(scores.majority);
  if (evaluation.images_per_second > 0) json["images_per_second"] = nine_digits(evaluation.images_per_second);
  json["contexts"] = Json::array();
  for (const ContextScore& context : scores.contexts) json["contexts"].push_back(context_json(context));
  return json.dump();
}

std::string evaluation_line(const Evaluation& evaluation) {
  const Scores& scores = evaluation.scores;
  std::string line = fmt::format("{}  accuracy {:.4f}  balanced {:.4f}", evaluation.split, scores.accuracy,
                                 scores.balanced_accuracy);
  if (scores.auc) line += fmt::format("  AUC {:.4f}", *scores.auc);
  line += fmt::format("  loss {:.4f}  majority {:.4f}", scores.loss, scores.majority);
  if (const ContextScore* worst = scores.worst()) {
    line += fmt::format("  worst {} {:.4f} ({} images)", worst->context, worst->accuracy, worst->images);
  }
  return line + fmt::format("  {:.0f} img/s all ranks", evaluation.images_per_second);
}

std::string evaluation_table(const Evaluation& evaluation) {
  const Scores& scores = evaluation.scores;
  std::string title = evaluation.split;
  if (!evaluation.classifier.empty()) title += ", " + evaluation.classifier;
  std::string table = fmt::format("{:<24} {:>7} {:>9} {:>15} {:>10}\n", title, "images", "accuracy",
                                  "95 % interval", "confidence");
  table += fmt::format("{:<24} {:>7} {:>9.4f} {:>15} {:>10.4f}\n", "all", scores.images, scores.accuracy, "",
                       scores.confidence);
  std::vector<ContextScore> contexts = scores.contexts;
  std::stable_sort(contexts.begin(), contexts.end(),
                   [](const ContextScore& a, const ContextScore& b) { return a.accuracy < b.accuracy; });
  for (const ContextScore& context : contexts) {
    const std::string interval = fmt::format("{:.3f} … {:.3f}", context.low, context.high);
    table += fmt::format("{:<24} {:>7} {:>9.4f} {:>15} {:>10.4f}\n", context.context, context.images,
                         context.accuracy, interval, context.confidence);
  }
  table += fmt::format("balanced accuracy {:.4f}  AUC {}  loss {:.4f}  majority class {:.4f}",
                       scores.balanced_accuracy, scores.auc ? fmt::format("{:.4f}", *scores.auc) : "-",
                       scores.loss, scores.majority);
  if (evaluation.images_per_second > 0)
    table += fmt::format("  {:.0f} images/s over all ranks", evaluation.images_per_second);
  return table + "\n";
}

std::string evaluation_group_key(const std::string& group_by, const std::vector<std::string>& model_keys,
                                 const data::Description& description) {
  if (!group_by.empty()) return group_by;
  if (!model_keys.empty()) return model_keys.front();
  return description.contexts.empty() ? "" : description.contexts.front().name;
}

}  // namespace cohort::eval

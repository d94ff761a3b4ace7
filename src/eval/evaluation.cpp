#include "cohort/eval/evaluation.h"

#include <algorithm>
#include <memory>
#include <optional>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/eval/task.h"

#include "eval/contexts_of_rows.h"
#include "eval/scorecard_text.h"
#include "eval/split_scores.h"
#include "support/json.h"

namespace cohort::eval {
namespace {

constexpr std::size_t kMostContexts = 24;  // in a table that does not show all

Json interval_json(const Interval& interval) {
  return {nine_digits(interval.low), nine_digits(interval.high)};
}

/// [classes, classes] as lists in a list.
Json confusion_json(const std::vector<std::int64_t>& counts, std::size_t classes) {
  Json rows = Json::array();
  for (std::size_t label = 0; label < classes; ++label) {
    const auto begin = counts.begin() + static_cast<std::ptrdiff_t>(label * classes);
    rows.push_back(std::vector<std::int64_t>(begin, begin + static_cast<std::ptrdiff_t>(classes)));
  }
  return rows;
}

Json context_json(const ContextScore& score) {
  return {{"context", score.context},
          {"images", score.images},
          {"accuracy", nine_digits(score.accuracy)},
          {"low", nine_digits(score.low)},
          {"high", nine_digits(score.high)},
          {"confidence", nine_digits(score.confidence)}};
}

std::string interval_text(const Interval& interval) {
  return fmt::format("{:.3f} … {:.3f}", interval.low, interval.high);
}

/// Worst first.
std::vector<ContextScore> shown_contexts(const Scores& scores, bool all) {
  std::vector<ContextScore> contexts = scores.contexts;
  std::stable_sort(contexts.begin(), contexts.end(),
                   [](const ContextScore& a, const ContextScore& b) { return a.accuracy < b.accuracy; });
  constexpr auto kHalf = static_cast<std::ptrdiff_t>(kMostContexts / 2);
  if (!all && contexts.size() > kMostContexts)
    contexts.erase(contexts.begin() + kHalf, contexts.end() - kHalf);
  return contexts;
}

/// Columns of the table that a terminal has room for.
struct TableLayout {
  std::size_t name = 24;
  bool interval = true, confidence = true;
};

/// `wanted`: columns of the longest name.
TableLayout layout_of(std::size_t wanted, std::optional<std::size_t> columns) {
  constexpr std::size_t kNumbers = 8 + 10, kInterval = 16, kConfidence = 11;
  TableLayout layout;
  const std::size_t room = columns.value_or(1000);
  layout.interval = layout.name + kNumbers + kInterval <= room;
  layout.confidence = layout.name + kNumbers + kInterval + kConfidence <= room;
  const std::size_t others =
      kNumbers + (layout.interval ? kInterval : 0) + (layout.confidence ? kConfidence : 0);
  layout.name = std::clamp(wanted, layout.name, std::max(layout.name, room - std::min(room, others)));
  return layout;
}

std::string table_line(const TableLayout& layout, const std::string& name, const std::string& images,
                       const std::string& accuracy, const std::string& interval,
                       const std::string& confidence) {
  std::string line = fmt::format(
      "{} {:>7} {:>9}", left_aligned(printable_name(name, layout.name), layout.name), images, accuracy);
  if (layout.interval) line += fmt::format(" {:>15}", interval);
  if (layout.confidence) line += fmt::format(" {:>10}", confidence);
  return line + "\n";
}

std::string score_line(const TableLayout& layout, const std::string& name, const ContextScore& score) {
  return table_line(layout, name, std::to_string(score.images), fmt::format("{:.4f}", score.accuracy),
                    interval_text({score.low, score.high}), fmt::format("{:.4f}", score.confidence));
}

/// With two blanks between them, in as many lines as it takes.
std::string packed(const std::vector<std::string>& parts, std::optional<std::size_t> columns) {
  std::string text, line;
  for (const std::string& part : parts) {
    if (!line.empty() && columns && display_width(line) + 2 + display_width(part) > *columns) {
      text += line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : "  ") + part;
  }
  return text + line + "\n";
}

/// "0.8123 (0.790 … 0.833)".
std::string auc_text(const Scores& scores) {
  if (!scores.auc) return "-";
  const std::string area = fmt::format("{:.4f}", *scores.auc);
  return scores.auc_interval ? fmt::format("{} ({})", area, interval_text(*scores.auc_interval)) : area;
}

}  // namespace

std::string classifier_of(const std::string& classifier, const data::Description& description,
                          const std::string& column) {
  const bool is_only_label = description.labels.size() == 1 && description.has_label(column);
  return is_only_label ? classifier : classifier + " of " + column;
}

Evaluation evaluate(nn::Encoder& model, const data::Dataset& dataset, data::ColumnReader& reader,
                    const EvaluationColumns& columns, const EvalConfig& config,
                    augment::Normalisation normalisation, bool bf16, comm::Communicator& ranks,
                    const AskedToStop& asked_to_stop, StoredRows* features) {
  std::optional<SplitScores> scores;
  comm::together(ranks, [&] { scores.emplace(dataset, reader, columns, config); });
  const auto take = [&](const PassAnswers& answers) {
    scores->add(answers.logits, answers.rows);
    if (features != nullptr) features->write(answers.rows, answers.features);
  };
  const double rate = predict_passes(model, dataset, columns.context_key, config, normalisation, bf16, ranks,
                                     {take}, {}, asked_to_stop);
  Evaluation evaluation = scores->finish(ranks);
  evaluation.images_per_second = rate;
  return evaluation;
}

namespace {

/// "mask/0" of what moves with views, else the field's own name.
const data::Column& column_of(const data::Batch& batch, const std::string& field) {
  const auto moved = batch.columns.find(field + "/0");
  return moved != batch.columns.end() ? moved->second : batch.columns.at(field);
}

}  // namespace

Evaluation evaluate_task(method::Method& method, const TaskColumns& columns, const data::Dataset& dataset,
                         const EvalConfig& config, augment::Normalisation normalisation, bool bf16,
                         comm::Communicator& ranks, const AskedToStop& asked_to_stop) {
  Evaluation evaluation;
  evaluation.split = dataset.split();
  evaluation.label = columns.fields.front();
  evaluation.task = columns.task;
  std::optional<ContextsOfRows> contexts;
  std::unique_ptr<Task> task;
  comm::together(ranks, [&] {
    const data::Field& target = dataset.description().field(evaluation.label);
    evaluation.classes = data::value_names(target);
    contexts.emplace(dataset, columns.context_key, config);
    task = find_task(columns.task)
               .make({target, evaluation.classes, contexts->names(), dataset.rows(), config.task});
  });
  if (!contexts->names().keys.empty()) evaluation.context_key = contexts->names().keys.front().name;
  const auto take = [&](std::int64_t /*pass*/, const data::Batch& batch, const method::Answers& answers) {
    const std::span<const std::int64_t> rows(batch.sample.const_data_ptr<std::int64_t>(),
                                             static_cast<std::size_t>(batch.sample.size(0)));
    task->add({rows, contexts->of(rows), answers, column_of(batch, evaluation.label)});
  };
  evaluation.images_per_second = answer_passes(method, dataset, columns.fields, columns.context_key, config,
                                               normalisation, bf16, ranks, {take}, asked_to_stop);
  evaluation.card = task->finish(ranks);
  evaluation.scores.images = evaluation.card.samples;
  name_cases(evaluation.card, dataset, ranks);
  return evaluation;
}

Evaluation evaluate_features(const StoredRows& features,
                             const std::function<at::Tensor(const at::Tensor& features)>& logits,
                             const data::Dataset& dataset, data::ColumnReader& reader,
                             const EvaluationColumns& columns, const EvalConfig& config,
                             comm::Communicator& ranks) {
  std::optional<SplitScores> scores;
  comm::together(ranks, [&] { scores.emplace(dataset, reader, columns, config); });
  features.share_out([&](std::int64_t first, const at::Tensor& rows) {
    scores->add(logits(rows), at::arange(first, first + rows.size(0)));
  });
  return scores->finish(ranks);
}

namespace {

/// What classification has had from the beginning.
void add_classification(Json& json, const Evaluation& evaluation) {
  const Scores& scores = evaluation.scores;
  json["accuracy"] = nine_digits(scores.accuracy);
  json["accuracy_interval"] = interval_json(scores.accuracy_interval);
  json["balanced_accuracy"] = nine_digits(scores.balanced_accuracy);
  json["f1_macro"] = nine_digits(scores.f1_macro);
  json["f1_weighted"] = nine_digits(scores.f1_weighted);
  json["kappa"] = nine_digits(scores.kappa);
  if (!evaluation.classifier.empty()) json["classifier"] = evaluation.classifier;
  if (!evaluation.detail.empty()) json["detail"] = evaluation.detail;
  if (scores.auc) json["auc"] = nine_digits(*scores.auc);
  if (scores.auc_interval) json["auc_interval"] = interval_json(*scores.auc_interval);
  json["loss"] = nine_digits(scores.loss);
  json["confidence"] = nine_digits(scores.confidence);
  json["calibration_error"] = nine_digits(scores.calibration_error);
  json["majority"] = nine_digits(scores.majority);
}

void add_confusion(Json& json, const Evaluation& evaluation) {
  json["confusion"] = confusion_json(evaluation.scores.confusion, evaluation.classes.size());
  json["contexts"] = Json::array();
  for (const ContextScore& context : evaluation.scores.contexts)
    json["contexts"].push_back(context_json(context));
}

/// Contexts of classification's first key are among what it has had from the beginning.
void add_scorecard(Json& json, const Scorecard& card, bool is_classification) {
  json["scores"] = scores_json(card.all);
  std::vector<ScoredContexts> contexts = card.contexts;
  if (is_classification && !contexts.empty()) contexts.erase(contexts.begin());
  const auto add = [&](const char* name, Json list) {
    if (!list.empty()) json[name] = std::move(list);
  };
  add("contexts_by", contexts_json(contexts));
  add("class_scores", groups_json(card.classes));
  add("curves", curves_json(card.curves));
  add("cases", cases_json(card.cases));
}

}  // namespace

std::string evaluation_json(const Evaluation& evaluation, std::int64_t step, std::int64_t epoch) {
  const bool is_classification = evaluation.task == "classification";
  Json json{{"kind", "evaluation"},
            {"step", step},
            {"epoch", epoch},
            {"split", evaluation.split},
            {"label", evaluation.label},
            {"classes", evaluation.classes},
            {"context_key", evaluation.context_key},
            {"images", evaluation.scores.images}};
  if (is_classification) add_classification(json, evaluation);
  if (evaluation.images_per_second > 0) json["images_per_second"] = nine_digits(evaluation.images_per_second);
  if (is_classification) add_confusion(json, evaluation);
  json["task"] = evaluation.task;
  add_scorecard(json, evaluation.card, is_classification);
  return json.dump();
}

std::string evaluation_title(const Evaluation& evaluation) {
  return evaluation.classifier.empty() ? evaluation.split : evaluation.split + ", " + evaluation.classifier;
}

namespace {

PartedLine task_line(const Evaluation& evaluation) {
  constexpr std::size_t kMost = 4;
  const Scorecard& card = evaluation.card;
  PartedLine line;
  line.add(printable(evaluation_title(evaluation)), 9);
  for (std::size_t i = 0; i < std::min(kMost, card.all.size()); ++i)
    line.add(card.all[i].name + " " + score_text(card.all[i]), 8 - static_cast<int>(i));
  if (const ScoredGroup* worst = card.worst()) {
    line.add(fmt::format("worst {} {} ({} images)", printable_name(worst->name),
                         score_text(worst->scores.front()), worst->samples),
             3);
  }
  line.add(fmt::format("{:.0f} img/s all ranks", evaluation.images_per_second), 1);
  return line;
}

}  // namespace

PartedLine evaluation_line(const Evaluation& evaluation) {
  if (evaluation.task != "classification") return task_line(evaluation);
  const Scores& scores = evaluation.scores;
  PartedLine line;
  line.add(printable(evaluation_title(evaluation)), 9);
  line.add(fmt::format("accuracy {:.4f}", scores.accuracy), 8);
  line.add(fmt::format("balanced {:.4f}", scores.balanced_accuracy), 7);
  if (scores.auc) line.add(fmt::format("AUC {:.4f}", *scores.auc), 6);
  line.add(fmt::format("loss {:.4f}", scores.loss), 4);
  line.add(fmt::format("majority {:.4f}", scores.majority), 5);
  if (const ContextScore* worst = scores.worst()) {
    line.add(fmt::format("worst {} {:.4f} ({} images)", printable_name(worst->context), worst->accuracy,
                         worst->images),
             3);
  }
  line.add(fmt::format("{:.0f} img/s all ranks", evaluation.images_per_second), 1);
  return line;
}

std::string evaluation_table(const Evaluation& evaluation, bool all, std::optional<std::size_t> columns) {
  if (evaluation.task != "classification")
    return scorecard_table(evaluation_title(evaluation), evaluation.card, all, columns);
  const Scores& scores = evaluation.scores;
  std::string title = printable_name(evaluation_title(evaluation));
  if (!evaluation.detail.empty()) title += " " + printable_name(evaluation.detail);
  const std::vector<ContextScore> contexts = shown_contexts(scores, all);
  const auto left_out = std::ssize(scores.contexts) - std::ssize(contexts);
  std::size_t width = display_width(title);
  for (const ContextScore& context : contexts)
    width = std::max(width, display_width(printable_name(context.context)));
  const TableLayout layout = layout_of(width, columns);
  std::string table = table_line(layout, title, "images", "accuracy", "95 % interval", "confidence");
  table += score_line(layout, "all",
                      {"", scores.images, scores.accuracy, scores.accuracy_interval.low,
                       scores.accuracy_interval.high, scores.confidence});
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    if (left_out > 0 && i == kMostContexts / 2) table += fmt::format("… {} more\n", format_count(left_out));
    table += score_line(layout, printable_name(contexts[i].context), contexts[i]);
  }
  table +=
      packed({fmt::format("balanced accuracy {:.4f}", scores.balanced_accuracy), "AUC " + auc_text(scores),
              fmt::format("loss {:.4f}", scores.loss), fmt::format("majority class {:.4f}", scores.majority)},
             columns);
  std::vector<std::string> others{fmt::format("F1 macro {:.4f}", scores.f1_macro),
                                  fmt::format("F1 weighted {:.4f}", scores.f1_weighted),
                                  fmt::format("kappa {:.4f}", scores.kappa),
                                  fmt::format("calibration error {:.4f}", scores.calibration_error)};
  if (evaluation.images_per_second > 0)
    others.push_back(fmt::format("{:.0f} images/s over all ranks", evaluation.images_per_second));
  return table + packed(others, columns);
}

std::string evaluation_group_key(const std::string& group_by, const std::vector<std::string>& model_keys,
                                 const data::Description& description) {
  if (!group_by.empty()) return group_by;
  if (!model_keys.empty()) return model_keys.front();
  return description.contexts.empty() ? "" : description.contexts.front().name;
}

}  // namespace cohort::eval

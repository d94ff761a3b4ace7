#include "train/evaluated_splits.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/data/signature.h"
#include "cohort/method/registry.h"
#include "cohort/train/columns.h"
#include "cohort/train/model.h"

namespace cohort::train {
namespace {

/// Those of eval.splits, else all but the training split.
std::vector<std::string> wanted_splits(const RunConfig& config, const data::Description& description) {
  if (!config.eval.splits.empty()) return config.eval.splits;
  std::vector<std::string> names;
  for (const data::Split& split : description.splits) {
    if (split.name != config.data.train_split) names.push_back(split.name);
  }
  return names;
}

/// `besides`: images of the bank that are no neighbours of another.
void check_neighbours(const RunConfig& config, const SplitCounts& bank, std::int64_t besides) {
  const std::int64_t most = *std::max_element(config.eval.neighbours.begin(), config.eval.neighbours.end());
  if (most <= bank.all() - besides) return;
  throw UsageError(
      {fmt::format("eval.neighbours asks for {} neighbours, but only {} images of split '{}' have "
                   "a label",
                   most, bank.all(), bank.split),
       config.data.path.string(), "ask for fewer"});
}

/// Nobody has to know that features can be judged by a context.
void tell_nothing_to_judge(const data::Description& description) {
  std::string how;
  if (!description.contexts.empty())
    how = fmt::format("; eval.neighbours_of={} judges them by a context", description.contexts.front().name);
  log_info(fmt::format("the dataset has no label: features are described, not judged by neighbours{}", how));
}

/// Collective. A copy of its own of the training split too, because the loader's threads read that meanwhile.
data::Dataset open_evaluated(const RunConfig& config, const std::string& split, comm::Communicator& ranks) {
  const auto no_labels = [](const data::Description&) { return std::vector<std::string>(); };
  data::Dataset dataset = data::Dataset::open(config.data.path, split, no_labels, ranks);
  comm::together(ranks, [&] { dataset.choose_channels(config.data.channels); });
  return dataset;
}

}  // namespace

EvaluatedSplits::EvaluatedSplits(const RunConfig& config, const data::Dataset& training,
                                 comm::Communicator& ranks) {
  const data::Description& description = training.description();
  const bool with_bank = !config.eval.neighbours.empty();
  const bool learns_classes = config.method.traits().learns_classes;
  const std::string_view task = config.method.traits().task;
  if (!learns_classes && !with_bank && task.empty()) return;
  std::vector<std::string> names;
  std::optional<data::Signature> signature;
  comm::together(ranks, [&] {
    names = data::with_images(description, wanted_splits(config, description));
    signature = signature_of(config, training);
    columns_.context_key =
        eval::evaluation_group_key(training_group_key(config), config.context.keys, description);
    judged_ = columns_;
    if (!task.empty()) task_ = {task, learnt_fields(config, description), columns_.context_key};
    if (learns_classes) columns_.label = scored_column(config, description);
    if (with_bank) judged_.label = judged_column(config, description);
    if (with_bank && judged_.label.empty()) tell_nothing_to_judge(description);
  });
  folder_ = config.data.path;
  description_ = data::Description::read(folder_, ranks);
  if (with_bank) bank_ = open_evaluated(config, config.data.train_split, ranks);
  if (columns_.label.empty() && judged_.label.empty() && task.empty()) return;
  comm::together(ranks,
                 [&] { (void)eval::scored_context_keys(config.eval, columns_.context_key, description_); });
  if (bank_ && !judged_.label.empty()) bank_counts_ = counts_of(*bank_, judged_.label, ranks);
  for (const std::string& name : names) add(open_evaluated(config, name, ranks), config, *signature, ranks);
  const bool judges_bank =
      judges_training_split() || std::any_of(splits_.begin(), splits_.end(), [&](const auto& split) {
        return split.by_neighbours && split.dataset.split() == config.data.train_split;
      });
  comm::together(ranks, [&] {
    if (bank_ && !judged_.label.empty()) check_neighbours(config, bank_counts_, std::int64_t{judges_bank});
  });
}

data::ColumnReader EvaluatedSplits::reader_of(const data::Dataset& dataset) const {
  return {folder_, description_, dataset.split()};
}

SplitCounts EvaluatedSplits::counts_of(const data::Dataset& dataset, const std::string& column,
                                       comm::Communicator& ranks) const {
  data::ColumnReader reader = reader_of(dataset);
  return {dataset.split(), data::count_values(reader, column, ranks)};
}

/// Collective.
void EvaluatedSplits::add(data::Dataset dataset, const RunConfig& config, const data::Signature& signature,
                          comm::Communicator& ranks) {
  const std::string& needed = columns_.label.empty() ? judged_.label : columns_.label;
  const bool has_task = !task_.fields.empty();
  const SplitCounts scored = has_task ? SplitCounts() : counts_of(dataset, needed, ranks);
  const SplitCounts judged = judged_.label.empty() ? SplitCounts() : counts_of(dataset, judged_.label, ranks);
  comm::together(ranks, [&] {
    auto why_not = obstacle(config, dataset, signature);
    if (!why_not && !has_task) why_not = obstacle_to_score(config, scored, needed);
    const bool judges = bank_ && !judged_.label.empty() && !why_not;
    auto why_not_judged = judges ? obstacle_to_judge(bank_counts_, judged, judged_.label) : std::nullopt;
    const bool by_neighbours = judges && !why_not_judged;
    if (columns_.label.empty() && !has_task && why_not_judged)
      why_not = std::exchange(why_not_judged, std::nullopt);
    if (why_not && !config.eval.splits.empty()) throw UsageError(*why_not);
    if (why_not) return log_warning("not evaluated: " + printable(why_not->text().what));
    if (why_not_judged) log_warning("not judged by neighbours: " + printable(why_not_judged->text().what));
    splits_.push_back({std::move(dataset), by_neighbours});
  });
}

std::string EvaluatedSplits::text() const {
  std::vector<std::string> names;
  for (const EvaluatedSplit& split : splits_) names.push_back(split.dataset.split());
  if (names.empty()) return bank_ ? "features of " + bank_->split() : "no split";
  return join(names, ", ");
}

}  // namespace cohort::train

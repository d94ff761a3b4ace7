#include "train/evaluated_splits.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/data/signature.h"
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

std::vector<std::string> split_names(const RunConfig& config, const data::Description& description) {
  if (config.method == MethodName::dino && config.eval.neighbours.empty()) return {};
  return data::with_images(description, wanted_splits(config, description));
}

/// A copy of its own, because the loader's threads read the training split meanwhile.
std::optional<data::Dataset> open_bank(const RunConfig& config, const data::Dataset::LabelsOf& label,
                                       comm::Communicator& ranks) {
  if (config.eval.neighbours.empty()) return std::nullopt;
  data::Dataset bank = data::Dataset::open(config.data.path, config.data.train_split, label, ranks);
  const std::vector<std::int32_t>& labels = bank.labels(label(bank.description()).front());
  const std::int64_t most = *std::max_element(config.eval.neighbours.begin(), config.eval.neighbours.end());
  const std::int64_t labelled =
      std::count_if(labels.begin(), labels.end(), [](std::int32_t value) { return value >= 0; });
  if (most > labelled) {
    throw UsageError(
        {fmt::format("eval.neighbours asks for {} neighbours, but only {} images of split '{}' have "
                     "a label",
                     most, labelled, config.data.train_split),
         config.data.path.string(), "ask for fewer"});
  }
  return bank;
}

}  // namespace

EvaluatedSplits::EvaluatedSplits(const RunConfig& config, const data::Dataset& training,
                                 comm::Communicator& ranks) {
  std::vector<std::string> names;
  std::optional<data::Signature> signature;
  comm::together(ranks, [&] {
    names = split_names(config, training.description());
    if (names.empty()) return;
    signature = signature_of(config, training);
    columns_ = {
        scored_column(config, training.description()),
        eval::evaluation_group_key(training_group_key(config), config.context.keys, training.description())};
  });
  if (names.empty()) return;
  const data::Dataset::LabelsOf label = [&](const data::Description&) {
    return std::vector<std::string>{columns_.label};
  };
  bank_ = open_bank(config, label, ranks);
  for (const std::string& name : names) {
    data::Dataset dataset = data::Dataset::open(config.data.path, name, label, ranks);
    comm::together(ranks, [&] { add(std::move(dataset), config, *signature); });
  }
}

void EvaluatedSplits::add(data::Dataset dataset, const RunConfig& config, const data::Signature& signature) {
  const auto why_not = obstacle(config, dataset, columns_.label, signature);
  if (!why_not) {
    datasets_.push_back(std::move(dataset));
    return;
  }
  if (!config.eval.splits.empty()) throw UsageError(*why_not);
  log_warning("not evaluated: " + printable(why_not->text().what));
}

std::vector<std::string> EvaluatedSplits::names() const {
  std::vector<std::string> names;
  for (const data::Dataset& dataset : datasets_) names.push_back(dataset.split());
  return names;
}

}  // namespace cohort::train

#include "train/evaluated_splits.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/train/model.h"

namespace cohort::train {
namespace {

bool has_dictionary(const nn::ContextConfig& context) {
  if (context.keys.empty()) return false;
  return context.amortization == nn::Amortization::dictionary ||
         context.amortization == nn::Amortization::dictionary_layer;
}

std::vector<std::string> split_names(const RunConfig& config, const data::Description& description) {
  if (config.method == MethodName::dino && config.eval.neighbours.empty()) return {};
  if (!config.eval.splits.empty()) return config.eval.splits;
  std::vector<std::string> names;
  for (const data::Split& split : description.splits) {
    if (split.name != config.data.train_split && split.rows() > 0) names.push_back(split.name);
  }
  return names;
}

/// "module 'module_03'": a context of `evaluated` without images in `training`.
std::optional<std::string> unseen_context(const RunConfig& config, const data::Dataset& training,
                                          const data::Dataset& evaluated) {
  for (const std::string& key : config.context.keys) {
    const data::ContextColumn& column = training.description().context(key);
    std::vector<bool> seen(column.values.size());
    for (const data::ContextRun& run : training.context_runs(key).runs())
      seen[static_cast<std::size_t>(run.context)] = true;
    for (const data::ContextRun& run : evaluated.context_runs(key).runs()) {
      const auto index = static_cast<std::size_t>(run.context);
      if (!seen[index]) return fmt::format("{} '{}'", key, column.values[index]);
    }
  }
  return std::nullopt;
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
  const std::vector<std::string> names = split_names(config, training.description());
  if (names.empty()) return;
  comm::together(ranks, [&] {
    columns_ = {
        scored_column(config, training.description()),
        eval::evaluation_group_key(training_group_key(config), config.context.keys, training.description())};
  });
  const data::Dataset::LabelsOf label = [&](const data::Description&) {
    return std::vector<std::string>{columns_.label};
  };
  bank_ = open_bank(config, label, ranks);
  for (const std::string& name : names)
    add(data::Dataset::open(config.data.path, name, label, ranks), config, training);
}

void EvaluatedSplits::add(data::Dataset dataset, const RunConfig& config, const data::Dataset& training) {
  const auto unseen =
      has_dictionary(config.context) ? unseen_context(config, training, dataset) : std::nullopt;
  if (!unseen) {
    datasets_.push_back(std::move(dataset));
    return;
  }
  if (!config.eval.splits.empty()) {
    throw UsageError(
        {fmt::format(
             "split '{}' has images of {}, of which training sees none: a dictionary has no token for it",
             dataset.split(), *unseen),
         "eval.splits, context.amortization",
         "choose context.amortization=mean_linear, or take the split out of eval.splits"});
  }
  log_warning(fmt::format("split '{}' is not evaluated: a dictionary has no token for {}",
                          printable(dataset.split()), printable(*unseen)));
}

std::vector<std::string> EvaluatedSplits::names() const {
  std::vector<std::string> names;
  for (const data::Dataset& dataset : datasets_) names.push_back(dataset.split());
  return names;
}

}  // namespace cohort::train

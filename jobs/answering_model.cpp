#include "answering_model.h"

#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "cohort/checkpoint/store.h"
#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/method/registry.h"
#include "cohort/nn/unit_model.h"
#include "cohort/train/columns.h"
#include "cohort/train/device.h"
#include "cohort/train/model.h"

namespace cohort::jobs {
namespace {

train::RunConfig config_of(const ModelSource& source) {
  std::vector<std::string> overrides = source.overrides;
  overrides.emplace_back("model.weights=");
  if (source.run.empty() && !source.data.empty()) overrides.push_back("data.path=" + source.data);
  train::RunConfig config = train::load_run_config(
      source.run.empty() ? std::filesystem::path(source.config) : config_of_run(source.run), overrides);
  if (!source.data.empty()) config.data.path = source.data;
  return config;
}

void refuse_weights(const ModelSource& source, const train::RunConfig& config) {
  if (!source.run.empty()) return;
  throw UsageError(
      {fmt::format("answers to {} come from the whole model, and exported weights are those of its "
                   "encoder",
                   config.method.traits().task),
       source.weights, "give the run: --run RUN"});
}

/// Throws UsageError: what `description` calls the target's values, or contexts of a dictionary, is not what
/// the model learnt.
void check_words(const train::RunConfig& config, const data::Signature& model,
                 const data::Description& description) {
  const data::Signature here = train::signature_of(config, description);
  const auto refuse = [&](const std::string& what, const std::vector<std::string>& learnt,
                          const std::vector<std::string>& found) {
    throw UsageError(
        {fmt::format("the model learnt {} {}, the dataset has {}", what, list_of(learnt), list_of(found)),
         config.data.path.string(), "convert the dataset with the names of training, in their order"});
  };
  if (here.classes != model.classes) refuse("'" + model.label + "' with", model.classes, here.classes);
  if (!train::has_dictionary(config.context)) return;
  for (std::size_t k = 0; k < model.contexts.size(); ++k) {
    if (here.contexts[k].values != model.contexts[k].values)
      refuse("contexts '" + model.contexts[k].name + "'", model.contexts[k].values, here.contexts[k].values);
  }
}

/// Its channels, normalised as in training unless the dataset's own statistics are asked for.
void show(const AnsweringModel& model, data::Dataset& dataset) {
  dataset.choose_channels(model.signature.channels);
  if (!model.uses_own_statistics && !model.signature.mean.empty())
    dataset.use_statistics(model.signature.mean, model.signature.deviation);
}

/// Those asked for, else all but that of training.
std::vector<std::string> names_of_splits(const AnsweringModel& model, const std::vector<std::string>& asked,
                                         const data::Description& description) {
  std::vector<std::string> names = asked;
  for (const data::Split& split : description.splits) {
    if (asked.empty() && split.name != model.config.data.train_split) names.push_back(split.name);
  }
  return data::with_images(description, names);
}

}  // namespace

std::string task_of(const ModelSource& source) {
  if (source.run.empty() && source.config.empty()) return "";
  return std::string(config_of(source).method.traits().task);
}

AnsweringModel load_answering_model(const ModelSource& source, comm::Communicator& ranks) {
  AnsweringModel model;
  std::optional<checkpoint::Store> store;
  comm::together(ranks, [&] {
    model.config = config_of(source);
    refuse_weights(source, model.config);
    model.uses_own_statistics = source.normalisation == "data";
    store.emplace(std::filesystem::path(source.run) / "checkpoints", ranks);
    if (ranks.rank() == 0) model.step = chosen_step(source.step, *store, source.run);
  });
  model.step = ranks.max(model.step);
  const data::Description whole = data::Description::read(model.config.data.path, ranks);
  comm::together(ranks, [&] {
    model.signature = data::parse_signature(store->contents(model.step).meta.trained_on,
                                            store->path_of(model.step).string());
    const data::Description description = data::with_channels(whole, model.signature.channels);
    check_words(model.config, model.signature, description);
    model.columns = {model.config.method.traits().task, train::learnt_fields(model.config, description),
                     eval::evaluation_group_key(train::training_group_key(model.config),
                                                model.config.context.keys, description)};
    model.method = train::build_method(model.config, description, {});
  });
  train::load_method_weights(*model.method, model.config.seed, *store, model.step);
  const at::Device device = train::use_device(model.config.device, ranks);
  for (const method::Part& part : model.method->parts()) part.model->to(device);
  return model;
}

std::vector<data::Dataset> open_answered_splits(const AnsweringModel& model,
                                                const std::vector<std::string>& asked,
                                                comm::Communicator& ranks) {
  const train::RunConfig& config = model.config;
  const data::Description description = data::Description::read(config.data.path, ranks);
  std::vector<std::string> names;
  comm::together(ranks, [&] { names = names_of_splits(model, asked, description); });
  std::vector<data::Dataset> splits;
  const auto no_labels = [](const data::Description&) { return std::vector<std::string>(); };
  for (const std::string& name : names) {
    data::Dataset dataset = data::Dataset::open(config.data.path, name, no_labels, ranks);
    comm::together(ranks, [&] {
      show(model, dataset);
      const auto why_not = train::obstacle(config, dataset, model.signature);
      if (why_not && !asked.empty()) throw UsageError(*why_not);
      if (why_not) return log_warning("passed over: " + why_not->text().what);
      splits.push_back(std::move(dataset));
    });
  }
  comm::together(ranks, [&] {
    if (!splits.empty()) return;
    throw UsageError({"the dataset has no split to score", config.data.path.string(),
                      "give --split NAME; cohort-data inspect lists the splits"});
  });
  return splits;
}

}  // namespace cohort::jobs

#include "train/parts.h"

#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/method/registry.h"
#include "cohort/nn/encoders.h"
#include "cohort/nn/kernels.h"
#include "cohort/nn/unit_model.h"
#include "cohort/train/columns.h"
#include "cohort/train/model.h"

namespace cohort::train {
namespace {

std::string context_text(const RunConfig& config) {
  const nn::ContextConfig& context = config.context;
  if (context.keys.empty()) {
    const bool could_have_some = nn::encoder_family(config.model.name).takes_contexts;
    return could_have_some ? "none: a plain vision transformer" : "none";
  }
  return fmt::format("{}, {}, scope {}", join(context.keys, ", "), config::enum_name(context.amortization),
                     config::enum_name(context.scope));
}

std::string model_text(const RunConfig& config, const nn::Encoder& model) {
  return fmt::format("{}: {}, {} parameters", config.model.name, model.summary(),
                     format_count(count_parameters(model)));
}

std::string target_text(const RunConfig& config, const TrainingData& data) {
  const std::vector<std::string> fields = learnt_fields(config, data.dataset().description());
  if (!fields.empty()) return "learns " + list_of(fields);
  return data.label().empty() ? "without labels" : "label " + data.label();
}

std::string data_text(const RunConfig& config, const TrainingData& data) {
  const data::Description& description = data.dataset().description();
  const data::ImageLayout& images = description.images;
  return fmt::format("{}, split {}: {} images of {} ({}), {}", description.name, config.data.train_split,
                     format_count(data.images()), fmt::join(images.sizes(), " x "),
                     list_of(description.channels), target_text(config, data));
}

std::string batch_text(const RunConfig& config, int ranks) {
  const std::int64_t groups = config.sampler.groups_per_step, images = config.sampler.images_per_group;
  const std::string key = training_group_key(config);
  return fmt::format("{} groups of {} images{} = {} images, {} of them on each of {} ranks", groups, images,
                     key.empty() ? "" : " of one " + key, groups * images, groups / ranks * images, ranks);
}

/// Empty: nothing is frozen.
std::string frozen_text(method::Method& method) {
  const std::vector<method::Part> parts = method.parts();
  std::int64_t all = 0, frozen = 0;
  for (const at::Tensor& parameter : method::trained_part(parts).model->parameters()) {
    all += parameter.numel();
    if (!parameter.requires_grad()) frozen += parameter.numel();
  }
  return frozen == 0 ? ""
                     : fmt::format("{} of the {} parameters that could be trained", format_count(frozen),
                                   format_count(all));
}

/// Counted only where they are needed: a pass over all labels.
std::vector<std::int64_t> counts_if_needed(const RunConfig& config, const TrainingData& data) {
  return config.method.traits().counts_labels ? data.label_counts() : std::vector<std::int64_t>();
}

}  // namespace

Parts::Parts(const RunConfig& config, data::Dataset training, EvaluatedSplits evaluated_splits,
             at::Device where, const comm::Communicator& ranks)
    : data(config, std::move(training), ranks.size(), where.is_cuda()),
      splits(std::move(evaluated_splits)),
      device(where),
      method(build_method(config, data.dataset().description(), counts_if_needed(config, data))),
      encoders(stored_encoders(*method)),
      model(method->encoders().front().encoder) {}

TaskScores Parts::task_scores(const RunConfig& config) const {
  TaskScores found;
  if (splits.task().fields.empty()) return found;
  for (const EvaluatedSplit& split : splits.splits()) found.splits.push_back(split.dataset.split());
  found.scores = eval::find_task(splits.task().task).scores(config.eval.task);
  return found;
}

std::vector<std::string> Parts::score_names(const RunConfig& config) const {
  std::vector<std::string> by_head, by_neighbours;
  for (const EvaluatedSplit& split : splits.splits()) {
    if (!splits.columns().label.empty()) by_head.push_back(split.dataset.split());
    if (split.by_neighbours) by_neighbours.push_back(split.dataset.split());
  }
  if (splits.judges_training_split()) by_neighbours.push_back(splits.bank()->split());
  const std::vector<std::int64_t> none;
  return train::score_names(by_head, task_scores(config), by_neighbours,
                            splits.bank() == nullptr ? none : config.eval.neighbours);
}

std::unique_ptr<Parts> make_parts(const RunConfig& config, comm::Communicator& ranks) {
  const at::Device device = use_device(config.device, ranks);
  if (config.reproducible) at::globalContext().setDeterministicCuDNN(true);
  data::Dataset training = open_training_split(config, ranks);
  EvaluatedSplits splits(config, training, ranks);
  std::unique_ptr<Parts> parts;
  comm::together(ranks, [&] {
    parts = std::make_unique<Parts>(config, std::move(training), std::move(splits), device, ranks);
  });
  return parts;
}

std::int64_t count_parameters(const torch::nn::Module& model) {
  std::int64_t count = 0;
  for (const at::Tensor& parameter : model.parameters()) count += parameter.numel();
  return count;
}

std::string warning_of_short_epochs(const RunConfig& config, const TrainingData& data, int ranks) {
  if (data.steps_per_epoch() > 1) return "";
  const std::string length =
      config.train.max_steps > 0 ? "" : fmt::format("train.epochs={}, ", config.train.epochs);
  return fmt::format(
      "an epoch is one step, because a step takes {} of {} images: {}schedule.warmup_epochs={} and all else "
      "that counts epochs are that many steps; for some ten steps an epoch: {}",
      format_count(data.global_images()), format_count(data.images()), length, config.schedule.warmup_epochs,
      data::steps_that_fit(config.sampler, data.images(), ranks));
}

std::string run_table(const RunConfig& config, const Parts& parts, const RunExtent& extent) {
  std::string table = fmt::format("training in {}", config.run_dir.string());
  const auto row = [&](std::string_view name, const std::string& value) {
    table += fmt::format("\n  {:<10} {}", name, printable(value));
  };
  row("method", config.method.name());
  row("model", model_text(config, *parts.model));
  if (const std::string frozen = frozen_text(*parts.method); !frozen.empty()) row("frozen", frozen);
  row("context", context_text(config));
  row("dataset", data_text(config, parts.data));
  row("batch", batch_text(config, extent.ranks));
  row("precision", fmt::format("{} on {}", config::enum_name(config.precision), parts.device.str()));
  if (parts.device.is_cpu()) row("kernels", nn::kernels_in_use());
  row("steps", fmt::format("{} to {}, {} an epoch; evaluation on {}", extent.first_step, extent.total_steps,
                           parts.data.steps_per_epoch(), parts.splits.text()));
  return table;
}

}  // namespace cohort::train

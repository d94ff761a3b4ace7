#include "train/training_data.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/data/grouping.h"
#include "cohort/train/columns.h"

#include "train/training_views.h"

namespace cohort::train {
namespace {

/// The contexts that data.contexts names; every one of them must have images in the training split.
std::vector<bool> chosen_contexts(const RunConfig& config, const data::Grouping& grouping) {
  std::vector<bool> present(grouping.values.size()), chosen(grouping.values.size());
  for (const data::ContextRun& run : grouping.runs) present[static_cast<std::size_t>(run.context)] = true;
  for (const std::string& name : config.data.contexts) {
    const auto found = std::find(grouping.values.begin(), grouping.values.end(), name);
    if (found == grouping.values.end()) {
      throw UsageError(
          {fmt::format("data.contexts: '{}' has no value '{}'", training_group_key(config), name),
           config.data.path.string(), did_you_mean(name, grouping.values)});
    }
    const auto index = static_cast<std::size_t>(found - grouping.values.begin());
    if (!present[index]) {
      throw DataError({fmt::format("context '{}' has no images in split '{}'", name, config.data.train_split),
                       config.data.path.string(),
                       "remove it from data.contexts, or choose another data.train_split"});
    }
    chosen[index] = true;
  }
  return chosen;
}

data::Grouping training_grouping(const RunConfig& config, const data::Dataset& dataset) {
  const std::string keys = training_group_key(config);
  data::Grouping grouping = data::grouping_of(dataset, keys);
  if (config.data.contexts.empty()) return grouping;
  if (keys.empty()) {
    throw UsageError({"data.contexts chooses contexts, but no context key groups the images",
                      "data.contexts, sampler.group_by",
                      "set sampler.group_by to the key that the contexts belong to"});
  }
  const std::vector<bool> chosen = chosen_contexts(config, grouping);
  std::erase_if(grouping.runs,
                [&](const data::ContextRun& run) { return !chosen[static_cast<std::size_t>(run.context)]; });
  return grouping;
}

data::ContextSampler make_sampler(const RunConfig& config, const data::Dataset& dataset, int ranks) {
  const data::Grouping grouping = training_grouping(config, dataset);
  std::span<const std::int32_t> labels;
  if (config.sampler.needs_labels()) labels = dataset.labels(scored_column(config, dataset.description()));
  return {grouping.runs, grouping.values, config.sampler, config.seed, labels, ranks};
}

/// Columns that batches need. They are all there afterwards, because another thread will use them.
data::BatchColumns read_columns(const RunConfig& config, const data::Dataset& dataset, bool pinned) {
  data::BatchColumns columns{config.context.keys, label_column(config, dataset.description()), pinned,
                             config.augment.on_device, learnt_fields(config, dataset.description())};
  for (const std::string& key : columns.context_keys) (void)dataset.context_runs(key);
  if (!columns.label.empty()) (void)dataset.labels(columns.label);
  return columns;
}

/// What normalises all images has to come from those that are trained on.
void check_statistics(const RunConfig& config, const data::Description& description) {
  const bool are_used = config.data.normalisation == augment::Normalisation::dataset;
  if (!are_used || description.statistics == config.data.train_split) return;
  throw UsageError(
      {fmt::format("mean and deviation of the dataset are those of split '{}', not of data.train_split, '{}'",
                   description.statistics, config.data.train_split),
       config.data.path.string(),
       fmt::format("convert it again with --statistics-split {0}, make another of it with cohort-data split "
                   "--statistics-split {0}, or set data.normalisation",
                   config.data.train_split)});
}

}  // namespace

data::Dataset open_training_split(const RunConfig& config, comm::Communicator& ranks) {
  const auto labels = [&](const data::Description& description) {
    const std::string label = label_column(config, description);
    return label.empty() ? std::vector<std::string>() : std::vector<std::string>{label};
  };
  data::Dataset split = data::Dataset::open(config.data.path, config.data.train_split, labels, ranks);
  comm::together(ranks, [&] {
    check_statistics(config, split.description());
    split.choose_channels(config.data.channels);
  });
  return split;
}

TrainingData::TrainingData(const RunConfig& config, data::Dataset split, int ranks, bool pinned)
    : config_(config),
      dataset_(std::move(split)),
      columns_(read_columns(config, dataset_, pinned)),
      sampler_(make_sampler(config, dataset_, ranks)) {
  data::check_ranks(config.sampler, ranks);
  (void)training_views(config, dataset_.description(), 0);  // refuses here what they cannot be made of
  (void)device_views(config, dataset_.description(), at::kCPU);
  const std::int64_t groups = config.sampler.groups_per_step / ranks;
  if (groups % backward_passes(ranks) == 0) return;
  throw UsageError(
      {fmt::format("{} micro-batches cannot share the {} groups that each of {} ranks has in a step equally",
                   config.train.micro_batches, groups, ranks),
       "train.micro_batches", fmt::format("use a divisor of {}", groups)});
}

std::vector<std::int64_t> TrainingData::label_counts() const {
  std::vector<std::int64_t> counts;
  if (label().empty()) return counts;
  const std::vector<std::int32_t>& labels = dataset_.labels(label());
  counts.resize(dataset_.description().label(label()).classes.size());
  for (const data::ContextRun& run : training_grouping(config_, dataset_).runs) {
    for (std::int64_t row = run.first; row < run.first + run.rows; ++row) {
      const std::int32_t value = labels[static_cast<std::size_t>(row)];
      if (value >= 0) ++counts[static_cast<std::size_t>(value)];
    }
  }
  return counts;
}

std::int64_t TrainingData::backward_passes(int ranks) const {
  return config_.reproducible ? config_.sampler.groups_per_step / ranks : config_.train.micro_batches;
}

std::int64_t TrainingData::global_images() const noexcept {
  return config_.sampler.groups_per_step * config_.sampler.images_per_group;
}

data::Batch TrainingData::batch(std::int64_t step, int rank, int size, Workers& workers) const {
  const std::int64_t epoch = step / steps_per_epoch();
  const data::StepPlan plan = sampler_.plan(epoch, step % steps_per_epoch(), rank, size);
  const auto view = training_views(config_, dataset_.description(), epoch);
  return data::make_batch(dataset_, plan, columns_, *view, workers);
}

std::string TrainingData::first_bad_image(const data::Batch& batch) const {
  for (const at::Tensor& view : batch.views) {
    const at::Tensor bad = at::isfinite(view).flatten(1).all(1).logical_not().nonzero();  // [n, 1]
    if (bad.numel() > 0)
      return dataset_.id(batch.sample[bad[0][0].item<std::int64_t>()].item<std::int64_t>() % dataset_.rows());
  }
  return "";
}

std::string dataset_identity(const data::Description& description, const std::string& split) {
  const data::ImageLayout& images = description.images;
  std::string text = fmt::format("{} {} {} {}\n", static_cast<int>(images.type), images.channels,
                                 images.height, images.width);
  for (const data::LabelColumn& column : description.labels)
    text += fmt::format("{}: {}\n", column.name, column.classes);
  for (const data::ContextColumn& column : description.contexts)
    text += fmt::format("{}: {}\n", column.name, column.values);
  for (const data::ShardEntry& shard : description.split(split).shards)
    text += checksum_text(shard.checksum) + "\n";
  return fmt::format("{} {}", description.name, checksum_text(checksum(std::as_bytes(std::span(text)))));
}

}  // namespace cohort::train

#include "train/training_data.h"

#include <algorithm>
#include <numeric>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/train/model.h"

#include "train/training_views.h"

namespace cohort::train {
namespace {

std::int32_t index_of_context(const data::ContextColumn& column, const std::string& name,
                              const RunConfig& config) {
  const auto found = std::find(column.values.begin(), column.values.end(), name);
  if (found == column.values.end()) {
    throw UsageError({fmt::format("data.contexts: '{}' has no value '{}'", column.name, name),
                      config.data.path.string(), did_you_mean(name, column.values)});
  }
  return static_cast<std::int32_t>(found - column.values.begin());
}

/// Rows of the contexts that data.contexts names; every one of them must have some.
std::vector<std::int64_t> rows_of_chosen(const RunConfig& config, const data::Dataset& dataset,
                                         const std::string& key) {
  if (key.empty()) {
    throw UsageError({"data.contexts chooses contexts, but no context key groups the images",
                      "data.contexts, sampler.group_by",
                      "set sampler.group_by to the key that the contexts belong to"});
  }
  const data::ContextColumn& column = dataset.description().context(key);
  const std::vector<std::int32_t>& contexts = dataset.contexts(key);
  std::vector<bool> chosen(column.values.size());
  for (const std::string& name : config.data.contexts) {
    const std::int32_t index = index_of_context(column, name, config);
    if (std::find(contexts.begin(), contexts.end(), index) == contexts.end()) {
      throw DataError({fmt::format("context '{}' has no images in split '{}'", name, dataset.split()),
                       config.data.path.string(),
                       "remove it from data.contexts, or choose another data.train_split"});
    }
    chosen[static_cast<std::size_t>(index)] = true;
  }
  std::vector<std::int64_t> rows;
  for (std::size_t row = 0; row < contexts.size(); ++row) {
    if (chosen[static_cast<std::size_t>(contexts[row])]) rows.push_back(static_cast<std::int64_t>(row));
  }
  return rows;
}

std::vector<std::int64_t> training_rows(const RunConfig& config, const data::Dataset& dataset) {
  if (!config.data.contexts.empty()) return rows_of_chosen(config, dataset, training_group_key(config));
  std::vector<std::int64_t> rows(static_cast<std::size_t>(dataset.rows()));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

data::ContextSampler make_sampler(const RunConfig& config, const data::Dataset& dataset,
                                  std::span<const std::int64_t> rows) {
  const std::string key = training_group_key(config);
  std::vector<std::int32_t> context_of_row(rows.size());
  if (key.empty()) {
    const std::vector<std::string> name{"all images"};
    return {context_of_row, name, config.sampler, config.seed};
  }
  const std::vector<std::int32_t>& contexts = dataset.contexts(key);
  std::transform(rows.begin(), rows.end(), context_of_row.begin(),
                 [&](std::int64_t row) { return contexts[static_cast<std::size_t>(row)]; });
  return {context_of_row, dataset.description().context(key).values, config.sampler, config.seed};
}

/// Reads every column that batches need, because later they are used by another thread.
data::BatchColumns read_columns(const RunConfig& config, const data::Dataset& dataset) {
  data::BatchColumns columns{config.context.keys, label_column(config, dataset.description())};
  for (const std::string& key : columns.context_keys) (void)dataset.contexts(key);
  if (!columns.label.empty()) (void)dataset.labels(columns.label);
  return columns;
}

}  // namespace

TrainingData::TrainingData(const RunConfig& config, int ranks)
    : config_(config),
      dataset_(data::Dataset::open(config.data.path, config.data.train_split)),
      columns_(read_columns(config, dataset_)),
      rows_(training_rows(config, dataset_)),
      sampler_(make_sampler(config, dataset_, rows_)) {
  (void)data::share(sampler_.plan(0, 0), 0, ranks);
  const std::int64_t groups = config.sampler.groups_per_step / ranks;
  if (groups % backward_passes(ranks) == 0) return;
  throw UsageError(
      {fmt::format("{} micro-batches cannot share the {} groups that each of {} ranks has in a step equally",
                   config.train.micro_batches, groups, ranks),
       "train.micro_batches", fmt::format("use a divisor of {}", groups)});
}

std::int64_t TrainingData::backward_passes(int ranks) const {
  return config_.reproducible ? config_.sampler.groups_per_step / ranks : config_.train.micro_batches;
}

std::int64_t TrainingData::global_images() const noexcept {
  return config_.sampler.groups_per_step * config_.sampler.images_per_group;
}

data::Batch TrainingData::batch(std::int64_t step, int rank, int size) const {
  const std::int64_t epoch = step / steps_per_epoch();
  data::StepPlan plan = sampler_.plan(epoch, step % steps_per_epoch());
  for (data::Group& group : plan) {
    for (std::int64_t& row : group.rows) row = rows_[static_cast<std::size_t>(row)];
  }
  const data::ViewMaker view = training_views(config_, dataset_.description(), epoch);
  return data::make_batch(dataset_, data::share(plan, rank, size), columns_, view);
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

#include "plan/workload.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/method/registry.h"
#include "cohort/nn/encoder.h"
#include "cohort/nn/unit_model.h"
#include "cohort/train/columns.h"
#include "cohort/train/model.h"

#include "plan/meta_device.h"
#include "train/parts.h"
#include "train/training_views.h"

namespace cohort::perf {
namespace {

std::vector<std::string> numbered(const std::string& name, std::int64_t count) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < count; ++i) names.push_back(fmt::format("{}{}", name, i));
  return names;
}

data::Description stand_in_description(const train::RunConfig& config, const StandIn& stand_in) {
  if (stand_in.height == 0 || stand_in.images == 0) {
    throw UsageError({fmt::format("there is no dataset at '{}' to plan for", config.data.path.string()),
                      "data.path",
                      "give the path of one, or what stands in for it: --image 3,224,224 --images 1281167 "
                      "--classes 1000"});
  }
  data::Description description;
  description.name = "stand-in";
  description.images = {data::PixelType::u8, stand_in.channels, stand_in.height, stand_in.width};
  description.channels = numbered("channel", stand_in.channels);
  description.mean.assign(static_cast<std::size_t>(stand_in.channels), 128);
  description.deviation.assign(static_cast<std::size_t>(stand_in.channels), 64);
  const std::string label = config.data.label.empty() ? "label" : config.data.label;
  description.labels.push_back({label, numbered("class", stand_in.classes)});
  for (const std::string& key : config.context.keys)
    description.contexts.push_back({key, numbered("context", stand_in.contexts)});
  return description;
}

/// As many images of each class, where the method asks.
std::vector<std::int64_t> label_counts(const train::RunConfig& config, const data::Description& description) {
  if (!config.method.traits().counts_labels) return {};
  return std::vector<std::int64_t>(description.values(train::learnt_column(config, description)).size(), 1);
}

}  // namespace

std::int64_t Workload::global_images() const noexcept {
  return config.sampler.groups_per_step * config.sampler.images_per_group;
}

double Workload::steps() const noexcept {
  if (config.train.max_steps > 0) return static_cast<double>(config.train.max_steps);
  const std::int64_t per_epoch = std::max<std::int64_t>(images / global_images(), 1);
  return static_cast<double>(config.train.epochs * per_epoch);
}

Workload make_workload(const train::RunConfig& config, const StandIn& stand_in) {
  Workload workload;
  workload.config = config;
  workload.config.model.weights.clear();  // where training starts from changes no size
  const bool stands_in = stand_in.height > 0;
  workload.from_dataset = !stands_in && std::filesystem::exists(config.data.path / "dataset.json");
  const data::Description description =
      workload.from_dataset
          ? data::with_channels(data::Description::read(config.data.path), config.data.channels)
          : stand_in_description(config, stand_in);
  if (workload.from_dataset) {
    const data::Split& split = description.split(config.data.train_split);
    workload.images = split.rows();
    double bytes = 0;
    for (const data::ShardEntry& shard : split.shards) bytes += static_cast<double>(shard.bytes);
    workload.image_bytes = bytes / static_cast<double>(std::max<std::int64_t>(workload.images, 1));
  } else {
    workload.images = stand_in.images;
    workload.image_bytes = static_cast<double>(description.images.bytes());
  }
  {
    const NoFirstValues none;
    workload.method = train::build_method(workload.config, description, label_counts(config, description));
  }
  for (const method::Part& part : workload.method->parts())
    (part.is_trained() ? workload.trained_values : workload.followed_values) +=
        static_cast<double>(train::count_parameters(*part.model));
  workload.encoder = workload.method->encoders().front().encoder->summary();
  workload.views = train::training_views(config, description, 0)->shapes().size();
  workload.description = description;
  return workload;
}

}  // namespace cohort::perf

#include "plan/workload.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/method/registry.h"
#include "cohort/nn/dino_network.h"
#include "cohort/nn/unit_model.h"
#include "cohort/nn/vit.h"
#include "cohort/train/model.h"

#include "shard/unit.h"
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

const nn::VitShape& planned_shape(const nn::Encoder& encoder) {
  const auto* const transformer = dynamic_cast<const nn::VisionTransformer*>(&encoder);
  if (transformer != nullptr) return transformer->shape();
  throw UsageError({fmt::format("there is no formula for the cost of a {}", encoder.traits().kind),
                    "model.name",
                    "plan a vision transformer, or measure a step of this one: cohort-perf step"});
}

PlannedPart planned_part(const method::Part& part, const nn::VitShape& shape) {
  PlannedPart result{part.name, part.is_trained(), {}};
  const std::string unused = fmt::format("cin_blocks.{}.", shape.depth - 1);
  for (const auto& unit : shard::parameters_by_unit(*part.model)) {
    auto& parameters = result.units.emplace_back();
    for (const shard::NamedParameter& parameter : unit) {
      const bool reached = parameter.name.find(unused) == std::string::npos;
      parameters.push_back({parameter.tensor.numel(), parameter.tensor.dim(),
                            parameter.tensor.requires_grad(), reached && parameter.tensor.requires_grad()});
    }
  }
  return result;
}

}  // namespace

double PlannedPart::values() const noexcept {
  double sum = 0;
  for (const auto& unit : units) {
    for (const PlannedParameter& parameter : unit) sum += static_cast<double>(parameter.values);
  }
  return sum;
}

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
  for (const data::ViewShape& view : train::training_views(config, description, 0)->shapes())
    workload.views.push_back(view);
  const auto method = train::build_method(workload.config, description, {});
  workload.model = planned_shape(*method->encoders().front().encoder);
  workload.head = dino_head_of(*method);
  if (!has_formula(config, workload.head)) {
    throw UsageError({fmt::format("there is no formula for the cost of method={}", config.method.name()),
                      "method", "measure a step of it: cohort-perf step"});
  }
  for (const method::Part& part : method->parts())
    workload.parts.push_back(planned_part(part, workload.model));
  const method::Traits traits = config.method.traits();
  if (traits.learns_classes) workload.counts = traits.counts_labels ? workload.model.classes : 1;
  return workload;
}

std::optional<nn::DinoHeadShape> dino_head_of(method::Method& method) {
  const auto network = std::dynamic_pointer_cast<nn::DinoNetwork>(method.parts().front().model);
  if (!network) return std::nullopt;
  return network->head().shape();
}

bool has_formula(const train::RunConfig& config, const std::optional<nn::DinoHeadShape>& head) {
  return head.has_value() || config.method.traits().is_encoder_alone;
}

StepShape step_shape(const Workload& workload, std::int64_t images) {
  const train::RunConfig& config = workload.config;
  const bool bf16 = config.precision == train::Precision::bf16;
  return {.model = workload.model,
          .head = workload.head,
          .views = workload.views,
          .images = images,
          .cls_alone = config.model.pooling == nn::Pooling::cls,
          .options = {.bf16 = bf16,
                      .bf16_weights = config.sharding.gather == shard::WireType::bf16,
                      .bf16_gradients = config.sharding.reduce == shard::WireType::bf16,
                      .recomputes = config.sharding.activation_checkpointing}};
}

}  // namespace cohort::perf

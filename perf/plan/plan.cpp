#include "plan/plan.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cohort/core/text.h"

namespace cohort::perf {
namespace {

constexpr double kSecondsInHour = 3600;

/// Under --image no dataset is read, so that none has to be named. One that is named stays: messages say it.
train::RunConfig run_config(const PlanOptions& options) {
  std::vector<std::string> overrides;
  if (!options.image.empty()) overrides.emplace_back("data.path=stand-in");
  overrides.insert(overrides.end(), options.overrides.begin(), options.overrides.end());
  return train::load_run_config(options.config, overrides);
}

StandIn stand_in(const PlanOptions& options) {
  StandIn image{.images = options.images, .classes = options.classes, .contexts = options.contexts};
  if (options.image.empty()) return image;
  if (options.image.size() != 3) {
    throw UsageError({fmt::format("--image has {} numbers", options.image.size()), "command line",
                      "give channels, height and width: --image 3,224,224"});
  }
  if (options.images == 0) {
    throw UsageError({"--image stands in for a dataset, but --images does not say how many it has",
                      "command line", "add --images, for example --images 1281167"});
  }
  image.channels = options.image[0];
  image.height = options.image[1];
  image.width = options.image[2];
  return image;
}

Cluster make_cluster(const PlanOptions& options) {
  const Hardware hardware = read_hardware(options.hardware);
  const Cluster cluster{hardware.processor(options.gpu), hardware.network(options.network), options.nodes,
                        options.gpus_per_node};
  if (cluster.ranks() > 1 && cluster.processor.is_cpu() &&
      !cluster.processor.collectives.contains("reduce_scatter")) {
    throw UsageError({fmt::format("of '{}' no collectives were measured", options.gpu), options.hardware,
                      "run cohort-perf calibrate on 2 ranks or more"});
  }
  if (cluster.nodes > 1 && cluster.processor.is_cpu()) {
    throw UsageError({fmt::format("'{}' is one node, and no network was measured", options.gpu), "--nodes",
                      "plan for --nodes 1, or for a GPU"});
  }
  return cluster;
}

/// Groups of a step that ranks share equally.
void share_groups(train::RunConfig& config, const Cluster& cluster, bool scale) {
  std::int64_t& groups = config.sampler.groups_per_step;
  const std::int64_t ranks = cluster.ranks(), fitting = (groups + ranks - 1) / ranks * ranks;
  if (groups == fitting) return;
  if (!scale) {
    throw UsageError({fmt::format("{} ranks cannot share the {} groups of a step equally", ranks, groups),
                      "sampler.groups_per_step",
                      fmt::format("--scale-batch plans with {} groups; so does sampler.groups_per_step={}",
                                  fitting, fitting)});
  }
  groups = fitting;
}

int shards_for(shard::Strategy strategy, const train::RunConfig& config, const Cluster& cluster) {
  switch (strategy) {
    case shard::Strategy::replicate:
      return 1;
    case shard::Strategy::optimizer:
    case shard::Strategy::full:
      return cluster.ranks();
    case shard::Strategy::hybrid:
      break;
  }
  const std::int64_t size = config.sharding.shard_size;
  if (size > 0 && cluster.ranks() % size == 0) return static_cast<int>(size);
  return cluster.per_node;
}

std::int64_t groups_of_rank(const train::RunConfig& config, const Cluster& cluster) {
  return config.sampler.groups_per_step / cluster.ranks();
}

std::int64_t images_of_rank(const train::RunConfig& config, const Cluster& cluster) {
  return groups_of_rank(config, cluster) * config.sampler.images_per_group;
}

std::vector<std::int64_t> divisors_of(std::int64_t count) {
  std::vector<std::int64_t> divisors;
  for (std::int64_t divisor = 1; divisor <= count; ++divisor) {
    if (count % divisor == 0) divisors.push_back(divisor);
  }
  return divisors;
}

void check_micro_batches(std::int64_t micro_batches, std::int64_t groups) {
  if (micro_batches > 0 && groups % micro_batches == 0) return;
  std::vector<std::string> names;
  for (const std::int64_t divisor : divisors_of(groups)) names.push_back(std::to_string(divisor));
  throw UsageError(
      {fmt::format("{} micro-batches cannot share the {} groups of a rank", micro_batches, groups),
       "train.micro_batches",
       names.empty() ? "use fewer ranks, or a larger sampler.groups_per_step"
                     : "use one of " + join(names, ", ")});
}

Choice configured_choice(const train::RunConfig& config, const Cluster& cluster) {
  const std::int64_t passes =
      config.reproducible ? groups_of_rank(config, cluster) : config.train.micro_batches;
  check_micro_batches(passes, groups_of_rank(config, cluster));
  return {config.sharding.strategy, shards_for(config.sharding.strategy, config, cluster),
          static_cast<int>(passes), config.sharding.activation_checkpointing};
}

shard::Strategy strategy_named(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : enum_names(shard::Strategy{})) {
    if (entry.name == name) return entry.value;
    names.emplace_back(entry.name);
  }
  throw UsageError({fmt::format("unknown strategy '{}'", name), "--strategy", did_you_mean(name, names)});
}

/// What is tried, the plainest first: of two that are as fast the first one wins.
std::vector<Choice> choices(const PlanOptions& options, const train::RunConfig& config,
                            const Cluster& cluster) {
  using enum shard::Strategy;
  std::vector<shard::Strategy> strategies{replicate, optimizer, hybrid, full};
  if (!options.strategy.empty()) strategies = {strategy_named(options.strategy)};
  const std::int64_t groups = groups_of_rank(config, cluster);
  std::vector<std::int64_t> passes = divisors_of(groups);
  if (options.micro_batches > 0) {
    check_micro_batches(options.micro_batches, groups);
    passes = {options.micro_batches};
  }
  if (config.reproducible) passes = {groups};
  std::vector<Choice> all;
  for (const bool checkpointing : {false, true}) {
    for (const std::int64_t count : passes) {
      for (const shard::Strategy strategy : strategies)
        all.push_back(
            {strategy, shards_for(strategy, config, cluster), static_cast<int>(count), checkpointing});
    }
  }
  return all;
}

std::optional<Prediction> fastest(const PlanOptions& options, const Workload& workload,
                                  const Cluster& cluster) {
  std::optional<Prediction> best;
  for (const Choice& choice : choices(options, workload.config, cluster)) {
    const std::int64_t images = images_of_rank(workload.config, cluster);
    Prediction prediction = predict(workload, cluster, choice, images);
    if (!prediction.fits()) continue;
    // Two hundredths faster, which the model cannot tell, are not worth being less plain.
    if (!best || prediction.step.seconds < 0.98 * best->step.seconds) best = std::move(prediction);
  }
  return best;
}

std::optional<Prediction> on_one_node(const Workload& workload, Cluster cluster, const Prediction& chosen) {
  cluster.nodes = 1;
  Workload smaller = workload;
  smaller.config.sampler.groups_per_step = groups_of_rank(workload.config, cluster) > 0
                                               ? workload.config.sampler.groups_per_step
                                               : cluster.ranks();
  Choice choice = chosen.choice;
  choice.shards = shards_for(choice.strategy, workload.config, cluster);
  return predict(smaller, cluster, choice, chosen.images);
}

double checkpoint_bytes(const Workload& workload) {
  const int state = shard::states_of_optimizer(workload.config.optimizer.name);
  return 4 * (workload.trained_values * (1 + state) + workload.followed_values);
}

}  // namespace

double Plan::images_per_second() const {
  return static_cast<double>(chosen().images) * cluster.ranks() / chosen().step.seconds;
}

double Plan::efficiency() const {
  return one_node ? one_node->step.seconds / chosen().step.seconds : 1.0;
}

Plan make_plan(const PlanOptions& options) {
  Plan plan;
  plan.cluster = make_cluster(options);
  train::RunConfig config = run_config(options);
  config.device = plan.cluster.processor.is_cpu() ? train::Device::cpu : train::Device::cuda;
  share_groups(config, plan.cluster, options.scale_batch);
  plan.workload = make_workload(config, stand_in(options));
  const std::int64_t images = images_of_rank(config, plan.cluster);
  plan.configured = predict(plan.workload, plan.cluster, configured_choice(config, plan.cluster), images);
  plan.best = fastest(options, plan.workload, plan.cluster);
  plan.one_node = on_one_node(plan.workload, plan.cluster, plan.chosen());
  plan.checkpoint_bytes = checkpoint_bytes(plan.workload);
  plan.checkpoint_seconds = options.checkpoint_seconds > 0
                                ? options.checkpoint_seconds
                                : plan.checkpoint_bytes / (options.write_gb_s * 1e9);
  plan.mean_time_between_failures = options.hours_between_failures * kSecondsInHour / options.nodes;
  return plan;
}

}  // namespace cohort::perf

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "commands.h"
#include "facts.h"
#include "plan/plan.h"
#include "support/json.h"

namespace cohort::perf {
namespace {

constexpr double kHour = 3600, kGib = 1 << 30;

struct Kernels {
  double seconds = 0, flops = 0, bytes = 0;
  int calls = 0;
  Kernels& operator+=(const Kernels& other) {
    seconds += other.seconds;
    flops += other.flops;
    bytes += other.bytes;
    calls += other.calls;
    return *this;
  }
};

std::string choice_text(const Choice& choice) {
  std::string text(config::enum_name(choice.strategy));
  if (choice.strategy == shard::Strategy::hybrid) text += fmt::format(" (shard_size {})", choice.shards);
  text += fmt::format(", {} micro-batch{}", choice.micro_batches, choice.micro_batches == 1 ? "" : "es");
  if (choice.checkpointing) text += ", activation checkpointing";
  return text;
}

/// As arguments of cohort train.
std::string overrides_of(const Plan& plan) {
  const Choice& choice = plan.chosen().choice;
  std::string text = fmt::format(
      "sharding.strategy={} train.micro_batches={} sharding.activation_checkpointing={} "
      "sampler.groups_per_step={}",
      config::enum_name(choice.strategy), choice.micro_batches, choice.checkpointing,
      plan.workload.config.sampler.groups_per_step);
  if (choice.strategy == shard::Strategy::hybrid)
    text += fmt::format(" sharding.shard_size={}", choice.shards);
  return text;
}

bool is_bf16(const Plan& plan) {
  return plan.workload.config.precision == train::Precision::bf16;
}

double model_utilization(const Plan& plan) {
  return utilization(plan.chosen(), plan.cluster.processor, is_bf16(plan));
}

double interval(const Plan& plan) {
  return daly_interval(plan.checkpoint_seconds, plan.mean_time_between_failures);
}

Json prediction_json(const Prediction& prediction) {
  Json memory;
  for (const MemoryPart& part : prediction.memory) memory[part.name] = std::llround(part.bytes);
  Json busy;
  for (int lane = 0; lane < kLanes; ++lane)
    busy[std::string(lane_name(static_cast<Lane>(lane)))] =
        prediction.step.busy[static_cast<std::size_t>(lane)];
  return {{"strategy", config::enum_name(prediction.choice.strategy)},
          {"shards", prediction.choice.shards},
          {"micro_batches", prediction.choice.micro_batches},
          {"activation_checkpointing", prediction.choice.checkpointing},
          {"images_per_rank", prediction.images},
          {"memory_bytes_by_part", memory},
          {"memory_bytes", std::llround(prediction.memory_bytes)},
          {"memory_limit_bytes", std::llround(prediction.memory_limit)},
          {"fits", prediction.fits()},
          {"step_seconds", prediction.step.seconds},
          {"forward_seconds", prediction.step.forward},
          {"backward_seconds", prediction.step.backward},
          {"update_seconds", prediction.step.update},
          {"waiting_seconds", prediction.step.waiting},
          {"communicating_seconds", busy},
          {"model_flops_of_rank", prediction.flops}};
}

Json plan_json(const Plan& plan) {
  const double rate = plan.images_per_second(), steps = plan.workload.steps();
  const double seconds = steps * plan.chosen().step.seconds;
  return {{"prediction", true},
          {"noise", nullptr},
          {"facts", facts_of_process()},
          {"processor", plan.cluster.processor.name},
          {"network", plan.cluster.network.name},
          {"nodes", plan.cluster.nodes},
          {"ranks", plan.cluster.ranks()},
          {"groups_per_step", plan.workload.config.sampler.groups_per_step},
          {"global_batch", plan.workload.global_images()},
          {"from_dataset", plan.workload.from_dataset},
          {"configured", prediction_json(plan.configured)},
          {"recommended", plan.best ? prediction_json(*plan.best) : Json()},
          {"images_per_second", rate},
          {"efficiency_of_one_node", plan.efficiency()},
          {"model_flops_utilization", model_utilization(plan)},
          {"storage_bytes_per_second", rate * plan.workload.image_bytes},
          {"steps", steps},
          {"hours", seconds / kHour},
          {"device_hours", seconds / kHour * plan.cluster.ranks()},
          {"checkpoint_bytes", std::llround(plan.checkpoint_bytes)},
          {"checkpoint_seconds", plan.checkpoint_seconds},
          {"mean_seconds_between_failures", plan.mean_time_between_failures},
          {"checkpoint_interval_seconds",
           {{"young", young_interval(plan.checkpoint_seconds, plan.mean_time_between_failures)},
            {"daly", interval(plan)}}},
          {"overrides", overrides_of(plan)}};
}

void heading(const char* text) {
  fmt::print("{}\n", text);
}

void row(const std::string& name, const std::string& value) {
  fmt::print("  {:<26} {}\n", name, value);
}

void print_memory(const Prediction& prediction) {
  heading("memory of a rank");
  for (const MemoryPart& part : prediction.memory)
    row(part.name, fmt::format("{:>9.3f} GiB", part.bytes / kGib));
  row("together", fmt::format("{:>9.3f} GiB of {:.0f}: {}", prediction.memory_bytes / kGib,
                              prediction.memory_limit / kGib, prediction.fits() ? "fits" : "does NOT fit"));
}

void print_predicted_step(const Plan& plan) {
  const SimulatedStep& step = plan.chosen().step;
  const auto part = [&](double seconds) {
    return fmt::format("{:>9.2f} ms {:>5.1f} %", 1e3 * seconds, 100 * seconds / step.seconds);
  };
  heading("a step");
  row("forward", part(step.forward));
  row("backward", part(step.backward));
  row("update", part(step.update));
  row("waiting for collectives", part(step.waiting));
  row("together", part(step.seconds));
  for (int lane = 0; lane < kLanes; ++lane) {
    const double busy = step.busy[static_cast<std::size_t>(lane)];
    if (busy > 0) row(fmt::format("under way: {}", lane_name(static_cast<Lane>(lane))), part(busy));
  }
  row("images/s, all ranks", fmt::format("{:>9.0f}", plan.images_per_second()));
  if (plan.cluster.nodes > 1)
    row("efficiency of one node's", fmt::format("{:>9.1f} %", 100 * plan.efficiency()));
  row("model FLOPs utilization",
      fmt::format("{:>9.1f} % of {:.0f} TFLOP/s", 100 * model_utilization(plan),
                  (is_bf16(plan) ? plan.cluster.processor.bf16 : plan.cluster.processor.fp32) / 1e12));
}

void print_run(const Plan& plan) {
  const double steps = plan.workload.steps(), seconds = steps * plan.chosen().step.seconds;
  const double pause = interval(plan), step = plan.chosen().step.seconds;
  heading("the run");
  row("steps", fmt::format("{:.0f} of {} images", steps, format_count(plan.workload.global_images())));
  row("time", format_duration(std::chrono::duration<double>(seconds)));
  row("device hours", fmt::format("{:.1f}", seconds / kHour * plan.cluster.ranks()));
  row("read from storage",
      fmt::format("{:.3f} GB/s, {:.0f} bytes an image",
                  plan.images_per_second() * plan.workload.image_bytes / 1e9, plan.workload.image_bytes));
  row("checkpoint",
      fmt::format("{:.2f} GB, {:.1f} s to write", plan.checkpoint_bytes / 1e9, plan.checkpoint_seconds));
  row("time between failures",
      format_duration(std::chrono::duration<double>(plan.mean_time_between_failures)) + " expected");
  row("checkpoint every", fmt::format("{} (Daly; Young {}): checkpoint.every_steps={:.0f}",
                                      format_duration(std::chrono::duration<double>(pause)),
                                      format_duration(std::chrono::duration<double>(young_interval(
                                          plan.checkpoint_seconds, plan.mean_time_between_failures))),
                                      std::max(1.0, std::round(pause / step))));
}

void print_plan(const Plan& plan) {
  const train::RunConfig& config = plan.workload.config;
  fmt::print("# A prediction, not a measurement (docs/plan.md)\n");
  heading("what");
  row("model", fmt::format("{}: {}; {} parameters trained", config.model.name, plan.workload.encoder,
                           format_count(std::llround(plan.workload.trained_values))));
  row("method", fmt::format("{}, {} view{}, {}", config.method.name(), plan.workload.views,
                            plan.workload.views == 1 ? "" : "s", config::enum_name(config.precision)));
  row("images", fmt::format("{}, {}", format_count(plan.workload.images),
                            plan.workload.from_dataset ? config.data.path.string() : "stand-in"));
  row("where", fmt::format("{} nodes of {} x {}, {}", plan.cluster.nodes, plan.cluster.per_node,
                           plan.cluster.processor.name, plan.cluster.network.name));
  row("images of a rank", fmt::format("{} a step, {} ranks", plan.chosen().images, plan.cluster.ranks()));
  heading("how");
  row("configured",
      fmt::format("{}: {:.2f} ms a step, {}", choice_text(plan.configured.choice),
                  1e3 * plan.configured.step.seconds, plan.configured.fits() ? "fits" : "does NOT fit"));
  if (plan.best) {
    row("recommended", fmt::format("{}: {:.2f} ms a step, the fastest of those that fit",
                                   choice_text(plan.best->choice), 1e3 * plan.best->step.seconds));
    row("as options", overrides_of(plan));
  } else {
    row("recommended", "nothing fits: fewer images a group, a smaller model, or more memory");
  }
  print_memory(plan.chosen());
  print_predicted_step(plan);
  print_run(plan);
}

Rehearsal rehearse_configured(const Plan& plan) {
  const Prediction& chosen = plan.configured;
  return rehearse(plan.workload, {plan.cluster.ranks(), chosen.choice.shards}, chosen.choice, chosen.images);
}

/// Operators of one name in one pass together, in the order of the first of each.
void print_kernels(const Plan& plan) {
  Processor processor = plan.cluster.processor;
  const double launch = std::exchange(processor.launch, 0);
  using Key = std::pair<Pass, std::string>;
  std::vector<Key> order;
  std::map<Key, Kernels> groups;
  for (const Action& action : rehearse_configured(plan).actions) {
    for (const Operator& op : action.operators) {
      const Key key(action.pass, op.name);
      if (!groups.contains(key)) order.push_back(key);
      groups[key] += {operator_seconds({op}, processor, is_bf16(plan)), op.flops, op.bytes, 1};
    }
  }
  fmt::print("# A prediction: operators of a step of {} images on {} (docs/plan.md)\n",
             plan.configured.images, processor.name);
  fmt::print("#{:>9} {:>56} {:>7} {:>11} {:>9} {:>10} {:>10}\n", "pass", "operator", "calls", "GFLOP", "GB",
             "device us", "launch us");
  const auto line = [&](std::string_view pass, const std::string& name, const Kernels& sum) {
    fmt::print(" {:>9} {:>56} {:>7} {:>11.2f} {:>9.3f} {:>10.1f} {:>10.1f}\n", pass, name, sum.calls,
               sum.flops / 1e9, sum.bytes / 1e9, 1e6 * sum.seconds, 1e6 * sum.calls * launch);
  };
  Kernels all;
  for (const Key& key : order) {
    line(pass_name(key.first), key.second, groups.at(key));
    all += groups.at(key);
  }
  line("all", "", all);
}

/// One line a collective: communicator, name, bytes on this rank.
void print_schedule(const Plan& plan) {
  for (const RehearsedCollective& collective : rehearse_configured(plan).collectives)
    fmt::print("{} {} {:.0f}\n", lane_name(collective.lane), collective.operation, collective.bytes);
}

/// Without ranks and without a GPU.
ExitCode plan(const PlanOptions& options) {
  const Plan made = make_plan(options);
  if (options.schedule) {
    print_schedule(made);
  } else if (options.kernels) {
    print_kernels(made);
  } else if (options.json) {
    fmt::print("{}\n", plan_json(made).dump());
  } else {
    print_plan(made);
  }
  return ExitCode::done;
}

}  // namespace

void add_plan(CLI::App& app, Job& job) {
  const auto options = std::make_shared<PlanOptions>();
  CLI::App* command = &add_command(
      app, {"plan",
            "Predict memory, step time, storage and checkpoints of a run that is not there, without a GPU",
            {"cohort-perf plan configs/base.yaml --nodes 128 --gpus-per-node 8 --gpu h100 --network "
             "infiniband-ndr400"},
            endings_alone()});
  const auto add = [&](const char* name, auto& value, const char* text) {
    return command->add_option(name, value, text)->check(CLI::PositiveNumber)->capture_default_str();
  };
  command->add_option("config", options->config, "configuration: a YAML file, or a recipe (cohort configs)")
      ->required();
  command->add_option("overrides", options->overrides, "options of it: optimizer.lr=1e-3");
  add("--nodes", options->nodes, "machines")->check(CLI::Range(1, 1 << 20));
  add("--gpus-per-node", options->gpus_per_node, "ranks on each")->check(CLI::Range(1, 1 << 10));
  command->add_option("--gpu", options->gpu, "a100, h100, h200, b200 or one of --hardware")
      ->capture_default_str();
  command
      ->add_option("--network", options->network,
                   "infiniband-ndr400, infiniband-hdr200, slingshot-11, ethernet-100g or one of --hardware")
      ->capture_default_str();
  command->add_option("--hardware", options->hardware,
                      "file with more of both: of cohort-perf calibrate, or like perf/plan/hardware.yaml");
  command->add_option("--strategy", options->strategy, "look no further than this sharding.strategy");
  add("--micro-batches", options->micro_batches, "look no further than this train.micro_batches");
  command->add_flag("--scale-batch", options->scale_batch,
                    "raise sampler.groups_per_step to the next multiple of the ranks");
  command->add_option("--image", options->image, "channels,height,width, where there is no dataset yet")
      ->delimiter(',');
  add("--images", options->images, "of the training split, where there is no dataset yet");
  add("--classes", options->classes, "of its labels");
  add("--contexts", options->contexts, "values of each of its context keys");
  add("--hours-between-failures", options->hours_between_failures, "of one node, on average");
  add("--write-gb-s", options->write_gb_s, "GB/s at which the file system takes a checkpoint");
  add("--checkpoint-seconds", options->checkpoint_seconds, "time to write a checkpoint, if it is known");
  command->add_flag("--kernels", options->kernels, "instead: the operators of a step and their times");
  command->add_flag("--schedule", options->schedule, "instead: the collectives of a step, in order");
  command->add_flag("--json", options->json, "one JSON object");
  command->callback([options, &job] { job.alone = [options] { return plan(*options); }; });
}

}  // namespace cohort::perf

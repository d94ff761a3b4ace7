#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cohort/augment/multi_crop.h"
#include "cohort/checkpoint/checkpoint_config.h"
#include "cohort/comm/session.h"
#include "cohort/config/field.h"
#include "cohort/data/loader_config.h"
#include "cohort/data/sampler_config.h"
#include "cohort/eval/eval_config.h"
#include "cohort/method/choice.h"
#include "cohort/nn/context.h"
#include "cohort/nn/model_config.h"
#include "cohort/shard/optimizer.h"
#include "cohort/shard/sharded_model.h"
#include "cohort/train/device.h"
#include "cohort/train/schedule.h"

namespace cohort::train {

enum class Precision { fp32, bf16 };
std::span<const config::EnumName<Precision>> enum_names(Precision);

struct DataConfig {
  std::filesystem::path path;
  std::string train_split = "train";
  std::string label;
  std::vector<std::string> channels;
  std::vector<std::string> contexts;
  augment::Normalisation normalisation = augment::Normalisation::dataset;
  data::LoaderConfig loader;

  template <class Visit>
  void fields(Visit& visit) {
    visit("path", path, "folder of the dataset (dataset.json)");
    visit("train_split", train_split, "split to train on");
    visit("label", label, "label column to learn; empty: the dataset's only one");
    visit("channels", channels,
          "channels to train on, by name, in this order; a number stands for channel_<number>; empty: all");
    visit("contexts", contexts, "train on these contexts of the grouping key only; empty: all");
    visit("normalisation", normalisation,
          "statistics that pixel values are normalised with: the dataset's, each image's own, or ImageNet's");
    visit.section("loader", loader, "reading ahead");
  }
};

struct TraceConfig {
  std::vector<std::int64_t> steps;

  template <class Visit>
  void fields(Visit& visit) {
    visit("steps", steps,
          "first and last step, counted from 1, whose timeline is written to trace.json in the run's folder; "
          "empty: none",
          config::Range<std::int64_t>{1, INT64_MAX});
  }
};

struct StopConfig {
  std::vector<std::string> signals{"TERM", "USR2", "INT"};
  std::chrono::seconds margin{300};

  template <class Visit>
  void fields(Visit& visit) {
    visit(
        "signals", signals,
        "signals that end the run after the step under way and a checkpoint: TERM, USR1, USR2, INT (Ctrl-C, "
        "of which a second one ends it at once), HUP, XCPU; NCCL may keep USR1 for itself");
    visit("margin", margin,
          "in a Slurm job, the time before its end at which the run does the same; 0: never",
          config::Range<std::int64_t>{0, 86400});
  }
};

struct EarlyStoppingConfig {
  std::int64_t patience = 0;
  double min_delta = 0.0;

  template <class Visit>
  void fields(Visit& visit) {
    visit("patience", patience,
          "the run ends after so many evaluations in a row in which the score of checkpoint.best_by was not "
          "better than before; 0: it never does",
          config::Range<std::int64_t>{0, 1 << 20});
    visit("min_delta", min_delta, "what a score has to be better by to count", config::Range{0.0, 1e9});
  }
};

struct TrainConfig {
  std::int64_t max_steps = 0;
  std::int64_t epochs = 10;
  std::int64_t micro_batches = 1;
  bool reduce_every_micro_batch = false;
  std::int64_t log_every_steps = 10;
  bool tensorboard = true;
  EarlyStoppingConfig early_stopping;
  StopConfig stop;
  TraceConfig trace;

  template <class Visit>
  void fields(Visit& visit) {
    visit("max_steps", max_steps, "steps to train; 0: as many as train.epochs makes",
          config::Range<std::int64_t>{0, INT64_MAX});
    visit("epochs", epochs, "passes over the training split, if max_steps is 0",
          config::Range<std::int64_t>{1, 1 << 30});
    visit("micro_batches", micro_batches,
          "backward passes of a step; each takes an equal part of a rank's groups, so that less memory is "
          "needed",
          config::Range<std::int64_t>{1, 1 << 20});
    visit(
        "reduce_every_micro_batch", reduce_every_micro_batch,
        "reduce gradients after each micro-batch instead of after the last: whole gradients need no memory");
    visit("log_every_steps", log_every_steps, "steps between lines on the terminal",
          config::Range<std::int64_t>{1, 1 << 30});
    visit("tensorboard", tensorboard,
          "write the metrics also as events for TensorBoard, to tensorboard/ in the run's folder");
    visit.section("early_stopping", early_stopping,
                  "when a score no longer gets better (docs/operations.md)");
    visit.section("stop", stop, "when a run ends early, to go on later (docs/operations.md)");
    visit.section("trace", trace, "what ranks do when (docs/sharding.md)");
  }
};

/// What becomes of a step whose loss or gradient is not finite, or far larger than usual.
enum class OnTrouble {
  stop,      ///< the run ends with exit code 4
  skip,      ///< the step leaves no trace in the weights
  rollback,  ///< nor do those since the last checkpoint
};
std::span<const config::EnumName<OnTrouble>> enum_names(OnTrouble);

struct NumericsConfig {
  OnTrouble on_trouble = OnTrouble::stop;
  double spike = 0.0;
  std::int64_t most_in_a_row = 10;

  template <class Visit>
  void fields(Visit& visit) {
    visit("on_trouble", on_trouble,
          "what happens after a step whose numbers are bad: stop the run; skip the step's update; or go "
          "back to the weights of the last checkpoint and go on behind the step");
    visit("spike", spike, "a gradient norm that many times the median of the last 64 is bad too; 0: none is",
          config::Range{0.0, 1e9});
    visit("most_in_a_row", most_in_a_row, "bad steps in a row after which the run stops all the same",
          config::Range<std::int64_t>{1, 1 << 30});
  }
};

struct CommConfig {
  std::chrono::seconds timeout = comm::kDefaultTimeout;

  template <class Visit>
  void fields(Visit& visit) {
    visit("timeout", timeout,
          "how long a rank waits for the others before the job ends with the names of the missing ranks",
          config::Range<std::int64_t>{1, 86400});
  }
};

/// All options of `cohort train`, composed from those of the components. docs/config.md is generated from
/// this.
struct RunConfig {
  std::filesystem::path run_dir;
  std::uint64_t seed = 1;
  Device device = Device::automatic;
  Precision precision = Precision::fp32;
  bool reproducible = false;
  std::string resume = "auto";
  method::Choice method;
  DataConfig data;
  augment::ViewConfig augment;
  data::SamplerConfig sampler;
  nn::ModelConfig model;
  nn::ContextConfig context;
  shard::OptimizerConfig optimizer;
  ScheduleConfig schedule;
  shard::ShardingConfig sharding;
  TrainConfig train;
  NumericsConfig numerics;
  checkpoint::CheckpointConfig checkpoint;
  eval::EvalConfig eval;
  CommConfig comm;

  template <class Visit>
  void fields(Visit& visit) {
    visit("run_dir", run_dir, "folder of the run; empty: runs/<name of the configuration file>");
    visit("seed", seed, "key of every random number");
    visit("device", device,
          "where tensors live; auto: CUDA where every rank sees a device, else the CPU; cuda needs a build "
          "with "
          "the cuda preset");
    visit("precision", precision, "of the computation; weights, gradients and optimizer are fp32");
    visit("reproducible", reproducible,
          "the same bits on any number of ranks and for every sharding strategy: each group is a "
          "micro-batch, and gradients "
          "are added in the order of a fixed tree");
    visit("resume", resume,
          "auto: go on from the newest checkpoint of run_dir if there is one; never; or the path of a "
          "checkpoint");
    method.visit_name(visit);
    visit.section("data", data, "what is learnt from");
    visit.section("augment", augment, "random changes of training images");
    visit.section("sampler", sampler, "which images meet in a step");
    visit.section("model", model, "the encoder");
    visit.section("context", context, "context tokens");
    method.visit_sections(visit);
    visit.section("optimizer", optimizer, "how parameters are updated");
    visit.section("schedule", schedule, "the learning rate over the steps");
    visit.section("sharding", sharding, "parameters over ranks");
    visit.section("train", train, "how long");
    visit.section("numerics", numerics, "numbers that go wrong (docs/operations.md)");
    visit.section("checkpoint", checkpoint, "what survives a kill");
    visit.section("eval", eval, "scores on held-out splits");
    visit.section("comm", comm, "ranks");
  }
};

/// Options that contradict each other. Throws UsageError naming the keys; `where`: the configuration's file.
/// What needs the dataset (columns, contexts, sizes) is checked when the run is built.
void validate(const RunConfig& config, const std::string& where);

/// A configuration file with overrides on top, and where every value came from. Not movable: `fields` point
/// into `values`.
struct ConfigFile {
  /// `file`: a path, or the name of a recipe (config/recipes.h). Throws UsageError (config/load.h, validate).
  /// run_dir is filled in: runs/<stem of the file> if it was empty.
  ConfigFile(const std::filesystem::path& file, std::span<const std::string> overrides);
  ConfigFile(const ConfigFile&) = delete;
  ConfigFile& operator=(const ConfigFile&) = delete;
  ~ConfigFile() = default;

  RunConfig values;
  config::Fields fields{values};
};

/// ConfigFile without the origins.
RunConfig load_run_config(const std::filesystem::path& file, std::span<const std::string> overrides = {});

/// The resolved configuration as YAML that load_run_config() reads back to the same values.
std::string dump_run_config(const RunConfig& config);

/// The same for the records of a run: folders and files are absolute, and mean the same from any working
/// folder; methods that are not chosen have no section, so that a program that lacks them reads it as well.
std::string dump_with_absolute_paths(const RunConfig& config);

/// docs/config.md: every key, from the structs above.
std::string config_document();

/// The context key whose images form groups while training; empty: groups of any images.
std::string training_group_key(const RunConfig& config);

}  // namespace cohort::train

#include <exception>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "cohort/comm/session.h"
#include "cohort/core/memory.h"

#include "baseline.h"
#include "benchmarks.h"
#include "command_line/docs.h"
#include "plan/plan.h"

namespace {

using namespace cohort;
using command_line::add_command;
using command_line::endings_alone;
using command_line::endings_on_ranks;
using command_line::with;
using perf::Output;
using Benchmark = std::function<ExitCode(comm::Communicator&)>;

void add_output(CLI::App* command, Output& output) {
  command->add_flag("--json", output.json, "JSON Lines instead of the table (docs/profiling.md)")
      ->group("Output");
  command->add_option("--html", output.page, "write tables and pictures into this file")
      ->type_name("FILE")
      ->group("Output");
}

void add_collectives(CLI::App& app, perf::CollectivesOptions& options, Benchmark& chosen) {
  auto* command =
      &add_command(app, {"collectives",
                         "Collectives over sizes, dtypes and devices, against plain MPI and copies",
                         {"mpirun -n 4 cohort-perf collectives --op all_reduce --max 64M"},
                         endings_on_ranks()});
  command->add_option("--op", options.operations, "which: all_reduce all_gather reduce_scatter broadcast")
      ->capture_default_str();
  command->add_option("--dtype", options.types, "which: f32 bf16 f64")->capture_default_str();
  command
      ->add_option("--place", options.place,
                   "in: results replace what was given; out: they have buffers of their own; both")
      ->check(CLI::IsMember({"in", "out", "both"}))
      ->capture_default_str();
  command->add_option("--device", options.device, "cpu: over MPI; cuda: over NCCL")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--min", options.smallest, "smallest size in bytes, for example 4K")
      ->transform(CLI::AsSizeValue(false));
  command->add_option("--max", options.largest, "largest size in bytes")->transform(CLI::AsSizeValue(false));
  command->add_option("--factor", options.factor, "from one size to the next")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_option("--seconds", options.seconds, "time for each measurement")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_output(command, options.output);
  command->callback(
      [&] { chosen = [&](comm::Communicator& ranks) { return perf::collectives(options, ranks); }; });
}

void add_loader(CLI::App& app, perf::LoaderOptions& options, Benchmark& chosen) {
  auto* command = &add_command(app, {"data",
                                     "Read a dataset and make views, against pread of the same bytes",
                                     {"mpirun -n 4 cohort-perf data data/elpv --threads 2"},
                                     endings_on_ranks()});
  command->alias("loader");
  command->add_option("dataset", options.dataset, "folder of the dataset")->required();
  command->add_option("--split", options.split, "which split")->capture_default_str();
  command->add_option("--batch", options.images, "images in a batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--threads", options.threads, "that make views, on each rank")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--seconds", options.seconds, "time for each measurement")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_output(command, options.output);
  command->callback(
      [&] { chosen = [&](comm::Communicator& ranks) { return perf::loader(options, ranks); }; });
}

void add_sampler(CLI::App& app, perf::SamplerOptions& options, Benchmark& chosen) {
  auto* command =
      &add_command(app, {"sampler",
                         "Plan an epoch for one of many ranks: time and memory",
                         {"cohort-perf sampler --images 100000000 --contexts 100000 --ranks 1024"},
                         endings_on_ranks()});
  const auto add = [&](const char* name, std::int64_t& value, const char* text) {
    command->add_option(name, value, text)->check(CLI::PositiveNumber)->capture_default_str();
  };
  add("--images", options.images, "in the dataset");
  add("--contexts", options.contexts, "that they belong to");
  add("--ranks", options.ranks, "that train");
  add("--groups", options.groups, "on each rank in a step");
  add("--group-images", options.group_images, "in a group");
  add("--block", options.block, "as sampler.block");
  command->add_option("--balance", options.balance, "as sampler.balance")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  add_output(command, options.output);
  command->callback(
      [&] { chosen = [&](comm::Communicator& ranks) { return perf::sampler(options, ranks); }; });
}

void add_recorder(CLI::App& app, Output& output, Benchmark& chosen) {
  auto* command = &add_command(app, {"recorder",
                                     "Measure what the record for reports of failures costs",
                                     {"mpirun -n 2 cohort-perf recorder"},
                                     endings_on_ranks()});
  add_output(command, output);
  command->callback(
      [&] { chosen = [&](comm::Communicator& ranks) { return perf::recorder(output, ranks); }; });
}

void add_views(CLI::App& app, perf::ViewsOptions& options, Benchmark& chosen) {
  auto* command = &add_command(app, {"views",
                                     "Make the views of DINO's presets: images/s of one thread or device",
                                     {"cohort-perf views --seconds 5"},
                                     endings_on_ranks()});
  command->add_option("--device", options.device, "that makes them: cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--images", options.images, "in a batch, on a device")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--seconds", options.seconds, "time for each preset")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_output(command, options.output);
  command->callback([&] { chosen = [&](comm::Communicator& ranks) { return perf::views(options, ranks); }; });
}

// What the command line says in other words than perf::EngineOptions.
struct EngineChoice {
  std::string strategy = "full";
  bool narrow = false;
};

void add_engine(CLI::App& app, perf::EngineOptions& options, EngineChoice& choice, Benchmark& chosen) {
  auto* command = &add_command(app, {"engine",
                                     "Training steps under a sharding strategy: images/s and memory",
                                     {"mpirun -n 4 cohort-perf engine --model vit_small --strategy full"},
                                     endings_on_ranks()});
  command->add_option("--model", options.model, "vit_tiny, vit_small, vit_base or vit_large")
      ->capture_default_str();
  command->add_option("--patch", options.patch, "patch size in pixels")->capture_default_str();
  command->add_option("--image", options.image, "image size in pixels")->capture_default_str();
  command->add_option("--images", options.images, "images in a batch on each rank")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--micro-batches", options.micro_batches, "backward passes that share them")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--steps", options.steps, "steps to measure, after one that is not")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--strategy", choice.strategy, "replicate, optimizer, full or hybrid")
      ->check(CLI::IsMember({"replicate", "optimizer", "full", "hybrid"}))
      ->capture_default_str();
  command->add_option("--shard-size", options.sharding.shard_size, "ranks that share a model under hybrid");
  command->add_flag("--context", options.context,
                    "all images are of one context, with a token (mean_linear)");
  command->add_flag("--bf16", choice.narrow, "compute, gather and reduce in bf16");
  command->add_flag("--bf16-compute", options.bf16, "compute and gather in bf16, reduce in fp32");
  command->add_flag("--reproducible", options.reproducible,
                    "sum gradients of micro-batches in a fixed order");
  command->add_flag("--activation-checkpointing", options.sharding.activation_checkpointing,
                    "compute blocks again in the backward pass");
  add_output(command, options.output);
  command->callback([&] {
    for (const auto& name : enum_names(shard::Strategy{})) {
      if (name.name == choice.strategy) options.sharding.strategy = name.value;
    }
    if (choice.narrow) options.sharding.reduce = shard::WireType::bf16;
    options.bf16 = options.bf16 || choice.narrow;
    if (options.bf16) options.sharding.gather = shard::WireType::bf16;
    chosen = [&](comm::Communicator& ranks) { return perf::engine(options, ranks); };
  });
}

void add_step_options(CLI::App* command, perf::StepOptions& options) {
  command->add_option("CONFIG", options.config, "configuration: a YAML file, or a recipe (cohort configs)")
      ->required();
  command->add_option("OVERRIDE", options.overrides, "KEY=VALUE, replaces an option of the file");
  command->add_option("--steps", options.steps, "steps to measure")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--warmup", options.warmup, "steps before them, in which memory is counted")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--synthetic", options.synthetic,
                      "noise of this size, 96x96x3, instead of the configuration's dataset");
  command
      ->add_option("--dir", options.folder,
                   "folder that all ranks see; the run goes into a sub-folder, which is removed")
      ->capture_default_str();
  command->add_option("--peak", options.peak, "TFLOP/s of a rank for MFU; without it that of products here")
      ->check(CLI::PositiveNumber);
  add_output(command, options.output);
}

void add_step(CLI::App& app, perf::StepOptions& options, Benchmark& chosen) {
  auto* command =
      &add_command(app, {"step",
                         "Training steps of a configuration: time and memory by stage, FLOP and MFU",
                         {"mpirun -n 4 cohort-perf step configs/base.yaml --synthetic 96x96x3"},
                         endings_on_ranks()});
  add_step_options(command, options);
  command->callback([&] { chosen = [&](comm::Communicator& ranks) { return perf::step(options, ranks); }; });
}

void add_scaling(CLI::App& app, perf::ScalingOptions& options, std::function<ExitCode()>& chosen) {
  auto* command = &add_command(
      app, {"scaling",
            "Training steps of a configuration on several numbers of ranks: it starts them itself",
            {"cohort-perf scaling configs/base.yaml --ranks 1,2,4 --mode weak"},
            endings_alone()});
  add_step_options(command, options.step);
  command->add_option("--ranks", options.ranks, "numbers of ranks: 1,2,4")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--mode", options.mode,
                   "strong: the same step on more ranks; weak: a step that grows with them")
      ->check(CLI::IsMember({"strong", "weak"}))
      ->capture_default_str();
  command->add_option("--repeats", options.repeats, "runs with each number of ranks, in turns")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--launcher", options.launcher,
                   "what starts ranks, before -n N: mpirun with its options, or srun within a Slurm job")
      ->capture_default_str();
  command->add_option("--patience", options.patience, "seconds that a run may take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([&] { chosen = [&] { return perf::scaling(options); }; });
}

void add_context(CLI::App& app, perf::ContextOptions& options, Benchmark& chosen) {
  auto* command = &add_command(app, {"context",
                                     "Bytes and time of the context exchange against gathering all patches",
                                     {"mpirun -n 4 cohort-perf context --width 384"},
                                     endings_on_ranks()});
  const auto add = [&](const char* name, std::int64_t& value, const char* text) {
    command->add_option(name, value, text)->check(CLI::PositiveNumber)->capture_default_str();
  };
  add("--images", options.images, "on each rank");
  add("--patches", options.patches, "of an image");
  add("--width", options.width, "of a patch token");
  add("--keys", options.keys, "context keys");
  add("--values", options.values, "of each key in the vocabulary");
  command->add_option("--seconds", options.seconds, "time for each way")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_output(command, options.output);
  command->callback(
      [&] { chosen = [&](comm::Communicator& ranks) { return perf::context(options, ranks); }; });
}

void add_compare(CLI::App& app, perf::CompareOptions& options, std::function<ExitCode()>& chosen) {
  auto* command = &add_command(
      app, {"compare",
            "Tell whether two results differ by more than their noise",
            {"cohort-perf compare before.jsonl after.jsonl --fail-if-slower"},
            with(endings_alone(),
                 {ExitCode::bug, "something became worse, with --fail-if-slower; or an unexpected error"})});
  command->add_option("BEFORE", options.before, "output of a command with --json; of several runs is better")
      ->required();
  command->add_option("AFTER", options.after, "the same, of another version, machine or option")->required();
  command->add_option("--confidence", options.confidence, "that no verdict is a false alarm")
      ->check(CLI::Range(0.5, 0.999999))
      ->capture_default_str();
  command->add_option("--tolerance", options.tolerance, "0.02: differences up to 2 % do not count")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  command->add_flag("--fail-if-slower", options.fail_if_slower, "exit code 1 when something became worse");
  add_output(command, options.output);
  command->callback([&] { chosen = [&] { return perf::compare(options); }; });
}

void add_gate(CLI::App& app, perf::GateOptions& options, Benchmark& chosen) {
  auto* command = &add_command(
      app, {"gate",
            "Compare ratios to peers and limits with a baseline",
            {"mpirun -n 2 cohort-perf gate perf/baseline.json --seconds 2"},
            with(endings_on_ranks(),
                 {ExitCode::bug, "a ratio is worse than the baseline; or an unexpected error"})});
  command->add_option("BASELINE", options.baseline, "JSON file")->capture_default_str();
  command->add_option("--dir", options.folder, "folder that all ranks see, for images that are removed")
      ->capture_default_str();
  command->add_option("--seconds", options.seconds, "time for each ratio and attempt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--attempts", options.attempts, "before a ratio counts as worse")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  add_output(command, options.output);
  command->callback([&] { chosen = [&](comm::Communicator& ranks) { return perf::gate(options, ranks); }; });
}

struct BaselineFiles {
  std::string runs, baseline;
};

void add_baseline(CLI::App& app, BaselineFiles& files, std::function<ExitCode()>& chosen) {
  auto* command = &add_command(app, {"baseline",
                                     "Write a baseline from runs of gate (scripts/perf_gate.sh)",
                                     {"cohort-perf baseline runs.jsonl perf/baseline.json"},
                                     endings_alone()});
  command->add_option("RUNS", files.runs, "output of several runs of gate --json")->required();
  command->add_option("BASELINE", files.baseline, "JSON file to write")->required();
  command->callback([&] { chosen = [&] { return perf::record_baseline(files.runs, files.baseline); }; });
}

void add_checkpoint(CLI::App& app, perf::CheckpointOptions& options, Benchmark& chosen) {
  auto* command = &add_command(app, {"checkpoint",
                                     "Save and load checkpoints, against plain writes and reads",
                                     {"mpirun -n 4 cohort-perf checkpoint --size 1GiB --dir runs"},
                                     endings_on_ranks()});
  command->add_option("--size", options.bytes, "of the state over all ranks, for example 1GiB")
      ->transform(CLI::AsSizeValue(false));
  command->add_option("--dir", options.folder, "folder to write into; a sub-folder is made and removed")
      ->capture_default_str();
  command->add_option("--rounds", options.rounds, "times that everything is measured")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add_output(command, options.output);
  command->callback(
      [&] { chosen = [&](comm::Communicator& ranks) { return perf::checkpoints(options, ranks); }; });
}

void add_trace(CLI::App& app, perf::TraceOptions& options, std::function<ExitCode()>& chosen) {
  auto* command = &add_command(app, {"trace",
                                     "Show what a trace of training steps says of overlap, and draw it",
                                     {"cohort-perf trace runs/x/trace.json --step 12 --svg step.svg"},
                                     endings_alone()});
  command->add_option("file", options.file, "trace.json of a run with train.trace.steps")->required();
  command->add_option("--step", options.step, "only this step; else all, and the last one's lanes");
  command->add_option("--svg", options.picture, "draw the timeline of the step into this file");
  add_output(command, options.output);
  command->callback([&] { chosen = [&] { return perf::trace(options); }; });
}

void add_calibrate(CLI::App& app, perf::CalibrateOptions& options, Benchmark& chosen) {
  auto* command = &add_command(app, {"calibrate",
                                     "Measure this machine's CPUs for cohort-perf plan --hardware",
                                     {"mpirun -n 2 cohort-perf calibrate --out here.yaml"},
                                     endings_on_ranks()});
  command->add_option("--out", options.file, "file to write; else the terminal");
  command->add_option("--seconds", options.seconds, "time for each measurement")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback(
      [&] { chosen = [&](comm::Communicator& ranks) { return perf::calibrate(options, ranks); }; });
}

void add_plan(CLI::App& app, perf::PlanOptions& options, std::function<ExitCode()>& chosen) {
  auto* command = &add_command(
      app, {"plan",
            "Predict memory, step time, storage and checkpoints of a run that is not there, without a GPU",
            {"cohort-perf plan configs/base.yaml --nodes 128 --gpus-per-node 8 --gpu h100 --network "
             "infiniband-ndr400"},
            endings_alone()});
  const auto add = [&](const char* name, auto& value, const char* text) {
    return command->add_option(name, value, text)->check(CLI::PositiveNumber)->capture_default_str();
  };
  command->add_option("config", options.config, "configuration: a YAML file, or a recipe (cohort configs)")
      ->required();
  command->add_option("overrides", options.overrides, "options of it: optimizer.lr=1e-3");
  add("--nodes", options.nodes, "machines")->check(CLI::Range(1, 1 << 20));
  add("--gpus-per-node", options.gpus_per_node, "ranks on each")->check(CLI::Range(1, 1 << 10));
  command->add_option("--gpu", options.gpu, "a100, h100, h200, b200 or one of --hardware")
      ->capture_default_str();
  command
      ->add_option("--network", options.network,
                   "infiniband-ndr400, infiniband-hdr200, slingshot-11, ethernet-100g or one of --hardware")
      ->capture_default_str();
  command->add_option("--hardware", options.hardware,
                      "file with more of both: of cohort-perf calibrate, or like perf/plan/hardware.yaml");
  command->add_option("--strategy", options.strategy, "look no further than this sharding.strategy");
  add("--micro-batches", options.micro_batches, "look no further than this train.micro_batches");
  command->add_flag("--scale-batch", options.scale_batch,
                    "raise sampler.groups_per_step to the next multiple of the ranks");
  command->add_option("--image", options.image, "channels,height,width, where there is no dataset yet")
      ->delimiter(',');
  add("--images", options.images, "of the training split, where there is no dataset yet");
  add("--classes", options.classes, "of its labels");
  add("--contexts", options.contexts, "values of each of its context keys");
  add("--hours-between-failures", options.hours_between_failures, "of one node, on average");
  add("--write-gb-s", options.write_gb_s, "GB/s at which the file system takes a checkpoint");
  add("--checkpoint-seconds", options.checkpoint_seconds, "time to write a checkpoint, if it is known");
  command->add_flag("--kernels", options.kernels, "instead: the kernels of a micro-batch and their times");
  command->add_flag("--schedule", options.schedule, "instead: the collectives of a step, in order");
  command->add_flag("--json", options.json, "one JSON object");
  command->callback([&] { chosen = [&] { return perf::plan(options); }; });
}

void add_published(CLI::App& app, std::function<ExitCode()>& chosen) {
  auto* command = &add_command(app, {"published",
                                     "Show predictions of cohort-perf plan beside published training runs",
                                     {"cohort-perf published"},
                                     endings_alone()});
  command->callback([&] { chosen = [] { return perf::published(); }; });
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  command_line::Command app({"cohort-perf",
                             "Measures the parts of Cohort on this machine, and plans runs on others",
                             {"mpirun -n 4 cohort-perf collectives",
                              "mpirun -n 4 cohort-perf step configs/base.yaml --synthetic 96x96x3"},
                             endings_on_ranks()});
  app.require_subcommand(1);
  perf::CollectivesOptions collectives;
  perf::LoaderOptions loader;
  perf::SamplerOptions sampler;
  Output recorder;
  perf::ViewsOptions views;
  perf::EngineOptions engine;
  EngineChoice choice;
  perf::StepOptions step;
  perf::ScalingOptions scaling;
  perf::ContextOptions context;
  perf::CompareOptions compare;
  perf::GateOptions gate;
  BaselineFiles baseline;
  perf::CheckpointOptions checkpoint;
  perf::TraceOptions trace;
  perf::CalibrateOptions calibrate;
  perf::PlanOptions plan;
  Benchmark chosen;
  std::function<ExitCode()> without_ranks;
  add_collectives(app, collectives, chosen);
  add_loader(app, loader, chosen);
  add_sampler(app, sampler, chosen);
  add_recorder(app, recorder, chosen);
  add_views(app, views, chosen);
  add_engine(app, engine, choice, chosen);
  add_step(app, step, chosen);
  add_scaling(app, scaling, without_ranks);
  add_context(app, context, chosen);
  add_compare(app, compare, without_ranks);
  add_gate(app, gate, chosen);
  add_baseline(app, baseline, without_ranks);
  add_checkpoint(app, checkpoint, chosen);
  add_trace(app, trace, without_ranks);
  add_calibrate(app, calibrate, chosen);
  add_plan(app, plan, without_ranks);
  add_published(app, without_ranks);
  command_line::add_docs(app, [&](std::function<ExitCode()> print) { without_ranks = std::move(print); });
  const std::span<char* const> arguments(argv, static_cast<std::size_t>(argc));
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    without_ranks = [&app, help] { return static_cast<ExitCode>(app.exit(help)); };
  } catch (const CLI::ParseError& error) {
    without_ranks = nullptr;
    chosen = [text = command_line::explain(app, arguments, error)](comm::Communicator& ranks) -> ExitCode {
      ranks.agree(std::make_exception_ptr(UsageError(text)));
      return ExitCode::usage;
    };
  }
  const std::string name = command_line::full_name(command_line::chosen_command(app));
  // A copy: `docs check` parses command lines, which chooses anew.
  if (const auto alone = without_ranks) return comm::run_without_ranks(argc, argv, name, alone);
  return comm::run_ranks(argc, argv, name, chosen);
}

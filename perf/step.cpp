// cohort-perf step: where the time of a configuration's training steps goes.
#include <algorithm>
#include <array>
#include <csignal>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/text.h"
#include "cohort/train/trainer.h"

#include "allocations.h"
#include "commands.h"
#include "device.h"
#include "plan/prediction.h"
#include "product_rate.h"
#include "scratch.h"
#include "statistics.h"
#include "step_options.h"
#include "synthetic.h"
#include "train/step_totals.h"

namespace cohort::perf {
namespace {

using train::kStages;
using train::Stage;

constexpr double kMiB = 1 << 20;

/// Seconds of one step on one rank, by stage.
struct StepTimes {
  std::array<double, kStages> busy{}, waiting{};
};

/// Writes down the stages of a run, and asks it to stop after the last step that is measured.
class Recorder final : public train::StageObserver {
 public:
  Recorder(const StepOptions& options, at::Device device, bool first_rank)
      : warmup_(options.warmup),
        last_(options.warmup + options.steps),
        first_rank_(first_rank),
        device_(device),
        allocations_(std::make_shared<Allocations>(device)),
        guard_(c10::DebugInfoKind::PROFILER_STATE, allocations_) {
    steps_.reserve(static_cast<std::size_t>(options.steps));
    allocations_->start();
  }

  void ends(Stage stage) noexcept override {
    synchronise(device_);
    const std::int64_t peak = allocations_->take_peak();
    auto& largest = memory_[static_cast<std::size_t>(stage)];
    if (step_ == warmup_ - 1) largest = std::max(largest, peak);
  }
  void took(Stage stage, double busy, double waiting) noexcept override {
    now_.busy[static_cast<std::size_t>(stage)] += busy;
    now_.waiting[static_cast<std::size_t>(stage)] += waiting;
  }
  void step_ended(std::int64_t step) noexcept override {
    if (step > warmup_ && std::ssize(steps_) < last_ - warmup_) steps_.push_back(now_);
    step_ = step;
    now_ = {};
    if (step == warmup_) allocations_->stop();
    // A run that is asked to stop saves what a run saves, and leaves evaluation and export out.
    if (step == last_ - 1 && first_rank_) static_cast<void>(std::raise(SIGUSR2));
  }

  [[nodiscard]] const std::vector<StepTimes>& steps() const { return steps_; }
  /// Of what followed the last step.
  [[nodiscard]] double checkpoint_seconds() const {
    const auto at = static_cast<std::size_t>(Stage::checkpoint);
    return now_.busy[at] + now_.waiting[at];
  }
  /// The most bytes of tensors alive in a stage of the step before those that are measured.
  [[nodiscard]] std::int64_t memory(Stage stage) const { return memory_[static_cast<std::size_t>(stage)]; }

 private:
  std::int64_t warmup_, last_, step_ = 0;
  bool first_rank_;
  at::Device device_;
  std::shared_ptr<Allocations> allocations_;
  c10::DebugInfoGuard guard_;
  StepTimes now_;
  std::vector<StepTimes> steps_;
  std::array<std::int64_t, kStages> memory_{};
};

/// The configuration with what a measurement wants otherwise.
train::RunConfig measured_config(const StepOptions& options) {
  // Under --synthetic no dataset is read, so that none has to be named.
  std::vector<std::string> overrides;
  if (!options.synthetic.empty()) overrides.emplace_back("data.path=synthetic");
  overrides.insert(overrides.end(), options.overrides.begin(), options.overrides.end());
  train::RunConfig config = train::load_run_config(options.config, overrides);
  config.resume = "never";
  config.train.max_steps = std::max(config.train.max_steps, options.warmup + options.steps + 1);
  config.train.log_every_steps = config.train.max_steps;
  config.train.tensorboard = false;
  config.train.stop.signals = {"USR2"};
  config.train.stop.margin = {};
  config.checkpoint.every_steps = 0;
  config.checkpoint.every = {};
  return config;
}

/// FLOP of a step of all ranks that the model needs.
double flops_of_step(const train::RunConfig& config) {
  const Workload workload = make_workload(config, {});
  return model_flops(workload, workload.global_images());
}

/// [ranks, steps, 2, stages]: busy and waiting, on every rank.
at::Tensor gathered(const std::vector<StepTimes>& steps, comm::Communicator& ranks) {
  const auto count = static_cast<std::int64_t>(steps.size()), stages = static_cast<std::int64_t>(kStages);
  at::Tensor mine = at::empty({1, count, 2, stages}, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t stage = 0; stage < stages; ++stage) {
      mine[0][i][0][stage] = steps[static_cast<std::size_t>(i)].busy[static_cast<std::size_t>(stage)];
      mine[0][i][1][stage] = steps[static_cast<std::size_t>(i)].waiting[static_cast<std::size_t>(stage)];
    }
  }
  return ranks.gather_rows(mine.flatten(1)).view({ranks.size(), count, 2, stages});
}

/// Milliseconds [ranks, steps] -> of each step, mean over ranks.
std::vector<double> mean_of_ranks(const at::Tensor& seconds) {
  const at::Tensor values = (seconds.mean(0) * 1e3).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}
std::vector<double> slowest_rank(const at::Tensor& seconds) {
  const at::Tensor values = (seconds.amax(0) * 1e3).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

/// What a run of some steps was like.
struct Measured {
  at::Tensor times;                      ///< gathered()
  std::array<double, kStages> memory{};  ///< MiB, largest rank
  double checkpoint = 0;                 ///< ms, slowest rank
  double resident = 0;                   ///< MiB at its peak, largest rank
  double flops = 0;                      ///< of a step, of all ranks
  double peak = 0;                       ///< a second, of all ranks
  std::string device;                    ///< "cpu", "cuda"

  [[nodiscard]] at::Tensor busy(Stage stage) const {
    return times.select(2, 0).select(2, static_cast<std::int64_t>(stage));
  }
  /// [ranks, steps]
  [[nodiscard]] at::Tensor waiting() const {
    return times.select(2, 1).narrow(2, 0, train::kStepStages).sum(2);
  }
  [[nodiscard]] at::Tensor whole() const {
    return times.narrow(3, 0, static_cast<std::int64_t>(train::kStepStages)).sum({2, 3});
  }
};

Measured run(const StepOptions& options, const train::RunConfig& config, at::Device device,
             comm::Communicator& ranks) {
  Measured measured;
  Recorder recorder(options, device, ranks.rank() == 0);
  {
    train::Trainer trainer(config, ranks, true, &recorder);
    static_cast<void>(trainer.run());
  }
  comm::together(ranks, [&] { measured.flops = flops_of_step(config); });
  measured.device = c10::DeviceTypeName(device.type(), /*lower_case=*/true);
  measured.times = gathered(recorder.steps(), ranks);
  for (std::size_t stage = 0; stage < kStages; ++stage) {
    const std::int64_t bytes = recorder.memory(static_cast<Stage>(stage));
    measured.memory[stage] = static_cast<double>(ranks.max(bytes)) / kMiB;
  }
  measured.checkpoint = 1e3 * ranks.max(recorder.checkpoint_seconds());
  measured.resident = static_cast<double>(ranks.max(train::peak_memory_bytes())) / kMiB;
  return measured;
}

void add_stages(Results& results, const Measured& measured) {
  Table& table = results.table(
      "",
      {"time of a step on a rank, mean over ranks; slowest: that of the slowest rank. data: waiting for the "
       "loader; copy: to the device;",
       "exposed communication: waiting for other ranks, and in none of the other stages; checkpoint: how "
       "long "
       "a save holds training up;",
       "memory: most bytes of tensors alive in the stage, largest rank"},
      {{"stage", "", 22, 0, Role::key},
       {"time p50", "ms", 10, 2, Role::lower},
       {"slowest", "ms", 10, 2},
       {"of step", "%", 8, 1},
       {"memory", "MiB", 9, 1}},
      {{"where the time of a step goes", "", {"time p50"}}});
  const double step = median(mean_of_ranks(measured.whole()));
  const auto add = [&](const std::string& name, const at::Tensor& seconds, Cell memory) {
    const std::vector<double> means = mean_of_ranks(seconds);
    const double middle = median(means);
    table.add({name, middle, median(slowest_rank(seconds)), 100 * middle / step, std::move(memory)}, means);
  };
  for (std::size_t i = 0; i < train::kStepStages; ++i) {
    const auto stage = static_cast<Stage>(i);
    add(train::stage_name(stage), measured.busy(stage), measured.memory[i]);
    if (stage == Stage::backward) add("exposed communication", measured.waiting(), {});
  }
  table.add({"checkpoint", measured.checkpoint, measured.checkpoint, Cell(), Cell()});
  add("whole step", measured.whole(),
      *std::max_element(measured.memory.begin(), measured.memory.begin() + train::kStepStages));
}

void add_summary(Results& results, const StepOptions& options, const train::RunConfig& config,
                 const Measured& measured, int ranks) {
  Table& table = results.table(
      "summary",
      {"step: slowest rank, median of the steps. FLOP that the model needs, a multiplication and an addition "
       "count 2; peak: " +
           std::string(options.peak > 0 ? "as given" : "matrix products in the same run") + ";",
       "MFU (arXiv 2204.02311, appendix B): FLOP/s over the peak"},
      {{"configuration", "", 28, 0, Role::key},
       {"ranks", "", 5, 0, Role::key},
       {"device", "", 6, 0, Role::key},
       {"precision", "", 9, 0, Role::key},
       {"images", "a step", 8, 0, Role::key},
       {"step p50", "ms", 10, 2, Role::lower},
       {"rate", "images/s", 10, 1},
       {"model", "GFLOP/image", 11, 2},
       {"speed", "TFLOP/s", 9, 3},
       {"peak", "TFLOP/s", 9, 3},
       {"MFU", "%", 6, 1},
       {"communication", "%", 13, 1},
       {"exposed", "ms", 9, 2},
       {"resident", "MiB", 9}});
  const std::vector<double> steps = slowest_rank(measured.whole());
  const double step = median(steps), seconds = step * 1e-3;
  const double exposed = median(mean_of_ranks(measured.waiting()));
  const std::int64_t images = config.sampler.groups_per_step * config.sampler.images_per_group;
  const auto count = static_cast<double>(images);
  const double flops = measured.flops;
  table.add(
      {options.config, std::int64_t{ranks}, measured.device, std::string(config::enum_name(config.precision)),
       images, step, count / seconds, flops * 1e-9 / count, flops * 1e-12 / seconds, measured.peak * 1e-12,
       flops * 100 / seconds / measured.peak, 100 * exposed / step, exposed, measured.resident},
      steps);
}

/// Collective. Training steps of a configuration, by the same code as cohort train: time and memory by stage,
/// FLOP, and MFU. Throws what cohort train throws.
ExitCode step(const StepOptions& options, comm::Communicator& ranks) {
  std::optional<train::RunConfig> config;
  at::Device device = at::kCPU;
  comm::together(ranks, [&] { config = measured_config(options); });
  device = train::use_device(config->device, ranks);
  comm::Session::set_timeout(config->comm.timeout);
  const Scratch scratch(options.folder, "cohort-perf-step", ranks);
  config->run_dir = scratch.path() / "run";
  if (!options.synthetic.empty())
    use_synthetic_images(*config, options.synthetic, scratch.path() / "data", ranks);
  Measured measured = run(options, *config, device, ranks);
  measured.peak = options.peak > 0 ? options.peak * 1e12 * ranks.size()
                                   : product_rate(device, config->precision == train::Precision::bf16, ranks);
  Results results("step", options.output, ranks);
  add_stages(results, measured);
  add_summary(results, options, *config, measured, ranks.size());
  results.finish();
  return ExitCode::done;
}

}  // namespace

void add_step_options(CLI::App* command, StepOptions& options) {
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

void add_step(CLI::App& app, Job& job) {
  const auto options = std::make_shared<StepOptions>();
  CLI::App* command =
      &add_command(app, {"step",
                         "Training steps of a configuration: time and memory by stage, FLOP and MFU",
                         {"mpirun -n 4 cohort-perf step configs/base.yaml --synthetic 96x96x3"},
                         endings_on_ranks()});
  add_step_options(command, *options);
  command->callback([options, &job] {
    job.with_ranks = [options](comm::Communicator& ranks) { return step(*options, ranks); };
  });
}

}  // namespace cohort::perf

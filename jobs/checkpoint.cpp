#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/checkpoint/export.h"
#include "cohort/checkpoint/store.h"
#include "cohort/core/checksum.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/train/import.h"
#include "cohort/train/model.h"
#include "cohort/train/run_config.h"
#include "cohort/train/run_owner.h"

#include "commands.h"
#include "new_file.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

struct CheckpointOptions {
  std::string source;  ///< a run, its checkpoints, one of them; or the weights to import
  std::string config, out;
  std::vector<std::string> overrides;
  std::string part;
  bool overwrites = false;
};

/// Folder of the checkpoints of a run, or the path itself.
fs::path checkpoints_of(const fs::path& source) {
  return fs::is_directory(source / "checkpoints") ? source / "checkpoints" : source;
}

checkpoint::Location newest(const fs::path& source, comm::Communicator& ranks) {
  if (const auto location = checkpoint::locate(source)) return *location;
  const fs::path folder = checkpoints_of(source);
  const auto step = checkpoint::Store(folder, ranks).latest();
  if (!step) {
    throw DataError({"there is no complete checkpoint", source.string(),
                     "give the folder of a run, or of a checkpoint such as "
                     "runs/NAME/checkpoints/step-00001200 or …/best"});
  }
  return {folder, *step};
}

/// Runs `action` on rank 0 with the checkpoint that the command line names.
template <class Action>
ExitCode with_newest(const CheckpointOptions& options, comm::Communicator& ranks, Action&& action) {
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) action(newest(options.source, ranks));
  });
  return ExitCode::done;
}

std::size_t most_slices(const checkpoint::Contents& contents) {
  std::size_t most = 0;
  for (const auto& [name, tensor] : contents.tensors) most = std::max(most, tensor.slices.size());
  return most;
}

constexpr std::size_t kTensorColumns = 80;

void print_tensors(const checkpoint::Contents& contents) {
  std::size_t width = 6;
  for (const auto& [name, tensor] : contents.tensors)
    width = std::max(width, display_width(printable_name(name, kTensorColumns)));
  fmt::print("\n{:<{}}  {:<20} {:>10} {:>7}\n", "tensor", width, "shape", "bytes", "slices");
  for (const auto& [name, tensor] : contents.tensors) {
    std::uint64_t bytes = sizeof(float);
    for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::uint64_t>(size);
    fmt::print("{}  {:<20} {:>10} {:>7}\n", left_aligned(printable_name(name, kTensorColumns), width),
               fmt::format("[{}]", fmt::join(tensor.shape, ", ")), format_bytes(bytes), tensor.slices.size());
  }
}

void inspect(const checkpoint::Location& location, comm::Communicator& ranks) {
  const checkpoint::Store store(location.folder, ranks);
  const checkpoint::Contents contents = store.contents(location.step);
  const checkpoint::Meta& meta = contents.meta;
  const std::string digest =
      checksum_text(checksum(std::as_bytes(std::span(meta.config.data(), meta.config.size()))));
  fmt::print("{}\n", store.path_of(location.step).string());
  fmt::print("  step {}, epoch {}, seed {}\n", meta.step, meta.epoch, meta.seed);
  if (const auto best = store.best())
    fmt::print("  best     {}\n", *best == meta.step ? "this one" : store.path_of(*best).string());
  fmt::print("  dataset  {}\n  config   {} (XXH3 of the resolved configuration)\n", printable(meta.dataset),
             digest);
  fmt::print("  state.h5 {}, {} tensors in up to {} slices\n", format_bytes(contents.file_bytes),
             format_count(static_cast<std::int64_t>(contents.tensors.size())), most_slices(contents));
  print_tensors(contents);
}

/// The checkpoint that the command line names, or all of a run.
std::vector<checkpoint::Location> all_checkpoints(const fs::path& source, comm::Communicator& ranks) {
  if (const auto location = checkpoint::locate(source)) return {*location};
  const fs::path folder = checkpoints_of(source);
  std::vector<checkpoint::Location> locations;
  for (const std::int64_t step : checkpoint::Store(folder, ranks).steps())
    locations.push_back({folder, step});
  if (locations.empty()) return {newest(source, ranks)};
  return locations;
}

ExitCode verify(const CheckpointOptions& options, comm::Communicator& ranks) {
  std::vector<checkpoint::Location> locations;
  comm::together(ranks, [&] { locations = all_checkpoints(options.source, ranks); });
  std::size_t damaged = 0;
  for (const checkpoint::Location& location : locations) {
    checkpoint::Store store(location.folder, ranks);
    const auto damage = store.damage(location.step);
    if (!damage.empty()) ++damaged;
    if (ranks.rank() != 0) continue;
    fmt::print("{}: {}\n", store.path_of(location.step).string(), damage.empty() ? "intact" : "damaged");
    for (const std::string& line : damage) fmt::print("  {}\n", printable(line));
  }
  std::fflush(stdout);
  comm::together(ranks, [&] {
    if (damaged == 0) return;
    throw DataError({fmt::format("{} of {} checkpoints are damaged", damaged, locations.size()),
                     options.source,
                     "go on from an intact one (resume=auto takes the newest), or restore a copy"});
  });
  return ExitCode::done;
}

void export_weights(const CheckpointOptions& options, const checkpoint::Location& location,
                    comm::Communicator& ranks) {
  const auto contents = checkpoint::Store(location.folder, ranks).contents(location.step);
  checkpoint::export_safetensors(location, train::encoder_prefix(contents, options.part), options.out);
  log_info(fmt::format("{}: weights of step {}", options.out, location.step));
}

ExitCode export_newest(const CheckpointOptions& options, comm::Communicator& ranks) {
  refuse_existing({options.out}, options.overwrites, ranks);
  const auto owners = train::own_runs_of({options.out}, "cohort checkpoint export", ranks);
  return with_newest(options, ranks,
                     [&](const checkpoint::Location& location) { export_weights(options, location, ranks); });
}

void add_export_options(CLI::App* command, CheckpointOptions& options) {
  command->add_option("--out", options.out, "safetensors file to write")->required();
  add_overwrite(*command, options.overwrites);
  command->add_option("--part", options.part,
                      "encoder of the run's method: the one that is judged, or by name the student of dino, "
                      "the target of byol");
}

void print_list(const std::string& title, const std::vector<std::string>& entries) {
  if (entries.empty()) return;
  fmt::print("{}:\n", title);
  for (const std::string& entry : entries) fmt::print("  {}\n", printable(entry));
}

/// The run that a first checkpoint, runs/NAME/checkpoints/step-00000000, is made for; of a file, that around
/// it.
std::vector<std::unique_ptr<train::RunOwner>> own_imported(const fs::path& out, comm::Communicator& ranks) {
  constexpr const char* kProgram = "cohort checkpoint import";
  const fs::path checkpoints = out.parent_path();
  if (checkpoints.filename() != "checkpoints") return train::own_runs_of({out}, kProgram, ranks);
  std::vector<std::unique_ptr<train::RunOwner>> owners;
  owners.push_back(train::own_run(checkpoints.parent_path(), kProgram, ranks));
  return owners;
}

ExitCode import_weights(const CheckpointOptions& options, comm::Communicator& ranks) {
  // A checkpoint beside others is refused as such.
  comm::together(ranks, [&] {
    std::error_code error;
    if (ranks.rank() == 0 && !fs::is_directory(options.out, error))
      refuse_existing({options.out}, options.overwrites);
  });
  const auto owner = own_imported(options.out, ranks);
  std::optional<train::RunConfig> config;
  comm::together(ranks, [&] { config = train::load_run_config(options.config, options.overrides); });
  const nn::FittedWeights fitted = train::import_weights(options.source, *config, options.out, ranks);
  if (ranks.rank() != 0) return ExitCode::done;
  print_list("adapted", fitted.adapted);
  print_list("skipped, not used", fitted.skipped);
  print_list("missing, random values instead", fitted.missing);
  fmt::print("{}: {} of {} parameters from {}\n", options.out, fitted.values.size(),
             fitted.values.size() + fitted.missing.size(), options.source);
  return ExitCode::done;
}

CLI::App* add(CLI::App& parent, Job& job, const std::string& name, const std::string& description,
              const std::string& example, std::function<ExitCode(comm::Communicator&)> run) {
  CLI::App* command = &add_command(parent, {name, description, {example}, command_line::endings_on_ranks()});
  command->callback([&job, name, run = std::move(run)] {
    job.program = "cohort checkpoint " + name;
    job.with_ranks = run;
  });
  return command;
}

void add_source(CLI::App* command, CheckpointOptions& options) {
  command
      ->add_option("CHECKPOINT", options.source,
                   "folder of a run, or of a checkpoint: RUN/checkpoints/step-00001200, RUN/checkpoints/best")
      ->required();
}

}  // namespace

void add_checkpoint(CLI::App& app, Job& job) {
  const auto options = std::make_shared<CheckpointOptions>();
  CLI::App* command = &add_command(app, {"checkpoint",
                                         "Look into checkpoints, and take weights in and out",
                                         {"cohort checkpoint inspect runs/x"},
                                         command_line::endings_on_ranks()});
  command->require_subcommand(1);
  add_source(add(*command, job, "inspect", "Show what a checkpoint holds; of a run, the newest",
                 "cohort checkpoint inspect runs/x",
                 [options](comm::Communicator& ranks) {
                   return with_newest(*options, ranks, [&](const checkpoint::Location& location) {
                     inspect(location, ranks);
                   });
                 }),
             *options);
  add_source(add(*command, job, "verify", "Compare every value with its checksum; of a run, all checkpoints",
                 "cohort checkpoint verify runs/x",
                 [options](comm::Communicator& ranks) { return verify(*options, ranks); }),
             *options);
  CLI::App* to_file =
      add(*command, job, "export", "Write the weights as safetensors, under their published names",
          "cohort checkpoint export runs/x --out weights.safetensors",
          [options](comm::Communicator& ranks) { return export_newest(*options, ranks); });
  add_source(to_file, *options);
  add_export_options(to_file, *options);
  CLI::App* from_file =
      add(*command, job, "import", "Fit published weights to the model of a configuration",
          "cohort checkpoint import vit.safetensors --config configs/base.yaml --out start.safetensors",
          [options](comm::Communicator& ranks) { return import_weights(*options, ranks); });
  from_file->add_option("WEIGHTS", options->source, "safetensors file")->required();
  from_file->add_option("--config", options->config, "configuration of the model: a YAML file, or a recipe")
      ->required();
  from_file
      ->add_option("--out", options->out,
                   "FILE.safetensors, or runs/NAME/checkpoints/step-00000000 for a run to start from")
      ->required();
  add_overwrite(*from_file, options->overwrites);
  from_file->add_option("OVERRIDE", options->overrides, "KEY=VALUE, replaces an option of the configuration");
}

void add_export(CLI::App& app, Job& job) {
  const auto options = std::make_shared<CheckpointOptions>();
  CLI::App* command =
      add(app, job, "export", "Write the weights of a run as safetensors: short for cohort checkpoint export",
          "cohort export --run runs/x --out weights.safetensors",
          [options](comm::Communicator& ranks) { return export_newest(*options, ranks); });
  command->add_option("--run", options->source, "folder of a run, or of a checkpoint: RUN/checkpoints/best")
      ->required();
  add_export_options(command, *options);
}

}  // namespace cohort::jobs

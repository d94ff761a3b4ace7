#include "model_source.h"

#include <optional>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

/// What is wrong with a --step; empty: nothing.
std::string wrong_step(const std::string& step) {
  constexpr std::size_t kMostDigits = 18;
  const bool is_number = !step.empty() && step.size() <= kMostDigits && step.front() != '0' &&
                         step.find_first_not_of("0123456789") == std::string::npos;
  return is_number || step == "best" ? "" : fmt::format("'{}' is neither a step nor best", step);
}

}  // namespace

fs::path config_of_run(const std::string& run) {
  const fs::path file = fs::path(run) / "config.yaml";
  if (!fs::exists(file)) {
    throw DataError({"not the folder of a run: it has no config.yaml", run,
                     "give the folder that cohort train wrote (run_dir)"});
  }
  refuse_no_file(file);
  return file;
}

CLI::Option* add_step_option(CLI::App& command, std::string& step) {
  return command
      .add_option("--step", step,
                  "checkpoint of the run to use instead of the newest: its step, or best (by "
                  "checkpoint.best_by)")
      ->check(wrong_step);
}

std::int64_t chosen_step(const std::string& step, const checkpoint::Store& store, const std::string& run) {
  if (step == "best") {
    if (const auto best = store.best()) return *best;
    throw DataError({"the run keeps no best checkpoint", run,
                     "train with checkpoint.best_by=SPLIT/SCORE, or give --step N"});
  }
  if (!step.empty()) return std::stoll(step);
  if (const auto latest = store.latest()) return *latest;
  throw DataError({"the run has no complete checkpoint", run, "let cohort train reach one"});
}

void add_model_options(CLI::App& command, ModelSource& source) {
  add_weight_options(command, source);
  command.option_defaults()->group("Model and data");
  command.add_option("--data", source.data, "folder of the dataset; without it that of the configuration");
  command.add_option("OVERRIDE", source.overrides,
                     "KEY=VALUE, replaces an option of the configuration: eval.context_images=64");
  command.option_defaults()->group("Options");
}

void add_weight_options(CLI::App& command, ModelSource& source) {
  command.option_defaults()->group("Model and data");
  CLI::Option* run =
      command.add_option("--run", source.run, "folder of a run; its newest checkpoint is used");
  add_step_option(command, source.step)->needs(run);
  command
      .add_option("--part", source.part,
                  "encoder of the run's method: the one that is judged, or by name the student of dino, the "
                  "target of byol")
      ->needs(run);
  CLI::Option* weights =
      command.add_option("--weights", source.weights, "safetensors file with the weights")->excludes(run);
  CLI::Option* model =
      command.add_option("--model", source.config,
                         "configuration of the model that the weights belong to: a YAML file, or a recipe");
  weights->needs(model);
  model->needs(weights);
  command
      .add_option(
          "--normalisation", source.normalisation,
          "whose mean and deviation pixels are normalised with: model, those of its training; data, those "
          "of the dataset")
      ->check(CLI::IsMember({"model", "data"}))
      ->capture_default_str();
  command.option_defaults()->group("Options");
}

}  // namespace cohort::jobs

#include "train/run_folder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <span>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "cohort/config/load.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/method/registry.h"
#include "cohort/train/model.h"

#include "train/learning_rate.h"
#include "train/training_data.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;

constexpr double kSameRate = 0.01;  // relative: less is no jump

/// The method that the option is in the section of; null: none.
const method::Entry* method_of_option(std::string_view key) {
  const std::string_view section = key.substr(0, key.find('.'));
  const auto entries = method::registry();
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const method::Entry& entry) { return entry.name == section; });
  return found == entries.end() ? nullptr : &*found;
}

/// Options of a method that is not used say nothing.
bool is_of_another_method(std::string_view key, const RunConfig& config) {
  const method::Entry* const method = method_of_option(key);
  return method != nullptr && method->name != config.method.name();
}

/// What decides the meaning of a step and the shapes of the weights.
bool must_match(std::string_view key) {
  static constexpr std::array<std::string_view, 11> kKeys{
      "seed",           "data.train_split",   "data.label", "data.channels",
      "data.contexts",  "data.normalisation", "context.",   "sampler.",
      "optimizer.name", "optimizer.frozen",   "method"};
  if (key == "model.weights") return false;
  if (key.starts_with("model.")) return true;
  for (const std::string_view known : kKeys) {
    if (known.ends_with('.') ? key.starts_with(known) : key == known) return true;
  }
  const method::Entry* const method = method_of_option(key);
  if (method == nullptr || !method->options_may_change) return method != nullptr;
  const std::span<const std::string_view> fixed = method->fixed_options;
  return std::find(fixed.begin(), fixed.end(), key.substr(method->name.size() + 1)) != fixed.end();
}

/// Says nothing of how training goes on.
bool is_place(std::string_view key) {
  return key == "run_dir" || key == "resume" || key == "data.path" || key == "model.weights" ||
         key.starts_with("train.trace.");
}

void remove_run(const RunFolder& folder) {
  for (const fs::path& entry :
       {folder.config(), folder.metrics(), folder.log(), folder.weights(), folder.best_weights(),
        folder.report(), folder.trace(), folder.resumed_from(), folder.checkpoints(),
        folder.path / "knn.jsonl", folder.path / "linear_probe.jsonl", folder.path / "mlp_probe.jsonl",
        folder.path / "explain", folder.tensorboard(), folder.views(), folder.pictures(), folder.failure()}) {
    std::error_code error;
    fs::remove_all(entry, error);
    if (error)
      throw DataError({fmt::format("cannot remove the earlier run: {}", error.message()), entry.string(),
                       disk_remedy(error.value())});
  }
}

/// Links, FIFOs and devices in the place of what a run writes, before anything is trained.
void refuse_special_files(const RunFolder& folder) {
  for (const fs::path& each : {folder.checkpoints(), folder.tensorboard(), folder.failure()})
    refuse_no_folder(each);
  for (const fs::path& each :
       {folder.config(), folder.metrics(), folder.log(), folder.weights(), folder.best_weights(),
        folder.report(), folder.trace(), folder.resumed_from(), folder.views(), folder.pictures()})
    refuse_no_file(each);
}

void refuse_existing_run(const RunConfig& config, const RunFolder& folder, const checkpoint::Store& store) {
  if (!fs::exists(folder.metrics()) && !store.latest()) return;
  throw UsageError(
      {fmt::format("the run folder already holds a run, and resume is '{}'", config.resume),
       folder.path.string(),
       "set resume=auto to go on with it, choose another run_dir, or give --overwrite to remove it"});
}

Start start_from_path(const RunConfig& config) {
  const auto checkpoint = checkpoint::locate(config.resume);
  if (!checkpoint) {
    throw UsageError({fmt::format("resume is '{}', which is no checkpoint", config.resume), "resume",
                      "set it to auto, never, or a folder such as runs/NAME/checkpoints/step-00001200"});
  }
  return {checkpoint->step, checkpoint->folder};
}

/// On one rank: makes the folder ready, and finds the checkpoint that config.resume names.
Start prepare_folder(const RunConfig& config, bool overwrite, const RunFolder& folder,
                     const checkpoint::Store& store) {
  if (overwrite && config.resume != "auto" && config.resume != "never") {
    throw UsageError({"--overwrite and resume=PATH together could remove the checkpoint to go on from",
                      folder.path.string(), "choose another run_dir"});
  }
  make_writable_folder(folder.path);
  if (overwrite) remove_run(folder);
  refuse_special_files(folder);
  if (config.resume == "auto") return {};
  refuse_existing_run(config, folder, store);
  return config.resume == "never" ? Start{} : start_from_path(config);
}

void tell_unfinished(const checkpoint::Store& store) {
  for (const std::string& name : store.unfinished())
    log_info(fmt::format("{} is left from a save that did not end; it is not used", name));
}

/// "…: tensor 'a' …; tensor 'b' …", of many the first ones.
std::string damage_text(const fs::path& checkpoint, const std::vector<std::string>& damage) {
  constexpr std::size_t kShown = 8;
  const std::span shown = std::span(damage).first(std::min(kShown, damage.size()));
  std::string text = fmt::format("{} is damaged: {}", checkpoint.string(), join(shown, "; "));
  if (damage.size() > kShown) text += fmt::format("; and {} more", damage.size() - kShown);
  return text;
}

/// Collective. The newest checkpoint that is as it was saved; every newer one is named. A new run when there
/// is none at all.
Start newest_intact(const RunFolder& folder, comm::Communicator& ranks) {
  checkpoint::Store store(folder.checkpoints(), ranks);
  std::vector<std::int64_t> steps;
  if (ranks.rank() == 0) {
    tell_unfinished(store);
    steps = store.steps();
  }
  std::string damaged;
  for (std::size_t i = 0;; ++i) {
    const std::int64_t step = ranks.max(i < steps.size() ? steps[i] : std::int64_t{-1});
    if (step < 0) break;
    const auto damage = store.damage(step);
    if (damage.empty()) return {step, folder.checkpoints()};
    const std::string text = damage_text(store.path_of(step), damage);
    log_warning(text);
    damaged += (damaged.empty() ? "" : "; ") + text;
  }
  if (damaged.empty()) return {};
  ranks.agree(std::make_exception_ptr(
      DataError({fmt::format("the run has no intact checkpoint: {}", damaged), folder.path.string(),
                 "restore a checkpoint from a copy, or give --overwrite to begin again"})));
  return {};
}

/// What the checkpoint's dataset and the run's know differently. Statistics count where they are used.
std::vector<std::string> data_differences(const checkpoint::Meta& meta, const RunConfig& config,
                                          const Material& material) {
  std::vector<std::string> found;
  if (meta.dataset != material.identity)
    found.push_back(fmt::format("dataset: {} -> {}", meta.dataset, material.identity));
  if (meta.trained_on.empty()) return found;
  data::Signature before = data::parse_signature(meta.trained_on, "meta.json of the checkpoint");
  if (config.data.normalisation != augment::Normalisation::dataset)
    before.mean.clear(), before.deviation.clear();
  for (std::string& difference : data::differences(before, material.signature))
    found.push_back(std::move(difference));
  return found;
}

/// A longer run has another schedule.
void tell_learning_rate(const RunConfig& before, const RunConfig& now, std::int64_t step,
                        std::int64_t steps_per_epoch) {
  const std::int64_t old_steps = planned_steps(before, steps_per_epoch),
                     steps = planned_steps(now, steps_per_epoch);
  if (step >= steps) return;
  const double old_rate = learning_rate(before, std::min(step, old_steps), old_steps, steps_per_epoch),
               rate = learning_rate(now, step, steps, steps_per_epoch);
  if (std::abs(rate - old_rate) <= kSameRate * old_rate) return;
  log_warning(fmt::format(
      "the learning rate jumps at step {}: {:.3g} by the checkpoint's schedule of {} steps, {:.3g} "
      "by the new one of {}",
      step + 1, old_rate, old_steps, rate, steps));
}

void check_fit(const RunConfig& config, const RunFolder& folder, const Start& start, const Material& material,
               comm::Communicator& ranks) {
  const checkpoint::Store store(start.checkpoints, ranks);
  const checkpoint::Meta meta = store.contents(start.step).meta;
  write_file_atomically(folder.resumed_from(), meta.config);
  const RunConfig before = load_run_config(folder.resumed_from());
  Differences found = differences(before, config);
  const std::vector<std::string> of_data = data_differences(meta, config, material);
  found.forbidden.insert(found.forbidden.begin(), of_data.begin(), of_data.end());
  if (!found.forbidden.empty()) {
    throw UsageError(
        {fmt::format("the configuration does not fit the checkpoint: {}", join(found.forbidden, "; ")),
         store.path_of(start.step).string(),
         "restore the values, or train a new run: another run_dir, or --overwrite"});
  }
  for (const std::string& change : found.allowed) log_info("changed since the checkpoint: " + change);
  if (start.step > 0) tell_learning_rate(before, config, start.step, material.steps_per_epoch);
}

}  // namespace

Material material_of(const RunConfig& config, const TrainingData& data) {
  return {dataset_identity(data.dataset().description(), config.data.train_split),
          signature_of(config, data.dataset()), data.steps_per_epoch()};
}

RunConfig config_from(const Start& start, RunConfig config) {
  if (!start.checkpoints.empty()) config.model.weights.clear();
  return config;
}

Differences differences(const RunConfig& before, const RunConfig& now) {
  RunConfig old_values = before, new_values = now;
  const config::Fields old_fields(old_values), new_fields(new_values);
  Differences found;
  for (std::size_t i = 0; i < old_fields.list().size(); ++i) {
    const config::Field& field = old_fields.list()[i];
    const auto old_text = field.get(), new_text = new_fields.list()[i].get();
    if (old_text == new_text || is_place(field.key) || is_of_another_method(field.key, now)) continue;
    auto& list = must_match(field.key) ? found.forbidden : found.allowed;
    list.push_back(fmt::format("{}: {} -> {}", field.key, join(old_text, ","), join(new_text, ",")));
  }
  return found;
}

Start choose_start(const RunConfig& config, bool overwrite, const Material& material,
                   comm::Communicator& ranks) {
  const RunFolder folder{config.run_dir};
  Start start;
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    start = prepare_folder(config, overwrite, folder, checkpoint::Store(folder.checkpoints(), ranks));
  });
  if (config.resume == "auto") {
    start = newest_intact(folder, ranks);
  } else {
    start.step = ranks.max(start.step);
    start.checkpoints = ranks.broadcast_text(start.checkpoints.string());
  }
  comm::together(ranks, [&] {
    if (ranks.rank() == 0 && !start.checkpoints.empty()) check_fit(config, folder, start, material, ranks);
  });
  return start;
}

}  // namespace cohort::train

#include "train/run_folder.h"

#include <array>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "cohort/config/load.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;

/// What decides the meaning of a step and the shapes of the weights.
bool must_match(std::string_view key) {
  static constexpr std::array<std::string_view, 7> kKeys{"seed",          "data.train_split",   "data.label",
                                                         "data.contexts", "data.normalisation", "context.",
                                                         "sampler."};
  if (key == "model.weights") return false;
  if (key.starts_with("model.")) return true;
  for (const std::string_view known : kKeys) {
    if (known.ends_with('.') ? key.starts_with(known) : key == known) return true;
  }
  return false;
}

/// Says nothing of how training goes on.
bool is_place(std::string_view key) {
  return key == "run_dir" || key == "resume" || key == "data.path" || key == "model.weights";
}

std::optional<std::int64_t> step_of(const fs::path& checkpoint) {
  const std::string name = checkpoint.filename().string();
  constexpr std::string_view prefix = "step-";
  if (!name.starts_with(prefix) || name.size() == prefix.size()) return std::nullopt;
  if (name.find_first_not_of("0123456789", prefix.size()) != std::string::npos) return std::nullopt;
  return std::stoll(name.substr(prefix.size()));
}

void remove_run(const RunFolder& folder) {
  for (const fs::path& entry : {folder.config(), folder.metrics(), folder.log(), folder.weights(),
                                folder.report(), folder.resumed_from(), folder.checkpoints()}) {
    std::error_code error;
    fs::remove_all(entry, error);
    if (error)
      throw DataError({fmt::format("cannot remove the earlier run: {}", error.message()), entry.string(),
                       "check the permissions"});
  }
}

void refuse_existing_run(const RunConfig& config, const RunFolder& folder, const checkpoint::Store& store) {
  if (!fs::exists(folder.metrics()) && !store.latest()) return;
  throw UsageError(
      {fmt::format("the run folder already holds a run, and resume is '{}'", config.resume),
       folder.path.string(),
       "set resume=auto to go on with it, choose another run_dir, or give --overwrite to remove it"});
}

Start start_from_path(const RunConfig& config) {
  fs::path checkpoint = config.resume;
  if (!checkpoint.has_filename()) checkpoint = checkpoint.parent_path();
  const std::optional<std::int64_t> step = step_of(checkpoint);
  if (!step || !fs::is_directory(checkpoint)) {
    throw UsageError({fmt::format("resume is '{}', which is no checkpoint", config.resume), "resume",
                      "set it to auto, never, or a folder such as runs/NAME/checkpoints/step-00001200"});
  }
  return {*step, checkpoint.parent_path()};
}

Start find_start(const RunConfig& config, bool overwrite, const RunFolder& folder,
                 comm::Communicator& ranks) {
  if (overwrite && config.resume != "auto" && config.resume != "never") {
    throw UsageError({"--overwrite and resume=PATH together could remove the checkpoint to go on from",
                      folder.path.string(), "choose another run_dir"});
  }
  if (overwrite) remove_run(folder);
  const checkpoint::Store store(folder.checkpoints(), ranks, config.checkpoint.keep_last);
  if (config.resume == "auto") {
    const auto latest = store.latest();
    return latest ? Start{*latest, folder.checkpoints()} : Start{};
  }
  refuse_existing_run(config, folder, store);
  return config.resume == "never" ? Start{} : start_from_path(config);
}

void check_fit(const RunConfig& config, const RunFolder& folder, const Start& start,
               const std::string& dataset, comm::Communicator& ranks) {
  const checkpoint::Store store(start.checkpoints, ranks, config.checkpoint.keep_last);
  const std::string where = store.path_of(start.step).string();
  const std::string fix = "restore the values, or train a new run: another run_dir, or --overwrite";
  const checkpoint::Meta meta = store.read_meta(start.step);
  if (meta.dataset != dataset) {
    throw UsageError(
        {fmt::format("the checkpoint was trained on another dataset ({}, now {})", meta.dataset, dataset),
         where, fix});
  }
  write_file_atomically(folder.resumed_from(), meta.config);
  const Differences found = differences(load_run_config(folder.resumed_from()), config);
  if (!found.forbidden.empty()) {
    throw UsageError(
        {fmt::format("the configuration does not fit the checkpoint: {}", join(found.forbidden, "; ")), where,
         fix});
  }
  for (const std::string& change : found.allowed) log_info("changed since the checkpoint: " + change);
}

}  // namespace

Differences differences(const RunConfig& before, const RunConfig& now) {
  RunConfig old_values = before, new_values = now;
  const config::Fields old_fields(old_values), new_fields(new_values);
  Differences found;
  for (std::size_t i = 0; i < old_fields.list().size(); ++i) {
    const config::Field& field = old_fields.list()[i];
    const auto old_text = field.get(), new_text = new_fields.list()[i].get();
    if (old_text == new_text || is_place(field.key)) continue;
    auto& list = must_match(field.key) ? found.forbidden : found.allowed;
    list.push_back(fmt::format("{}: {} -> {}", field.key, join(old_text, ","), join(new_text, ",")));
  }
  return found;
}

Start choose_start(const RunConfig& config, bool overwrite, const std::string& dataset,
                   comm::Communicator& ranks) {
  Start start;
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    const RunFolder folder{config.run_dir};
    make_writable_folder(folder.path);
    start = find_start(config, overwrite, folder, ranks);
    if (!start.checkpoints.empty()) check_fit(config, folder, start, dataset, ranks);
  });
  start.step = ranks.max(start.step);
  start.checkpoints = ranks.broadcast_text(start.checkpoints.string());
  return start;
}

}  // namespace cohort::train

#include "study_runs.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/session.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/data/description.h"
#include "cohort/train/columns.h"
#include "cohort/train/metrics.h"
#include "cohort/train/run_owner.h"
#include "cohort/train/trainer.h"

#include "comm/failure.h"
#include "data_prep/folds.h"
#include "finetune.h"
#include "model_source.h"
#include "probe.h"
#include "run_scores.h"
#include "study_plan.h"
#include "support/json.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

constexpr const char *kProgram = "cohort downstream", *kProbeFile = "linear_probe.jsonl";

// ---- what runs need

void write_encoder(const StudyEncoder& encoder, const fs::path& file, comm::Communicator& ranks) {
  const std::string run = run_of_encoder(encoder);
  const fs::path checkpoints = fs::path(run) / "checkpoints";
  const checkpoint::Store store(checkpoints, ranks);
  const auto named = checkpoint::locate(encoder.from);
  make_writable_folder(file.parent_path());
  export_encoder(store, {checkpoints, named ? named->step : chosen_step("", store, run)}, "", file);
}

/// The label that folds have in the same ratio; empty: the dataset has none to choose.
std::string stratified_label(const train::RunConfig& config, const data::Description& description) {
  if (!config.data.label.empty()) return config.data.label;
  return description.labels.size() == 1 ? description.labels.front().name : "";
}

/// Fold `fold` is tested; of the rest about as many images as a fold has are for validation.
data_prep::DivisionOptions division_of(const Study& study, const StudyTask& task, std::int64_t fold,
                                       const std::string& label) {
  constexpr std::int64_t kWhole = 1'000'000'000;
  const std::int64_t validation = kWhole / (study.folds - 1);
  data_prep::DivisionOptions division;
  division.folds = study.folds;
  division.fold = fold;
  division.fractions = fmt::format("train=0.{:09},val=0.{:09}", kWhole - validation, validation);
  division.stratify = label;
  division.group_by = study.fold_by;
  division.seed = task.seed;
  return division;
}

void write_folds(const Study& study, const StudyTask& task, const fs::path& out, comm::Communicator& ranks) {
  const train::RunConfig config = train::load_run_config(task_file(out, task));
  const std::string label = stratified_label(config, data::Description::read(config.data.path, ranks));
  for (std::int64_t fold = 0; fold < study.folds; ++fold)
    data_prep::write_fold(config.data.path, division_of(study, task, fold, label),
                          fold_folder(out, task, fold), ranks);
}

// ---- the state of runs

bool has_ended(const StudyCell& cell, const fs::path& folder) {
  if (cell.group.mode == StudyMode::probe) return fs::exists(folder / kProbeFile);
  const fs::path metrics = folder / "metrics.jsonl";
  return fs::exists(metrics) && train::end_of_run(metrics).has_value();
}

std::optional<RunScore> score_of_cell(const Study& study, const fs::path& out, const StudyCell& cell,
                                      const std::string& score) {
  const fs::path folder = out / cell_name(study, cell);
  if (!has_ended(cell, folder)) return std::nullopt;
  if (cell.group.mode == StudyMode::probe) return score_of_probe(folder / kProbeFile, score);
  return best_score_of_run(folder / "metrics.jsonl", score);
}

fs::path rate_file(const Study& study, const fs::path& out, const StudyGroup& group) {
  return out / group_name(study, group) / "rate.json";
}

/// What the search of a group ended with, once that is settled; empty: it is not.
std::string settled_rate(const Study& study, const fs::path& out, const StudyGroup& group) {
  const fs::path file = rate_file(study, out, group);
  if (!fs::exists(file)) return "";
  const Json json = Json::parse(read_file(file, kMostSettings, Links::refuse), nullptr, false);
  if (json.is_object() && json.contains("rate") && json.at("rate").is_string()) return json.at("rate");
  throw DataError({"not the record of a chosen learning rate", file.string(),
                   "remove it: the rate is chosen again from the runs of the search"});
}

std::vector<StudyCell> search_of(const Study& study, const StudyGroup& group) {
  std::vector<StudyCell> cells = search_cells(study);
  std::erase_if(cells, [&](const StudyCell& cell) {
    return group_name(study, cell.group) != group_name(study, group);
  });
  return cells;
}

/// The rate of the run of the search with the best score; of equal ones the first. From then on it stays.
std::string settle_rate(const Study& study, const fs::path& out, const StudyGroup& group) {
  if (std::string rate = settled_rate(study, out, group); !rate.empty()) return rate;
  const StudyTask& task = study.tasks[group.task];
  std::optional<RunScore> best;
  std::string chosen;
  for (const StudyCell& cell : search_of(study, group)) {
    const auto score = score_of_cell(study, out, cell, task.by);
    const bool is_better =
        score &&
        (!best || (score->lower_is_better ? score->value < best->value : score->value > best->value));
    if (!is_better) continue;
    best = score;
    chosen = cell.rate;
  }
  if (!best) {
    throw DataError({fmt::format("no run of the search for a learning rate has a score '{}'", task.by),
                     group_name(study, group),
                     "see why they failed, or search among other rates (--lr-search)"});
  }
  write_file_atomically(
      rate_file(study, out, group),
      Json{{"rate", chosen}, {"by", task.by}, {"score", nine_digits(best->value)}}.dump() + "\n");
  return chosen;
}

/// Where every run of the search has ended.
void settle_rates(const Study& study, const fs::path& out) {
  for (const StudyGroup& group : groups_of(study)) {
    const std::vector<StudyCell> cells = search_of(study, group);
    const auto scored = [&](const StudyCell& cell) {
      return score_of_cell(study, out, cell, study.tasks[group.task].by).has_value();
    };
    if (!cells.empty() && std::all_of(cells.begin(), cells.end(), scored))
      (void)settle_rate(study, out, group);
  }
}

// ---- one run

ExitCode train_cell(const train::RunConfig& config, comm::Communicator& ranks) {
  const auto owner = train::own_run(config.run_dir, kProgram, ranks);
  comm::Session::set_timeout(config.comm.timeout);
  return train::Trainer(config, ranks).run();
}

/// Features of the encoder as it is; the rates of the probe are its own.
ExitCode probe_cell(const Study& study, const fs::path& out, const StudyCell& cell,
                    comm::Communicator& ranks) {
  const StudyEncoder& encoder = study.encoders[cell.group.encoder];
  const StudyTask& task = study.tasks[cell.group.task];
  const train::RunConfig config = train::load_run_config(task_file(out, task));
  const fs::path data = cell.fold ? fold_folder(out, task, *cell.fold) : config.data.path;
  const data::Description description = data::Description::read(data, ranks);
  const fs::path folder = out / cell_name(study, cell);
  ProbeOptions options;
  options.features.model.weights = encoder_file(out, encoder).string();
  options.features.model.data = data.string();
  options.features.model.overrides = {
      fmt::format("seed={}", task.seed + static_cast<std::uint64_t>(cell.run))};
  options.features.out = (folder / kProbeFile).string();
  comm::together(ranks, [&] {
    options.features.model.config =
        encoder.is_file() ? task_file(out, task).string() : config_of_run(run_of_encoder(encoder)).string();
    options.features.of = train::scored_column(config, description);
    if (ranks.rank() == 0) make_writable_folder(folder);
  });
  if (cell.fold) {
    options.features.train_split = "train";
    options.features.splits = {"val", "test"};
  } else {
    options.features.train_split = config.data.train_split;
    options.features.splits = config.eval.splits;
  }
  options.select_on = task.by.substr(0, task.by.find('/'));
  return probe_features(options, ranks);
}

/// Collective.
ExitCode run_one(const Study& study, const fs::path& out, const StudyCell& cell, comm::Communicator& ranks) {
  std::string rate = cell.rate;
  std::int64_t ended = 0;
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    ended = has_ended(cell, out / cell_name(study, cell)) ? 1 : 0;
    if (ended == 0 && rate.empty() && searches(study, cell.group)) rate = settle_rate(study, out, cell.group);
  });
  if (ranks.max(ended) == 1) return ExitCode::done;
  rate = ranks.broadcast_text(rate);
  if (cell.group.mode == StudyMode::probe) return probe_cell(study, out, cell, ranks);
  std::optional<train::RunConfig> config;
  comm::together(ranks, [&] { config = config_of_cell(study, out, cell, rate); });
  return train_cell(*config, ranks);
}

/// Whether all ranks have thrown this, so that they can go on together.
bool is_of_all_ranks(const Error& error, comm::Communicator& ranks) {
  if (error.exit_code() == ExitCode::rank_failed || error.exit_code() == ExitCode::out_of_memory)
    return false;
  return ranks.size() == 1 || error.exit_code() == ExitCode::numerical ||
         comm::describe(std::current_exception()).agreed;
}

struct FailedCell {
  std::string name;
  ExitCode code;
  std::string what;
};

FailedRuns failed_runs(const std::vector<FailedCell>& failed, std::size_t cells, const fs::path& out) {
  std::vector<std::string> texts;
  for (const FailedCell& each : failed) texts.push_back(fmt::format("{}: {}", each.name, each.what));
  return {failed.front().code,
          {fmt::format("{} of {} runs failed: {}", failed.size(), cells, join(texts, "; ")), out.string(),
           "mend what the messages say; the same command makes these runs alone"}};
}

}  // namespace

void prepare_study(const Study& study, const fs::path& out, comm::Communicator& ranks) {
  for (const StudyEncoder& encoder : study.encoders) {
    const fs::path file = encoder_file(out, encoder);
    comm::together(ranks, [&] {
      if (ranks.rank() == 0 && !encoder.is_random() && !fs::exists(file)) write_encoder(encoder, file, ranks);
    });
  }
  if (study.folds == 0) return;
  for (const StudyTask& task : study.tasks) write_folds(study, task, out, ranks);
}

ExitCode run_cell(const Study& study, const fs::path& out, const std::string& name,
                  comm::Communicator& ranks) {
  std::optional<StudyCell> cell;
  comm::together(ranks, [&] { cell = cell_named(study, name); });
  return run_one(study, out, *cell, ranks);
}

ExitCode run_study(const Study& study, const fs::path& out, comm::Communicator& ranks) {
  std::vector<StudyCell> cells = search_cells(study);
  const std::vector<StudyCell> runs = run_cells(study);
  cells.insert(cells.end(), runs.begin(), runs.end());
  std::vector<FailedCell> failed;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string name = cell_name(study, cells[i]);
    log_info(fmt::format("run {} of {}: {}", i + 1, cells.size(), name));
    try {
      if (run_one(study, out, cells[i], ranks) == ExitCode::stopped) return ExitCode::stopped;
    } catch (const Error& error) {
      if (!is_of_all_ranks(error, ranks)) throw;
      log_warning(fmt::format("{} failed: {}", name, error.text().what));
      failed.push_back({name, error.exit_code(), error.text().what});
    }
  }
  if (!failed.empty()) throw failed_runs(failed, cells.size(), out);
  return ExitCode::done;
}

std::vector<GroupResult> results_of(const Study& study, const fs::path& out) {
  settle_rates(study, out);
  std::vector<GroupResult> results;
  for (const StudyGroup& group : groups_of(study)) {
    GroupResult result{group, searches(study, group) ? settled_rate(study, out, group) : "", false, {}};
    const auto add = [&](const StudyCell& cell) {
      const auto score = score_of_cell(study, out, cell, study.tasks[group.task].score);
      if (!score || !std::isfinite(score->value)) return;
      result.lower_is_better = score->lower_is_better;
      result.scores[{cell.run, cell.fold.value_or(0)}] = score->value;
    };
    for (const StudyCell& cell : search_of(study, group)) {
      if (cell.rate == result.rate) add(cell);
    }
    for (const StudyCell& cell : run_cells(study)) {
      if (group_name(study, cell.group) == group_name(study, group)) add(cell);
    }
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace cohort::jobs

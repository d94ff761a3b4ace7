#include "study_plan.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "cohort/checkpoint/store.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/data/description.h"
#include "cohort/nn/encoders.h"

#include "finetune.h"
#include "model_source.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

constexpr const char *kStudyFile = "study.json", *kTestSplit = "test", *kValidationSplit = "val";

fs::path study_file(const fs::path& out) {
  return out / kStudyFile;
}

// ---- names

/// "b" and "runs/x" of "b=runs/x".
std::pair<std::string, std::string> named(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || fs::exists(text)) return {"", text};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

/// Part of a path below the study.
void check_name(const std::string& name, const std::string& option) {
  if (!name.empty() && name != "." && name != ".." && fs::path(name).filename() == name) return;
  throw UsageError(
      {fmt::format("'{}' cannot be the name of a folder", name), option, "give another one: NAME=PATH"});
}

template <class Named>
void check_names(const std::vector<Named>& all, const std::string& option) {
  std::set<std::string> names;
  for (const Named& each : all) {
    check_name(each.name, option);
    if (names.insert(each.name).second) continue;
    throw UsageError({fmt::format("two of them are called '{}'", each.name), option,
                      "give one of them another name: NAME=PATH"});
  }
}

// ---- encoders

std::string contexts_of(const train::RunConfig& config) {
  if (config.context.keys.empty()) return "";
  return fmt::format("{}, {}", join(config.context.keys, " "),
                     config::enum_name(config.context.amortization));
}

std::string absolute(const std::string& path) {
  std::string text = fs::absolute(path).lexically_normal().string();
  if (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

StudyEncoder encoder_of(const std::string& text) {
  auto [name, from] = named(text);
  StudyEncoder encoder{name, from == "random" ? from : absolute(from), ""};
  if (encoder.is_random() || encoder.is_file()) {
    if (encoder.is_file()) (void)open_file(encoder.from);
    if (name.empty()) encoder.name = fs::path(encoder.from).stem().string();
    encoder.contexts = "of the task";  // whose model it takes
    return encoder;
  }
  const std::string run = run_of_encoder(encoder);
  encoder.contexts = contexts_of(train::load_run_config(config_of_run(run)));
  if (name.empty())
    encoder.name = fs::path(run).filename().string() +
                   (run == encoder.from ? "" : "," + fs::path(encoder.from).filename().string());
  return encoder;
}

// ---- tasks

/// Splits that the runs of a task are scored on.
std::vector<std::string> scored_splits(const train::RunConfig& config, std::int64_t folds) {
  if (folds > 0) return {kValidationSplit, kTestSplit};
  if (!config.eval.splits.empty()) return config.eval.splits;
  std::vector<std::string> names;
  for (const data::Split& split : data::Description::read(config.data.path).splits) {
    if (split.name != config.data.train_split && split.rows() > 0) names.push_back(split.name);
  }
  return names;
}

/// That a score is of: "test/auc". Of "far" and "far/away" the longer one. Empty: of none.
std::string split_of_score(const std::string& score, const std::vector<std::string>& splits) {
  std::string found;
  for (const std::string& split : splits) {
    if (score.starts_with(split + "/") && split.size() > found.size()) found = split;
  }
  return found;
}

/// That of checkpoint.best_by on a split that did not choose.
std::string score_to_show(const std::string& by, const std::vector<std::string>& splits,
                          const std::string& config) {
  const std::string chooses = split_of_score(by, splits);
  std::vector<std::string> others;
  std::copy_if(splits.begin(), splits.end(), std::back_inserter(others),
               [&](const std::string& split) { return split != chooses; });
  const bool has_test = std::find(others.begin(), others.end(), kTestSplit) != others.end();
  if (others.size() > 1 && !has_test) {
    throw UsageError(
        {fmt::format("several splits could be the one that the tables show: {}", join(others, ", ")), config,
         fmt::format("give --score, for example --score {}{}", others[0], by.substr(chooses.size()))});
  }
  if (others.empty()) {
    log_warning(fmt::format(
        "{}: {} chooses evaluations and is shown as well: what the tables say is too good", config, by));
    return by;
  }
  return (has_test ? kTestSplit : others[0]) + by.substr(chooses.size());
}

void check_splits(const StudyTask& task, const std::vector<std::string>& splits, const std::string& config) {
  for (const std::string& score : {task.by, task.score}) {
    if (!split_of_score(score, splits).empty()) continue;
    throw UsageError({fmt::format("'{}' is of no split that runs are scored on", score), config,
                      splits.empty()
                          ? "the dataset needs a split besides the one to train on: cohort-data split, "
                            "or --folds"
                          : fmt::format("the splits are {}: set checkpoint.best_by and --score to "
                                        "scores of them",
                                        join(splits, ", "))});
  }
}

StudyTask task_of(const std::string& name, const train::RunConfig& config, const StudyOptions& options,
                  const std::string& file) {
  if (config.checkpoint.best_by.empty()) {
    throw UsageError({"checkpoint.best_by is empty: nothing says which evaluation of a run counts", file,
                      "set it to a score of a split to choose by, for example --set "
                      "checkpoint.best_by=val/accuracy"});
  }
  if (config.resume != "auto") {
    throw UsageError(
        {fmt::format("resume is '{}', so that a study that was killed could not go on", config.resume), file,
         "set resume=auto"});
  }
  const std::vector<std::string> splits = scored_splits(config, options.folds);
  StudyTask task{name, config.checkpoint.best_by, options.score, config.seed};
  check_splits({name, task.by, task.by, 0}, splits, file);
  if (task.score.empty()) task.score = score_to_show(task.by, splits, file);
  check_splits(task, splits, file);
  return task;
}

struct PlannedTask {
  StudyTask task;
  std::string config;  ///< with all that the command line sets, as YAML
};

PlannedTask plan_task(const std::string& text, const StudyOptions& options) {
  const auto [name, file] = named(text);
  train::RunConfig config = train::load_run_config(file, options.set);
  config.run_dir.clear();
  const std::string own = name.empty() ? fs::path(file).stem().string() : name;
  return {task_of(own, config, options, file), train::dump_with_absolute_paths(config)};
}

// ---- the whole

void check_counts(const StudyOptions& options) {
  if (options.from.empty()) {
    throw UsageError({"there is no encoder to study", "--from",
                      "name runs, checkpoints or weights: --from runs/a runs/b random"});
  }
  if (!options.fold_by.empty() && options.folds == 0)
    throw UsageError({"there are no folds to group", "--fold-by", "add --folds, for example --folds 5"});
  for (const std::string& assignment : options.set) {
    if (!assignment.starts_with("run_dir=")) continue;
    throw UsageError({"run_dir cannot be set: every run has a folder of its own", "--set", "leave it out"});
  }
}

/// Runs that ended are not repeated, so that what they were made from has to stay.
void check_goes_on(const Study& before, const Study& now, const std::vector<PlannedTask>& tasks,
                   const fs::path& out) {
  const auto refuse = [&](const std::string& what) {
    throw UsageError({fmt::format("the folder holds another study: {}", what), out.string(),
                      "begin this one in another folder (--out), or go on with that one as it was"});
  };
  if (before.folds != now.folds || before.fold_by != now.fold_by) refuse("its folds are others");
  if (before.set != now.set) refuse("its --set was another");
  for (const StudyEncoder& encoder : now.encoders) {
    for (const StudyEncoder& known : before.encoders) {
      if (known.name == encoder.name && known.from != encoder.from)
        refuse(fmt::format("'{}' is {} there", known.name, known.from));
    }
  }
  for (const PlannedTask& each : tasks) {
    const fs::path file = task_file(out, each.task);
    if (fs::exists(file) && read_file(file, kMostSettings, Links::refuse) != each.config)
      refuse(fmt::format("the configuration '{}' was another", each.task.name));
  }
}

/// Everything that a configuration can be refused for without its data.
void check_cells(const Study& study, const fs::path& out) {
  std::set<std::string> seen;
  for (const auto& cells : {search_cells(study), run_cells(study)}) {
    for (const StudyCell& cell : cells) {
      if (cell.group.mode != StudyMode::probe &&
          seen.insert(group_name(study, cell.group) + cell.rate).second)
        (void)config_of_cell(study, out, cell, cell.rate);
    }
  }
}

/// Configurations, which are removed again where they are new and the study is not to be.
class WrittenTasks {
 public:
  WrittenTasks(const std::vector<PlannedTask>& tasks, const fs::path& out) {
    make_writable_folder(out / "tasks");
    for (const PlannedTask& each : tasks) {
      const fs::path file = task_file(out, each.task);
      if (!fs::exists(file)) new_.push_back(file);
      write_file_atomically(file, each.config);
    }
  }
  WrittenTasks(const WrittenTasks&) = delete;
  WrittenTasks& operator=(const WrittenTasks&) = delete;
  ~WrittenTasks() {
    std::error_code ignored;
    for (const fs::path& file : new_) fs::remove(file, ignored);
  }
  void keep() { new_.clear(); }

 private:
  std::vector<fs::path> new_;
};

/// How an encoder that is trained with a head alone computes: as in evaluation.
std::vector<std::string> frozen_encoder(const train::RunConfig& like) {
  std::vector<std::string> assignments{"optimizer.frozen=[encoder]", "model.dropout=0", "model.drop_path=0"};
  train::RunConfig copy = like;
  const std::string key = fmt::format("model.{}.batch_norm", nn::encoder_family(like.model.name).section);
  if (config::Fields(copy).find(key) != nullptr) assignments.push_back(key + "=frozen");
  return assignments;
}

/// What the cell changes, behind all else.
std::vector<std::string> own_values(const Study& study, const fs::path& out, const StudyCell& cell,
                                    const std::string& rate) {
  const StudyTask& task = study.tasks[cell.group.task];
  const StudyEncoder& encoder = study.encoders[cell.group.encoder];
  std::vector<std::string> values{
      "run_dir=" + (out / cell_name(study, cell)).string(),
      fmt::format("seed={}", task.seed + static_cast<std::uint64_t>(cell.run)),
      "model.weights=" + (encoder.is_random() ? "" : encoder_file(out, encoder).string())};
  if (!rate.empty()) values.push_back("optimizer.lr=" + rate);
  if (cell.fold) {
    values.push_back("data.path=" + fold_folder(out, task, *cell.fold).string());
    values.insert(values.end(), {"data.train_split=train",
                                 fmt::format("eval.splits=[{},{}]", kValidationSplit, kTestSplit)});
  }
  return values;
}

}  // namespace

fs::path encoder_file(const fs::path& out, const StudyEncoder& encoder) {
  return encoder.is_file() ? fs::path(encoder.from) : out / "encoders" / (encoder.name + ".safetensors");
}

fs::path task_file(const fs::path& out, const StudyTask& task) {
  return out / "tasks" / (task.name + ".yaml");
}

fs::path fold_folder(const fs::path& out, const StudyTask& task, std::int64_t fold) {
  return out / "folds" / fmt::format("{}-{}", task.name, fold);
}

std::string run_of_encoder(const StudyEncoder& encoder) {
  if (const auto checkpoint = checkpoint::locate(encoder.from))
    return checkpoint->folder.parent_path().string();
  return encoder.from;
}

train::RunConfig config_of_cell(const Study& study, const fs::path& out, const StudyCell& cell,
                                const std::string& rate) {
  const fs::path file = task_file(out, study.tasks[cell.group.task]);
  const StudyEncoder& encoder = study.encoders[cell.group.encoder];
  std::vector<std::string> assignments;
  if (!encoder.is_random() && !encoder.is_file()) assignments = model_of_run(run_of_encoder(encoder));
  const auto add = [&](const std::vector<std::string>& more) {
    assignments.insert(assignments.end(), more.begin(), more.end());
  };
  add(study.set);
  add(own_values(study, out, cell, rate));
  if (cell.group.mode == StudyMode::frozen) add(frozen_encoder(train::load_run_config(file, assignments)));
  return train::load_run_config(file, assignments);
}

Study read_study(const fs::path& folder) {
  const fs::path file = study_file(folder);
  if (!fs::exists(file)) {
    throw DataError(
        {"the folder holds no study", folder.string(),
         "give the folder (--out) of cohort downstream, or begin one: cohort downstream CONFIG --from "
         "RUN --out FOLDER"});
  }
  return study_of_json(read_file(file, kMostSettings, Links::refuse), file);
}

Study plan_study(const StudyOptions& options) {
  const fs::path out = absolute(options.out);
  if (options.configs.empty()) return read_study(out);
  check_counts(options);
  Study study;
  study.rates = options.rates;
  study.runs = options.runs;
  study.folds = options.folds;
  study.fold_by = options.fold_by;
  study.set = options.set;
  for (const std::string& mode : options.modes) study.modes.push_back(mode_named(mode));
  for (const std::string& from : options.from) study.encoders.push_back(encoder_of(from));
  std::vector<PlannedTask> tasks;
  for (const std::string& config : options.configs) tasks.push_back(plan_task(config, options));
  for (const PlannedTask& each : tasks) study.tasks.push_back(each.task);
  check_names(study.encoders, "--from");
  check_names(study.tasks, "CONFIG");
  if (fs::exists(study_file(out))) check_goes_on(read_study(out), study, tasks, out);
  WrittenTasks written(tasks, out);
  check_cells(study, out);
  write_file_atomically(study_file(out), study_json(study));
  written.keep();
  return study;
}

}  // namespace cohort::jobs

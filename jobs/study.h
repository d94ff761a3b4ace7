#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace cohort::jobs {

/// What the runs of a study start from.
struct StudyEncoder {
  std::string name;
  std::string from;      ///< a run's folder, one of its checkpoints, a safetensors file, or "random"
  std::string contexts;  ///< "slide, mean_linear", "of the task"; empty: a plain model
  [[nodiscard]] bool is_random() const { return from == "random"; }
  [[nodiscard]] bool is_file() const { return from.ends_with(".safetensors"); }
};

/// A configuration, and what its runs are judged by.
struct StudyTask {
  std::string name;
  std::string by;          ///< checkpoint.best_by: chooses the evaluation of a run, and the learning rate
  std::string score;       ///< of that evaluation, which the tables show: "test/auc"
  std::uint64_t seed = 1;  ///< of the first run
};

/// How an encoder is used: its features judged by a linear classifier, trained with a head alone, or trained
/// as a whole.
enum class StudyMode { frozen, finetuned, probe };
std::string mode_name(StudyMode mode);
/// Throws UsageError.
StudyMode mode_named(const std::string& name);

/// Every encoder on every task in every mode, several times.
struct Study {
  std::vector<StudyEncoder> encoders;
  std::vector<StudyTask> tasks;
  std::vector<StudyMode> modes;
  std::vector<std::string> rates;  ///< to choose from, as they were written; empty: that of the configuration
  std::int64_t runs = 5;
  std::int64_t folds = 0;        ///< 0: the splits of the dataset
  std::string fold_by;           ///< context whose values are not divided; empty: none
  std::vector<std::string> set;  ///< KEY=VALUE, of all runs
};

/// An encoder on a task in a mode: indices.
struct StudyGroup {
  std::size_t encoder, task;
  StudyMode mode;
};

/// One run.
struct StudyCell {
  StudyGroup group;
  std::int64_t run = 0;              ///< 0 …; the seed is that of the task and this
  std::optional<std::int64_t> fold;  ///< which is tested
  std::string rate;  ///< of a search: optimizer.lr; empty: the chosen one, or the configuration's
};

/// All groups, task by task. A random encoder has no features that a probe reads.
std::vector<StudyGroup> groups_of(const Study& study);
/// Whether the learning rate of a group is searched: a probe has rates of its own.
bool searches(const Study& study, const StudyGroup& group);
/// One run a rate: the first one, with the first fold.
std::vector<StudyCell> search_cells(const Study& study);
/// All others. Where a rate is searched, the first run is that of the search with the rate that was chosen.
std::vector<StudyCell> run_cells(const Study& study);

/// "nuclei/contextvit/frozen/seed=2,fold=0", of a search "nuclei/contextvit/frozen/lr=1e-3": its folder below
/// that of the study.
std::string cell_name(const Study& study, const StudyCell& cell);
/// "nuclei/contextvit/frozen".
std::string group_name(const Study& study, const StudyGroup& group);
/// Throws UsageError: there is none of this name.
StudyCell cell_named(const Study& study, const std::string& name);

/// study.json.
std::string study_json(const Study& study);
/// Throws DataError naming `file`.
Study study_of_json(const std::string& text, const std::filesystem::path& file);

}  // namespace cohort::jobs

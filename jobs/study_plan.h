#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cohort/train/run_config.h"

#include "study.h"

namespace cohort::jobs {

/// A study as the command line has it.
struct StudyOptions {
  std::filesystem::path out;
  std::vector<std::string> configs, from, set, rates;
  std::vector<std::string> modes{"frozen", "finetuned"};
  std::string score, fold_by;
  std::int64_t runs = 5, folds = 0;
};

/// The study of these options, once all that can be known of its runs was checked: it is written to
/// study.json in its folder, and its configurations to tasks/. One that is there already is gone on with:
/// without configurations as it stands; with them it may have more encoders, tasks, modes, runs and rates
/// than before. One process calls it. Throws UsageError or DataError, and then leaves the folder as it was.
Study plan_study(const StudyOptions& options);

/// The study in a folder. Throws DataError: there is none.
Study read_study(const std::filesystem::path& folder);

/// Of the folder of a study.
std::filesystem::path encoder_file(const std::filesystem::path& out, const StudyEncoder& encoder);
std::filesystem::path task_file(const std::filesystem::path& out, const StudyTask& task);
std::filesystem::path fold_folder(const std::filesystem::path& out, const StudyTask& task, std::int64_t fold);

/// The run's folder of a path that names a run or one of its checkpoints.
std::string run_of_encoder(const StudyEncoder& encoder);

/// The configuration of a run of the study in `out`. `rate`: optimizer.lr; empty: that of the task. Throws
/// UsageError.
train::RunConfig config_of_cell(const Study& study, const std::filesystem::path& out, const StudyCell& cell,
                                const std::string& rate);

}  // namespace cohort::jobs

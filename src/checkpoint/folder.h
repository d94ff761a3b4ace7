#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cohort/checkpoint/store.h"

// The names in runs/<name>/checkpoints, and how they change. None of it is collective.
namespace cohort::checkpoint {

inline constexpr const char *kState = "state.h5", *kMeta = "meta.json", *kBest = "best";

std::string folder_name(std::int64_t step);
/// Where a checkpoint is written before it gets its name.
std::filesystem::path partial_of(const std::filesystem::path& target);

/// Steps of all folders of checkpoints, newest first; `complete`: those with a meta.json.
std::vector<std::int64_t> steps_in(const std::filesystem::path& folder, bool complete);
/// The step of the complete checkpoint that `best` names; nothing when there is no such file, it
/// is a link or damaged, or the checkpoint is gone.
std::optional<std::int64_t> step_named_by(const std::filesystem::path& pointer);
/// Has `best` name this checkpoint, or none.
void name_best(const std::filesystem::path& folder, std::optional<std::int64_t> step);
std::vector<std::filesystem::path> partial_paths(const std::filesystem::path& folder);

/// The text of a checkpoint's meta.json. Throws Damaged when the checkpoint's folder or one of its files is a
/// link, FIFO or device, DataError when it cannot be read.
std::string read_meta(const std::filesystem::path& checkpoint);

/// Makes the folder of checkpoints and an empty one to write the next into; removes what a killed run left.
void begin_checkpoint(const std::filesystem::path& folder, const std::filesystem::path& partial);
/// From the files in the partial folder to the newest checkpoint.
void publish(const Contents& contents, const std::filesystem::path& partial,
             const std::filesystem::path& target);
/// Removes what `keep` does not name. That a folder cannot be removed is logged and no error.
void remove_old(const std::filesystem::path& folder, std::int64_t written, Retention keep);

}  // namespace cohort::checkpoint

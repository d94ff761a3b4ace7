#include "folder.h"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <optional>
#include <stdio.h>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"

#include "catalogue.h"

namespace cohort::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-", kPartial = ".partial";
constexpr const char* kLatest = "latest";

std::optional<std::int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename();
  std::int64_t step = 0;
  if (!name.starts_with(kPrefix)) return {};
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (error != std::errc() || stop != end || step < 0) return {};
  return step;
}

// A checkpoint of the same step is exchanged for the new one, so that at no instant there is none.
void move_into_place(const fs::path& partial, const fs::path& target) {
  if (fs::exists(target)) {
    if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) != 0) {
      const fs::path old =
          target.string() + ".old" + std::string(kPartial);  // file systems without the exchange
      fs::rename(target, old);
      fs::rename(partial, target);
      fs::remove_all(old);
    } else {
      fs::remove_all(partial);
    }
  } else {
    fs::rename(partial, target);
  }
  sync_folder(target.parent_path());
}

}  // namespace

std::string folder_name(std::int64_t step) {
  return fmt::format("{}{:08}", kPrefix, step);
}

fs::path partial_of(const fs::path& target) {
  return target.string() + std::string(kPartial);
}

std::optional<Location> locate(const fs::path& checkpoint) {
  const fs::path folder = checkpoint.has_filename() ? checkpoint : checkpoint.parent_path();
  const std::string name = folder.filename();
  const auto step = name == kBest ? step_named_by(folder) : step_of(folder);
  std::error_code error;
  if (!step || (name.starts_with(kPrefix) && !fs::is_directory(folder, error))) return std::nullopt;
  return Location{folder.has_parent_path() ? folder.parent_path() : ".", *step};
}

std::vector<std::int64_t> steps_in(const fs::path& folder, bool complete) {
  std::vector<std::int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto step = step_of(entry.path());
    if (step && (!complete || fs::exists(entry.path() / kMeta, error))) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

std::optional<std::int64_t> step_named_by(const fs::path& pointer) {
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(pointer, error))) return std::nullopt;
  std::string name = read_file(pointer, kMostSettings, Links::refuse);
  if (name.ends_with('\n')) name.pop_back();
  const auto step = step_of(name);
  const bool is_complete =
      step && fs::exists(pointer.parent_path() / folder_name(*step) / kMeta, error);  // beside the pointer
  return is_complete ? step : std::nullopt;
}

void name_best(const fs::path& folder, std::optional<std::int64_t> step) {
  if (step) {
    write_file_atomically(folder / kBest, folder_name(*step) + "\n");
  } else {
    fs::remove(folder / kBest);
  }
}

std::vector<fs::path> partial_paths(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().ends_with(kPartial)) paths.push_back(entry.path());
  }
  return paths;
}

std::string read_meta(const fs::path& checkpoint) {
  try {
    refuse_no_folder(checkpoint);
    refuse_no_file(checkpoint / kMeta);
    refuse_no_file(checkpoint / kState);
  } catch (const DataError& error) {
    throw Damaged(error.text().what, error.text().where);
  }
  return read_file(checkpoint / kMeta, kMostRecords, Links::refuse);
}

void begin_checkpoint(const fs::path& folder, const fs::path& partial) {
  refuse_no_folder(folder);
  const bool is_new = !fs::exists(folder);
  make_writable_folder(folder);
  if (is_new) sync_folder(folder / "..");  // of what use were checkpoints in a folder without a name
  for (const fs::path& path : partial_paths(folder)) fs::remove_all(path);
  fs::create_directory(partial);
}

void publish(const Contents& contents, const fs::path& partial, const fs::path& target) {
  write_file_atomically(partial / kMeta, meta_text(contents));
  move_into_place(partial, target);
  write_file_atomically(target.parent_path() / kLatest, target.filename().string() + "\n");
}

void remove_old(const fs::path& folder, std::int64_t written, Retention keep) {
  std::int64_t newest = 0;
  const auto best = step_named_by(folder / kBest);
  for (const std::int64_t step : steps_in(folder, false)) {
    const bool counts = step <= written;
    if (counts && newest++ < keep.last) continue;
    if (keep.every > 0 && step % keep.every == 0) continue;
    if (counts && step == best) continue;
    std::error_code error;
    fs::remove_all(folder / folder_name(step), error);
    if (error) {
      log_warning(
          fmt::format("cannot remove {}: {}", (folder / folder_name(step)).string(), error.message()));
    }
  }
}

}  // namespace cohort::checkpoint

#include "cohort/checkpoint/store.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <stdio.h>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"

#include "catalogue.h"
#include "state_file.h"

namespace cohort::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-", kPartial = ".partial";
constexpr const char *kState = "state.h5", *kMeta = "meta.json", *kLatest = "latest";

std::optional<std::int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename();
  std::int64_t step = 0;
  if (!name.starts_with(kPrefix)) return {};
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (error != std::errc() || stop != end) return {};
  return step;
}

// Steps of all complete checkpoints, newest first.
std::vector<std::int64_t> complete_steps(const fs::path& folder) {
  std::vector<std::int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto step = step_of(entry.path());
    if (step && fs::exists(entry.path() / kMeta, error)) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

// What a killed run left behind.
void remove_partial(const fs::path& folder) {
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().ends_with(kPartial)) left.push_back(entry.path());
  }
  for (const fs::path& path : left) fs::remove_all(path);
}

fs::path partial_of(const fs::path& target) {
  return target.string() + std::string(kPartial);
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

// From the files in the partial folder to the newest checkpoint.
void publish(const MetaFile& content, const fs::path& partial, const fs::path& target) {
  write_file_atomically(partial / kMeta, meta_text(content));
  move_into_place(partial, target);
  write_file_atomically(target.parent_path() / kLatest, target.filename().string() + "\n");
}

// Keeps the checkpoint just written and the newest others. That an old one cannot be removed does not fail
// the save.
void remove_old(const fs::path& folder, std::int64_t written, std::int64_t keep, const Store& store) {
  std::int64_t kept = 1;
  for (const std::int64_t step : complete_steps(folder)) {
    if (step == written || kept++ < keep) continue;
    std::error_code error;
    fs::remove_all(store.path_of(step), error);
    if (error)
      log_warning(fmt::format("cannot remove {}: {}", store.path_of(step).string(), error.message()));
  }
}

// Turns what the file system refuses into an error that a user can act on.
template <class Action>
void on_disk(const fs::path& where, Action&& action) {
  try {
    action();
  } catch (const fs::filesystem_error& error) {
    throw DataError({fmt::format("cannot write the checkpoint: {}", error.code().message()), where.string(),
                     "check the folder's permissions and the space left"});
  }
}

void verify(const fs::path& file, const Catalogue& catalogue, const std::vector<Slice>& state) {
  sync_file(file);
  const StateReader reader(file, catalogue);
  for (const Slice& slice : state) {
    if (slice.values.numel() > 0)
      reader.read({slice.name, slice.shape, slice.begin, slice.values.cpu().clone()});
  }
}

}  // namespace

Store::Store(fs::path folder, comm::Communicator& ranks, std::int64_t keep)
    : folder_(std::move(folder)), ranks_(&ranks), keep_(keep) {
  COHORT_CHECK(keep >= 1, "{} checkpoints to keep", keep);
}

fs::path Store::path_of(std::int64_t step) const {
  return folder_ / fmt::format("{}{:08}", kPrefix, step);
}

void Store::save(const std::vector<Slice>& state, const Meta& meta) {
  MetaFile content{meta, agree_on_catalogue(state, *ranks_)};
  const fs::path target = path_of(meta.step), partial = partial_of(target);
  const bool first = ranks_->rank() == 0;
  comm::together(*ranks_, [&] {
    if (first)
      on_disk(folder_,
              [&] { make_writable_folder(folder_), remove_partial(folder_), fs::create_directory(partial); });
  });
  try {
    write_state(partial / kState, content.catalogue, state, *ranks_);
    comm::together(*ranks_, [&] {
      on_disk(partial, [&] { content.catalogue.file_bytes = fs::file_size(partial / kState); });
      verify(partial / kState, content.catalogue, state);
    });
    comm::together(*ranks_, [&] {
      if (!first) return;
      on_disk(partial, [&] { publish(content, partial, target); });
      remove_old(folder_, meta.step, keep_, *this);
    });
  } catch (const RankError&) {  // nobody to agree with: the next save removes the folder
    throw;
  } catch (...) {
    std::error_code ignored;
    if (first) fs::remove_all(partial, ignored);
    ranks_->barrier();
    throw;
  }
}

std::optional<std::int64_t> Store::latest() const {
  const auto steps = complete_steps(folder_);
  return steps.empty() ? std::nullopt : std::optional(steps.front());
}

Meta Store::read_meta(std::int64_t step) const {
  const fs::path file = path_of(step) / kMeta;
  return parse_meta(read_file(file), file.string()).meta;
}

void Store::load(std::int64_t step, std::vector<Slice>& state) {
  const fs::path folder = path_of(step), file = folder / kMeta;
  std::string text;
  comm::together(*ranks_, [&] {
    if (ranks_->rank() == 0) text = read_file(file);
  });
  text = ranks_->broadcast_text(std::move(text));
  const MetaFile content = parse_meta(text, file.string());
  comm::together(*ranks_, [&] {
    const StateReader reader(folder / kState, content.catalogue);
    for (const Slice& slice : state) reader.read(slice);
  });
}

}  // namespace cohort::checkpoint

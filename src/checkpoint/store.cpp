#include "cohort/checkpoint/store.h"

#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "catalogue.h"
#include "folder.h"
#include "state_file.h"

namespace cohort::checkpoint {
namespace {

namespace fs = std::filesystem;

// Turns what the file system refuses into an error that a user can act on.
template <class Action>
void on_disk(const fs::path& where, Action&& action) {
  try {
    action();
  } catch (const fs::filesystem_error& error) {
    throw DataError({fmt::format("cannot write the checkpoint: {}", error.code().message()), where.string(),
                     disk_remedy(error.code().value(), "check the folder's permissions and the space left")});
  }
}

// While this rank reads its slices back, the disk still writes: the sync comes last.
void verify_and_sync(const fs::path& file, const Contents& contents, const std::vector<Slice>& state) {
  StateReader reader(file, contents);
  for (const Slice& slice : state) reader.check(slice);
  sync_file(file);
}

// Every `ranks`-th saved slice, beginning with number `rank`.
std::vector<std::string> damaged_slices(StateReader& reader, const Catalogue& tensors, int rank, int ranks) {
  std::vector<std::string> found;
  int number = 0;
  for (const auto& [name, tensor] : tensors) {
    for (const SavedSlice& saved : tensor.slices) {
      if (number++ % ranks != rank) continue;
      try {
        reader.visit(name, tensor, saved, [](std::int64_t, std::span<const float>) {});
      } catch (const Damaged& damage) {
        found.push_back(damage.text().what);
      }
    }
  }
  return found;
}

// The lines of all ranks, each once, in alphabetical order.
std::vector<std::string> gather_lines(const std::vector<std::string>& mine, comm::Communicator& ranks) {
  std::set<std::string> lines;
  for (const std::string& text : ranks.gather_texts(fmt::format("{}", fmt::join(mine, "\n")))) {
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.insert(line);
  }
  return {lines.begin(), lines.end()};
}

}  // namespace

Store::Store(fs::path folder, comm::Communicator& ranks, Retention keep)
    : folder_(std::move(folder)), ranks_(&ranks), keep_(keep) {
  COHORT_CHECK(keep.last >= 1 && keep.every >= 0, "{} checkpoints to keep, and every {} steps", keep.last,
               keep.every);
}

fs::path Store::path_of(std::int64_t step) const {
  return folder_ / folder_name(step);
}

void Store::save(const std::vector<Slice>& state, const Meta& meta) {
  Contents contents{meta, agree_on_catalogue(state, *ranks_)};
  const fs::path target = path_of(meta.step), partial = partial_of(target);
  const bool first = ranks_->rank() == 0;
  comm::together(*ranks_, [&] {
    if (first) on_disk(folder_, [&] { begin_checkpoint(folder_, partial); });
  });
  try {
    write_state(partial / kState, contents.tensors, state, *ranks_);
    comm::together(*ranks_, [&] {
      on_disk(partial, [&] { contents.file_bytes = fs::file_size(partial / kState); });
      verify_and_sync(partial / kState, contents, state);
    });
    comm::together(*ranks_, [&] {
      if (!first) return;
      on_disk(partial, [&] { publish(contents, partial, target); });
      remove_old(folder_, meta.step, keep_);
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
  const auto complete = steps_in(folder_, true);
  return complete.empty() ? std::nullopt : std::optional(complete.front());
}

std::optional<std::int64_t> Store::best() const {
  return step_named_by(folder_ / kBest);
}

void Store::keep_best(std::optional<std::int64_t> step) {
  on_disk(folder_, [&] { name_best(folder_, step); });
}

std::vector<std::int64_t> Store::steps() const {
  return steps_in(folder_, false);
}

std::vector<std::string> Store::unfinished() const {
  std::vector<std::string> names;
  for (const fs::path& path : partial_paths(folder_)) names.push_back(path.filename());
  return names;
}

Contents Store::contents(std::int64_t step) const {
  return parse_meta(read_meta(path_of(step)), (path_of(step) / kMeta).string());
}

void Store::load(std::int64_t step, std::vector<Slice>& state) {
  const fs::path folder = path_of(step), file = folder / kMeta;
  std::string text;
  comm::together(*ranks_, [&] {
    if (ranks_->rank() == 0) text = read_meta(folder);
  });
  text = ranks_->broadcast_text(std::move(text));
  const Contents contents = parse_meta(text, file.string());
  comm::together(*ranks_, [&] {
    StateReader reader(folder / kState, contents);
    for (const Slice& slice : state) reader.read(slice);
  });
}

std::vector<std::string> Store::damage(std::int64_t step) {
  std::vector<std::string> found;
  comm::together(*ranks_, [&] {
    const fs::path folder = path_of(step);
    std::error_code error;
    if (!fs::exists(folder / kMeta, error)) {
      found.emplace_back("meta.json is missing");
      return;
    }
    try {
      const Contents saved = contents(step);
      StateReader reader(folder / kState, saved);
      found = damaged_slices(reader, saved.tensors, ranks_->rank(), ranks_->size());
    } catch (const Damaged& damage) {
      found.push_back(damage.text().what);
    }
  });
  return gather_lines(found, *ranks_);
}

}  // namespace cohort::checkpoint

#include <algorithm>
#include <chrono>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/checkpoint/saver.h"
#include "cohort/checkpoint/store.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "commands.h"
#include "raw_file.h"
#include "resident_peak.h"
#include "scratch.h"
#include "statistics.h"
#include "table.h"

namespace cohort::perf {
namespace {

struct CheckpointOptions {
  std::uint64_t bytes = std::uint64_t{1} << 30;  ///< of the state, over all ranks
  std::string folder = ".";
  std::int64_t rounds = 5;
  Output output;
};

namespace fs = std::filesystem;

constexpr std::int64_t kRows = 4096, kColumns = 1024;  // of each tensor: 16 MiB
constexpr std::chrono::seconds kPause{2};  // before each write: disks take bursts faster than what follows

/// This rank's part of `bytes` of tensors, each of them cut evenly over the ranks.
std::vector<checkpoint::Slice> make_state(std::uint64_t bytes, const comm::Communicator& ranks) {
  const std::int64_t values = kRows * kColumns, rank = ranks.rank(), size = ranks.size();
  const auto tensors = std::max<std::int64_t>(1, static_cast<std::int64_t>(bytes) / (4 * values));
  const std::int64_t begin = values * rank / size, end = values * (rank + 1) / size;
  std::vector<checkpoint::Slice> state;
  for (std::int64_t i = 0; i < tensors; ++i) {
    state.push_back({fmt::format("/model/blocks.{}.weight", i),
                     {kRows, kColumns},
                     begin,
                     at::arange(begin, end, at::kFloat) + static_cast<double>(i)});
  }
  return state;
}

std::int64_t bytes_of(const std::vector<checkpoint::Slice>& state) {
  std::int64_t bytes = 0;
  for (const auto& slice : state) bytes += static_cast<std::int64_t>(slice.values.nbytes());
  return bytes;
}

/// The next read of a file comes from the disk, if its content has been synced.
void forget(const fs::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file) ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
}

struct Stage {
  std::string name, limit;  ///< limit: the stage to compare with
  std::function<void()> prepare, run;
};

/// A stage and the one before it that it is compared with change places every other round: what was written
/// first slows down what is written next.
std::vector<const Stage*> order_of(const std::vector<Stage>& stages, std::int64_t round) {
  std::vector<const Stage*> order;
  for (const Stage& stage : stages) {
    const bool swaps = round % 2 == 1 && !order.empty() && stage.limit == order.back()->name;
    order.insert(order.end() - (swaps ? 1 : 0), &stage);
  }
  return order;
}

/// Seconds of the slowest rank, stage by stage, round by round, so that all stages see the same disturbances.
/// One round more comes first and is not counted.
std::map<std::string, std::vector<double>> times_of(const std::vector<Stage>& stages, std::int64_t rounds,
                                                    comm::Communicator& ranks) {
  std::map<std::string, std::vector<double>> samples;
  for (std::int64_t round = 0; round <= rounds; ++round) {
    for (const Stage* stage : order_of(stages, round)) {
      comm::together(ranks, stage->prepare);
      const auto start = std::chrono::steady_clock::now();
      stage->run();
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      const double slowest = ranks.max(time.count());
      if (round > 0) samples[stage->name].push_back(slowest);
    }
  }
  return samples;
}

/// What is saved, loaded and compared, and the files of it.
class Subject {
 public:
  Subject(const CheckpointOptions& options, comm::Communicator& ranks)
      : ranks_(&ranks),
        scratch_(options.folder, "cohort-perf-checkpoint", ranks),
        state_(make_state(options.bytes, ranks)),
        loaded_(state_),
        raw_(scratch_.path() / "raw", bytes_of(state_), ranks),
        store_(scratch_.path() / "now", ranks, {1, 0}),
        saver_(scratch_.path() / "later", ranks, checkpoint::CheckpointConfig{.keep_last = 1}) {
    for (auto& slice : loaded_) slice.values = at::zeros_like(slice.values);
  }

  std::vector<Stage> stages() {
    const auto nothing = [] {};
    const auto raw_write = [this] { comm::together(*ranks_, [this] { raw_.write(); }); };
    const auto raw_read = [this] { comm::together(*ranks_, [this] { raw_.read(); }); };
    const auto remove = [this](const fs::path& path) {
      return [this, path] {
        if (ranks_->rank() == 0) fs::remove_all(path);
        std::this_thread::sleep_for(kPause);
      };
    };
    return {{"raw write", "raw write", remove(raw_.path()), raw_write},
            {"save", "raw write", remove(store_.path_of(1)), [this] { store_.save(state_, meta_); }},
            {"raw read", "raw read", [this] { forget(raw_.path()); }, raw_read},
            {"load", "raw read", [this] { forget(store_.path_of(1) / "state.h5"); },
             [this] { store_.load(1, loaded_); }},
            {"raw cached", "raw cached", nothing, raw_read},
            {"verify", "raw cached", nothing,
             [this] { wrong_ += static_cast<std::int64_t>(store_.damage(1).size()); }},
            {"async held", "", remove(scratch_.path() / "later"), [this] { saver_.save(state_, meta_); }},
            {"async rest", "raw write", nothing, [this] { saver_.wait(); }}};
  }

  /// Collective. MiB that a load adds to what the largest rank holds, tensors to load into included.
  double load_peak() {
    for (auto& slice : loaded_) slice.values.reset();
    const ResidentPeak peak;
    for (std::size_t i = 0; i < state_.size(); ++i) loaded_[i].values = at::empty_like(state_[i].values);
    store_.load(1, loaded_);
    return ranks_->max(peak.mib());
  }

  /// Collective. Values and slices that did not come back as they were, over all ranks.
  std::int64_t wrong() {
    std::int64_t count = wrong_;
    for (std::size_t i = 0; i < state_.size(); ++i)
      count += loaded_[i].values.ne(state_[i].values).sum().item<std::int64_t>();
    return ranks_->sum(count);
  }
  [[nodiscard]] std::int64_t bytes() const { return bytes_of(state_); }

 private:
  comm::Communicator* ranks_;
  Scratch scratch_;
  std::vector<checkpoint::Slice> state_, loaded_;
  RawFile raw_;
  checkpoint::Store store_;
  checkpoint::Saver saver_;
  checkpoint::Meta meta_{1, 0, 1, "", ""};
  std::int64_t wrong_ = 0;
};

Table& make_table(const CheckpointOptions& options, std::int64_t bytes, Results& results) {
  return results.table(
      "",
      {fmt::format("{} in {}, median of {} rounds", format_bytes(static_cast<std::uint64_t>(bytes)),
                   options.folder, options.rounds),
       "save: Store::save with verification, nothing old to remove; limit: pwrite of the same bytes to a "
       "new file, and fsync",
       "load: Store::load, limit: pread of as many bytes, both from the disk; verify: both from the page "
       "cache",
       "async held: how long Saver::save keeps its caller; rest: until the checkpoint is complete"},
      {{"stage", "", 10, 0, Role::key},
       {"bytes", "B", 12, 0, Role::key},
       {"time p50", "ms", 10, 1, Role::lower},
       {"all ranks", "GB/s", 10, 3},
       {"limit", "GB/s", 8, 3},
       {"of limit", "%", 8, 1},
       {"of save", "%", 8, 1},
       {"#wrong", "", 6}},
      {{"time", "", {"time p50"}}});
}

// Over all ranks, a load holds the state once: of a whole model no rank ever has more than its slices.
void add_memory_table(Results& results, double shard, double peak, std::int64_t wrong,
                      comm::Communicator& ranks) {
  constexpr double kReadBuffer = 1.0;  // checkpoint/store.h
  Table& table = results.table(
      "memory",
      {"what a load adds to the resident set of the largest rank, at its peak; needed: its slices "
       "of the state and a read buffer of 1 MiB"},
      {{"state", "MiB", 10, 1, Role::key},
       {"slices", "MiB", 10, 1},
       {"needed", "MiB", 10, 1},
       {"load peak", "MiB", 10, 1},
       {"of needed", "%", 10, 1},
       {"#wrong", "", 6}});
  const double largest = ranks.max(shard), needed = largest + kReadBuffer;
  table.add({ranks.sum(shard), largest, needed, peak, 100 * peak / needed, wrong});
}

/// Collective. Saving, loading, verifying and asynchronous saves against plain writes and reads of the same
/// bytes in the same folder. ExitCode::bug if a value is wrong.
ExitCode checkpoints(const CheckpointOptions& options, comm::Communicator& ranks) {
  Subject subject(options, ranks);
  const std::vector<Stage> stages = subject.stages();
  const auto times = times_of(stages, options.rounds, ranks);
  const double load_peak = subject.load_peak();
  const std::int64_t bytes = ranks.sum(subject.bytes()), wrong = subject.wrong();
  Results results("checkpoint", options.output, ranks);
  Table& table = make_table(options, bytes, results);
  for (const Stage& stage : stages) {
    std::vector<double> milliseconds = times.at(stage.name);
    for (double& value : milliseconds) value *= 1e3;
    const double time = median(times.at(stage.name)), speed = static_cast<double>(bytes) / time * 1e-9;
    const double limit =
        stage.limit.empty() ? 0.0 : static_cast<double>(bytes) / median(times.at(stage.limit)) * 1e-9;
    table.add({stage.name, bytes, time * 1e3, speed, limit, limit > 0 ? 100 * speed / limit : 0.0,
               100 * time / median(times.at("save")), wrong},
              milliseconds);
  }
  add_memory_table(results, static_cast<double>(subject.bytes()) / (1 << 20), load_peak, wrong, ranks);
  results.finish();
  return wrong == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace

void add_checkpoint(CLI::App& app, Job& job) {
  const auto options = std::make_shared<CheckpointOptions>();
  CLI::App* command = &add_command(app, {"checkpoint",
                                         "Save and load checkpoints, against plain writes and reads",
                                         {"mpirun -n 4 cohort-perf checkpoint --size 1GiB --dir runs"},
                                         endings_on_ranks()});
  command->add_option("--size", options->bytes, "of the state over all ranks, for example 1GiB")
      ->transform(CLI::AsSizeValue(false));
  command->add_option("--dir", options->folder, "folder to write into; a sub-folder is made and removed")
      ->capture_default_str();
  command->add_option("--rounds", options->rounds, "times that everything is measured")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add_output(command, options->output);
  command->callback([options, &job] {
    job.with_ranks = [options](comm::Communicator& ranks) { return checkpoints(*options, ranks); };
  });
}

}  // namespace cohort::perf

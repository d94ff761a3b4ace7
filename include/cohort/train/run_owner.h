#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"

namespace cohort::train {

/// How long others are waited for.
struct OwnerPatience {
  std::chrono::milliseconds beat{2000};    ///< between two beats of an owner
  std::chrono::milliseconds grace{2000};   ///< for an owner on this host that is about to end
  std::chrono::milliseconds watch{30000};  ///< without a beat: an owner on another host is dead
};

/// The one process that may write into a run folder, as long as it lives. It is named by the file owner.json
/// in the folder (docs/formats/run.md), which no second process can make (O_EXCL: also on network file
/// systems, without locks), and which a thread gives a new beat every two seconds. A dead owner's file is
/// taken over: that of a process on this host which is gone, or whose number another process has; that of an
/// earlier start of the same Slurm job; otherwise one whose beat does not change for half a minute while it
/// is watched. Clocks of hosts are not compared.
class RunOwner {
 public:
  /// Called once, from the thread of the beat, when the file is gone or is another process's.
  using Lost = std::function<void(const Error& error)>;

  /// Makes the folder if there is none. Throws UsageError when another process owns it, DataError when the
  /// file cannot be written. `program`: "cohort train", for messages to others.
  RunOwner(std::filesystem::path run_folder, const std::string& program, Lost lost,
           const OwnerPatience& patience = {});
  RunOwner(const RunOwner&) = delete;
  RunOwner& operator=(const RunOwner&) = delete;
  /// Removes the file, and the folder if it was made here and is empty.
  ~RunOwner();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Collective. The first rank owns the folder for all of them, null on the others; a folder that is lost ends
/// the job. Throws UsageError or DataError on every rank.
std::unique_ptr<RunOwner> own_run(const std::filesystem::path& run_folder, const std::string& program,
                                  comm::Communicator& ranks);

/// Owns the run folders that files to be written lie in, at whatever depth: of each the nearest folder above
/// it with a metrics.jsonl or an owner.json, if there is one. Empty paths are left out. Throws as RunOwner
/// does.
std::vector<std::unique_ptr<RunOwner>> own_runs_of(const std::vector<std::filesystem::path>& files,
                                                   const std::string& program);
/// The same, collective: on the first rank.
std::vector<std::unique_ptr<RunOwner>> own_runs_of(const std::vector<std::filesystem::path>& files,
                                                   const std::string& program, comm::Communicator& ranks);

}  // namespace cohort::train

// Checks a cluster before a long job.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/host.h"

#include "commands.h"
#include "doctor/check.h"
#include "doctor/report.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;
using namespace doctor;

constexpr std::chrono::seconds kPatience{300};  // for one operation between ranks

struct DoctorOptions {
  std::string run_dir = "runs", data;
  bool json = false;
};

// In the order of their output. The communication between ranks is tried before what relies on it.
constexpr std::array kChecks{Check{"launcher", ExitCode::rank_failed, check_launcher},
                             Check{"all-reduce", ExitCode::rank_failed, check_all_reduce},
                             Check{"versions", ExitCode::rank_failed, check_versions},
                             Check{"kernels", ExitCode::rank_failed, check_kernels},
                             Check{"binding", ExitCode::data, check_binding},
                             Check{"clocks", ExitCode::data, check_clocks},
                             Check{"memory", ExitCode::data, check_memory},
                             Check{"shared memory", ExitCode::data, check_shared_memory},
                             Check{"open files", ExitCode::data, check_open_files},
                             Check{"run folder", ExitCode::data, check_run_folder},
                             Check{"space", ExitCode::data, check_space},
                             Check{"disk speed", ExitCode::data, check_disk_speed},
                             Check{"shared file", ExitCode::data, check_shared_file},
                             Check{"file locks", ExitCode::data, check_file_locks},
                             Check{"dataset", ExitCode::data, check_dataset},
                             Check{"gpus", ExitCode::data, check_gpus},
                             Check{"nccl", ExitCode::rank_failed, check_nccl}};

/// The nearest folder at or above `path` that is there.
fs::path existing(fs::path path) {
  std::error_code error;
  for (path = fs::absolute(path); !fs::is_directory(path, error) && path.has_relative_path();)
    path = path.parent_path();
  return path;
}

/// An empty folder of rank 0 for files of all ranks, which goes with it and all that is in it. Collective.
class ScratchFolder {
 public:
  ScratchFolder(const fs::path& above, comm::Communicator& ranks) : ranks_(ranks) {
    std::string name;
    if (ranks.rank() == 0) {
      name = (existing(above) / "cohort-doctor-XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr) name.clear();
    }
    path_ = ranks.broadcast_text(std::move(name));
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    if (ranks_.rank() == 0 && !path_.empty()) fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const fs::path& path() const noexcept { return path_; }

 private:
  comm::Communicator& ranks_;
  fs::path path_;
};

/// "cannot write a file: No space left on device (runs/x/speed-0)".
Finding failure_of(const std::exception& error) {
  if (const auto* known = dynamic_cast<const Error*>(&error)) {
    const auto& [what, where, fix] = known->text();
    return {Status::fail, where.empty() ? what : fmt::format("{} ({})", what, where),
            fix.empty() ? "see docs/errors.md" : fix};
  }
  return {Status::fail, error.what(), "look at the path and the host that the message names"};
}

/// A lost rank ends the program: nothing can be gathered any more.
Finding run_here(const Check& check, Cluster& cluster) {
  try {
    return check.run(cluster);
  } catch (const RankError&) {
    throw;
  } catch (const std::exception& error) {
    return failure_of(error);
  }
}

Result run_everywhere(const Check& check, Cluster& cluster) {
  std::vector<Finding> findings;
  for (const std::string& text : cluster.ranks.gather_texts(serialise(run_here(check, cluster))))
    findings.push_back(parse_finding(text));
  return summarise(check, findings, cluster.hosts);
}

Cluster describe_cluster(const DoctorOptions& options, const fs::path& scratch, comm::Communicator& ranks) {
  Cluster cluster{ranks, ranks.gather_texts(host_name()), 0, 0, options.run_dir, scratch, options.data};
  const std::string& here = cluster.hosts[static_cast<std::size_t>(ranks.rank())];
  const auto mine = cluster.hosts.begin() + ranks.rank();
  cluster.local_rank = static_cast<int>(std::count(cluster.hosts.begin(), mine, here));
  cluster.local_ranks = static_cast<int>(std::count(cluster.hosts.begin(), cluster.hosts.end(), here));
  return cluster;
}

/// Where MPI did not join the processes of srun, each of them is a rank 0: the first one speaks.
bool speaks(const comm::Communicator& ranks) {
  const char* const task = std::getenv("SLURM_PROCID");
  const bool is_first = ranks.size() > 1 || task == nullptr || std::string(task) == "0";
  return ranks.rank() == 0 && is_first;
}

ExitCode code_of(const std::vector<Result>& results) {
  for (const Result& result : results) {
    if (result.status == Status::fail) return result.code;
  }
  return ExitCode::done;
}

ExitCode examine(const DoctorOptions& options, comm::Communicator& ranks) {
  comm::Session::set_timeout(kPatience);
  const ScratchFolder scratch(options.run_dir, ranks);
  Cluster cluster = describe_cluster(options, scratch.path(), ranks);
  const bool prints = speaks(ranks);
  std::vector<Result> results;
  for (const Check& check : kChecks) {
    results.push_back(run_everywhere(check, cluster));
    if (!prints || options.json) continue;
    fmt::print("{}", text_of(results.back()));
    std::fflush(stdout);  // the next check may be the one that hangs
  }
  if (prints && options.json) fmt::print("{}", json_of(results));
  std::fflush(stdout);
  ranks.barrier();
  return code_of(results);
}

}  // namespace

void add_doctor(CLI::App& app, Job& job) {
  const auto options = std::make_shared<DoctorOptions>();
  using command_line::with;
  CLI::App* command = &add_command(
      app, {"doctor",
            "Check a cluster before a long job: start it as the job will be started",
            {"mpirun -n 4 cohort doctor --run-dir runs/x --data data/mine"},
            with(with(with(command_line::endings_on_ranks(),
                           {ExitCode::done, "nothing failed; warnings may have been given"}),
                      {ExitCode::data, "a check of data, disk or host failed"}),
                 {ExitCode::rank_failed, "a check of the communication between ranks failed first"}),
            "docs/doctor.md explains the checks."});
  command->add_option("--run-dir", options->run_dir, "folder of the run to come; it is not made")
      ->capture_default_str();
  command->add_option("--data", options->data,
                      "folder of the dataset: are its shards there, how fast is it read");
  command->add_flag("--json", options->json, "one JSON object instead of lines");
  command->callback([options, &job] {
    job.program = "cohort doctor";
    job.with_ranks = [options](comm::Communicator& ranks) { return examine(*options, ranks); };
  });
}

}  // namespace cohort::jobs

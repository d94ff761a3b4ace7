#include "cohort/train/run_owner.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "cohort/comm/session.h"
#include "cohort/core/file.h"
#include "cohort/core/host.h"
#include "cohort/core/log.h"

#include "support/json.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char *kOwnerFile = "owner.json", *kSuccessorFile = "owner.json.next";
constexpr std::uint64_t kMostOwner = 64 << 10;
constexpr int kBeatDigits = 10;  // the file never changes its size

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string first_line_of(const fs::path& file) {
  try {
    const std::string text = read_file(file, kMostOwner);
    return text.substr(0, text.find('\n'));
  } catch (const DataError&) {
    return "";
  }
}

/// Tells apart machines, and containers, that have the same name: process numbers mean something within one.
std::string machine_id() {
  std::error_code ignored;
  return first_line_of("/proc/sys/kernel/random/boot_id") + " " +
         fs::read_symlink("/proc/self/ns/pid", ignored).string();
}

/// When a process began, in ticks since the machine did; 0: there is none, or it is dead and not yet
/// collected.
std::uint64_t start_of_process(std::int64_t process) {
  const std::string line = first_line_of(fmt::format("/proc/{}/stat", process));
  const std::size_t name_ends = line.rfind(')');  // the name may hold anything
  if (name_ends == std::string::npos || name_ends + 2 >= line.size()) return 0;
  if (const char state = line[name_ends + 2]; state == 'Z' || state == 'X') return 0;
  constexpr int kFieldsBetween = 20;
  std::size_t at = name_ends;
  for (int i = 0; i < kFieldsBetween && at != std::string::npos; ++i) at = line.find(' ', at + 1);
  return at == std::string::npos ? 0 : std::strtoull(line.c_str() + at + 1, nullptr, 10);
}

std::string new_token() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

}  // namespace

/// What owner.json says; of a file that is being written, nothing.
struct OwnerRecord {
  std::string content;  // all of the file
  std::string token, program, host, machine, job, restarts, since;
  std::int64_t process = 0;
  std::uint64_t started = 0;

  [[nodiscard]] std::string who() const {
    if (token.empty()) return "another process";
    std::string text = fmt::format("{}, process {} on {}{}, since {}", program, process, host,
                                   job.empty() ? "" : ", job " + job, since);
    std::replace_if(
        text.begin(), text.end(), [](unsigned char letter) { return std::iscntrl(letter) != 0; }, '?');
    return text;
  }
};

namespace {

using Record = OwnerRecord;

Record record_of_this_process(const std::string& program) {
  Record mine;
  mine.token = new_token();
  mine.program = program;
  mine.host = host_name();
  mine.machine = machine_id();
  mine.job = variable("SLURM_JOB_ID");
  mine.restarts = variable("SLURM_RESTART_COUNT");
  mine.since = utc_time();
  mine.process = ::getpid();
  mine.started = start_of_process(mine.process);
  return mine;
}

std::string text_of(const Record& record, std::uint64_t beat) {
  return Json{{"beat", fmt::format("{:0{}}", beat, kBeatDigits)},
              {"token", record.token},
              {"program", record.program},
              {"host", record.host},
              {"machine", record.machine},
              {"process", record.process},
              {"started", record.started},
              {"job", record.job},
              {"restarts", record.restarts},
              {"since", record.since}}
             .dump() +
         "\n";
}

Record parse_record(std::string content) {
  Record record;
  const Json json = Json::parse(content, nullptr, false);
  record.content = std::move(content);
  try {
    json.at("program").get_to(record.program);
    json.at("host").get_to(record.host);
    json.at("machine").get_to(record.machine);
    json.at("process").get_to(record.process);
    json.at("started").get_to(record.started);
    json.at("job").get_to(record.job);
    json.at("restarts").get_to(record.restarts);
    json.at("since").get_to(record.since);
    json.at("token").get_to(record.token);
  } catch (const Json::exception&) {
    record.token.clear();
  }
  return record;
}

/// Nothing: there is no such file.
std::optional<Record> read_record(const fs::path& file) {
  struct stat status {};
  if (::lstat(file.c_str(), &status) != 0 && errno == ENOENT) return std::nullopt;
  try {
    return parse_record(read_file(file, kMostOwner, Links::refuse));
  } catch (const DataError&) {
    if (::lstat(file.c_str(), &status) != 0 && errno == ENOENT) return std::nullopt;
    throw;
  }
}

/// False: somebody else's is there.
bool create(const fs::path& file, const std::string& text) {
  const FileDescriptor made(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!made && errno == EEXIST) return false;
  if (!made) {
    const int error = errno;
    throw DataError({fmt::format("cannot own the run folder: {}", std::strerror(error)), file.string(),
                     disk_remedy(error)});
  }
  try {
    write_all(made, std::as_bytes(std::span(text)), file, "own the run folder");
  } catch (const DataError&) {
    ::unlink(file.c_str());
    throw;
  }
  return true;
}

enum class Life { alive, dead, unknown };

Life life_of(const Record& owner, const Record& mine) {
  if (owner.token.empty()) return Life::unknown;
  if (!owner.job.empty() && owner.job == mine.job && owner.restarts != mine.restarts) return Life::dead;
  if (owner.host != mine.host || owner.machine != mine.machine) return Life::unknown;
  const std::uint64_t started = start_of_process(owner.process);
  const auto number = static_cast<pid_t>(owner.process);
  if (started == 0 && ::kill(number, 0) != 0 && errno == EPERM)
    return Life::unknown;  // hidden from this user
  return started == owner.started ? Life::alive : Life::dead;
}

UsageError in_use(const Record& owner, const fs::path& folder) {
  return UsageError({fmt::format("the run folder is in use by {}", owner.who()), folder.string(),
                     "wait for its end, ask it to stop (make the file STOP there), or write to another "
                     "folder (run_dir, --out)"});
}

/// Until the file is another one or gone, or `time` is over: then it is as before, the beat included or, with
/// `any_beat`, whatever the beat.
bool stays(const fs::path& file, const Record& seen, bool any_beat, std::chrono::milliseconds time) {
  constexpr std::chrono::milliseconds kLook{100};
  const auto end = Clock::now() + time;
  while (Clock::now() < end) {
    std::this_thread::sleep_for(std::min(kLook, time));
    const auto now = read_record(file);
    if (!now || now->token != seen.token || (!any_beat && now->content != seen.content)) return false;
  }
  return true;
}

/// Returns once the process that `file` names is dead; false: the file has changed, look again. Throws
/// UsageError when it lives.
bool is_dead(const fs::path& file, const Record& owner, const Record& mine, const OwnerPatience& patience) {
  const fs::path folder = file.parent_path();
  Life life = life_of(owner, mine);
  for (const auto end = Clock::now() + patience.grace; life == Life::alive; life = life_of(owner, mine)) {
    if (Clock::now() >= end) throw in_use(owner, folder);
    if (!stays(file, owner, true, std::min(patience.grace, std::chrono::milliseconds(100)))) return false;
  }
  if (life == Life::dead) return true;
  log_info(fmt::format("the run folder {} belongs to {}; waiting up to {} s for a sign of life",
                       folder.string(), owner.who(), patience.watch.count() / 1000));
  if (stays(file, owner, false, patience.watch)) return true;
  const auto now = read_record(file);
  if (now && !now->token.empty() && now->token == owner.token) throw in_use(*now, folder);
  return false;
}

/// Puts `text` in the place of a dead owner's file. The successor's file, which one process alone can make,
/// is renamed, so that of several who saw the same dead owner one wins. False: look again.
bool take_over(const fs::path& folder, const Record& dead, const Record& mine, const std::string& text,
               const OwnerPatience& patience) {
  const fs::path file = folder / kOwnerFile, next = folder / kSuccessorFile;
  if (!create(next, text)) {
    const auto other = read_record(next);
    if (other && is_dead(next, *other, mine, patience)) fs::remove(next);
    return false;
  }
  const auto now = read_record(file);
  if (now && now->content == dead.content) {
    fs::rename(next, file);
    return true;
  }
  fs::remove(next);
  return false;
}

fs::path run_folder_of(const fs::path& file) {
  std::error_code ignored;
  if (file.empty()) return {};
  for (fs::path folder = fs::weakly_canonical(file, ignored).parent_path(); folder.has_relative_path();
       folder = folder.parent_path()) {
    for (const char* name : {"metrics.jsonl", kOwnerFile}) {
      if (fs::exists(fs::symlink_status(folder / name, ignored))) return folder;
    }
  }
  return {};
}

}  // namespace

struct RunOwner::Impl {
  Impl(fs::path run_folder, const std::string& program, Lost if_lost, const OwnerPatience& how)
      : folder(std::move(run_folder)),
        file(folder / kOwnerFile),
        mine(record_of_this_process(program)),
        lost(std::move(if_lost)),
        patience(how) {
    std::error_code error;
    made_folder = !fs::exists(folder, error);
    make_writable_folder(folder);
    claim();
    thread = std::jthread([this](const std::stop_token& stop) { beat(stop); });
  }

  ~Impl() {
    thread.request_stop();
    if (thread.joinable()) thread.join();
    std::error_code ignored;
    if (const auto now = readable(); now && now->token == mine.token) fs::remove(file, ignored);
    if (made_folder) ::rmdir(folder.c_str());  // only if it is empty
  }

  void claim() {
    const std::string text = text_of(mine, 0);
    while (!create(file, text)) {
      const auto owner = read_record(file);
      if (!owner || !is_dead(file, *owner, mine, patience)) continue;
      if (!take_over(folder, *owner, mine, text, patience)) continue;
      log_info(fmt::format("the run folder is taken over from {}, which is gone", owner->who()));
      return;
    }
  }

  void beat(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    for (std::uint64_t number = 1;; ++number) {
      wake.wait_for(lock, stop, patience.beat, [] { return false; });
      if (stop.stop_requested()) return;
      if (renew(number)) continue;
      lost(loss());
      return;
    }
  }

  /// False: the file is not ours any more. A disk that does not answer proves nothing.
  bool renew(std::uint64_t number) const {
    const FileDescriptor open(::open(file.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!open) return errno != ENOENT && errno != ENOTDIR && errno != ELOOP;
    const std::string text = text_of(mine, number);
    std::string there(text.size(), '\0');
    const ssize_t count = ::pread(open.get(), there.data(), there.size(), 0);
    if (count < 0) return true;
    there.resize(static_cast<std::size_t>(count));
    if (parse_record(there).token != mine.token) return false;
    (void)!::pwrite(open.get(), text.data(), text.size(), 0);
    return true;
  }

  /// Who owns the folder now, as far as that can be read.
  [[nodiscard]] std::optional<OwnerRecord> readable() const {
    try {
      return read_record(file);
    } catch (const DataError&) {
      return std::nullopt;
    }
  }

  [[nodiscard]] DataError loss() const {
    std::error_code error;
    if (!fs::exists(folder, error)) {
      return DataError({"the run folder was removed or moved while it was in use", folder.string(),
                        "leave the folder of a run alone until it ends; run the same command again"});
    }
    const auto now = readable();
    return DataError(
        {fmt::format("the run folder was taken over by {}", now ? now->who() : "somebody else"),
         folder.string(),
         "this process had stood still or was cut off from the disk for too long, or its owner.json "
         "was removed: let the other one work, or run the same command again"});
  }

  const fs::path folder, file;
  const OwnerRecord mine;
  const Lost lost;
  const OwnerPatience patience;
  bool made_folder = false;
  std::jthread thread;
};

RunOwner::RunOwner(fs::path run_folder, const std::string& program, Lost lost, const OwnerPatience& patience)
    : impl_(std::make_unique<Impl>(std::move(run_folder), program, std::move(lost), patience)) {}

RunOwner::~RunOwner() = default;

std::unique_ptr<RunOwner> own_run(const fs::path& run_folder, const std::string& program,
                                  comm::Communicator& ranks) {
  std::unique_ptr<RunOwner> owner;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0)
      owner =
          std::make_unique<RunOwner>(run_folder, program, [](const Error& error) { comm::end_job(error); });
  });
  return owner;
}

std::vector<std::unique_ptr<RunOwner>> own_runs_of(const std::vector<fs::path>& files,
                                                   const std::string& program) {
  std::set<fs::path> folders;
  for (const fs::path& file : files) {
    if (const fs::path folder = run_folder_of(file); !folder.empty()) folders.insert(folder);
  }
  std::vector<std::unique_ptr<RunOwner>> owners;
  for (const fs::path& folder : folders)
    owners.push_back(
        std::make_unique<RunOwner>(folder, program, [](const Error& error) { comm::end_job(error); }));
  return owners;
}

std::vector<std::unique_ptr<RunOwner>> own_runs_of(const std::vector<fs::path>& files,
                                                   const std::string& program, comm::Communicator& ranks) {
  std::vector<std::unique_ptr<RunOwner>> owners;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) owners = own_runs_of(files, program);
  });
  return owners;
}

}  // namespace cohort::train

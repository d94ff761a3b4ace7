#include <algorithm>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/error.h"
#include "cohort/core/lines.h"
#include "cohort/core/text.h"

#include "commands.h"
#include "job_records.h"
#include "report/text_table.h"
#include "slurm.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

/// What metrics.jsonl tells of how far a run is.
struct RunProgress {
  std::string job;                                         ///< in which it began or went on last; empty: none
  std::int64_t step = 0, total = 0;                        ///< steps done; of how many, 0: not known
  double seconds_per_step = 0.0, images_per_second = 0.0;  ///< of the last steps; 0: not known
  std::string best;                                        ///< "0.8123 at 1,200"; empty: none
  std::string last;                                        ///< kind of the last line: "end", "stop" …
};

constexpr std::size_t kRecentSteps = 20;

std::int64_t integer_in(const nlohmann::json& line, const char* key, std::int64_t otherwise) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number_integer() ? found->get<std::int64_t>() : otherwise;
}

/// What metrics.jsonl tells, line by line from its end, until there is no more to learn.
class ProgressReader {
 public:
  [[nodiscard]] bool is_done() const { return has_start_ && step_ && has_best_ && has_all_steps(); }
  void read(std::string_view line) {
    const bool is_more_of_the_same = has_all_steps() && step_ && line.starts_with(R"({"kind":"step")");
    if (is_more_of_the_same) return;
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object()) return;
    const std::string kind = json.value("kind", "");
    if (!has_last_) progress_.last = kind, has_last_ = true;
    if (kind == "start") read_start(json);
    if (kind == "best") read_best(json);
    if (kind == "step") read_step(json);
  }
  [[nodiscard]] RunProgress result() {
    progress_.step = step_.value_or(0);
    double seconds = 0.0, images = 0.0;
    for (const auto& [step_seconds, step_images] : recent_) seconds += step_seconds, images += step_images;
    if (seconds > 0.0) {
      progress_.seconds_per_step = seconds / static_cast<double>(recent_.size());
      progress_.images_per_second = images / seconds;
    }
    return progress_;
  }

 private:
  [[nodiscard]] bool has_all_steps() const { return recent_.size() == kRecentSteps; }
  void read_start(const nlohmann::json& line) {
    if (!step_ && line.contains("step")) step_ = integer_in(line, "step", 0);
    if (std::exchange(has_start_, true)) return;
    progress_.job = line.value("job", "");
    progress_.total = integer_in(line, "total_steps", 0);
  }
  void read_best(const nlohmann::json& line) {
    if (std::exchange(has_best_, true)) return;
    progress_.best =
        fmt::format("{:.4f} at {}", line.value("score", 0.0), format_count(integer_in(line, "step", 0)));
  }
  void read_step(const nlohmann::json& line) {
    if (!step_) step_ = integer_in(line, "step", 0);
    if (has_all_steps()) return;
    const double seconds = line.value("seconds", 0.0);
    recent_.emplace_front(seconds, seconds * line.value("images_per_second", 0.0));
  }

  RunProgress progress_;
  bool has_last_ = false, has_start_ = false, has_best_ = false;
  std::optional<std::int64_t> step_;
  std::deque<std::pair<double, double>> recent_;  // seconds, images; of the last steps
};

RunProgress read_progress(const fs::path& run) {
  ProgressReader reader;
  const fs::path file = run / "metrics.jsonl";
  if (!fs::exists(file)) return {};
  LinesFromEnd lines(file, Links::refuse);
  std::string_view line;
  while (!reader.is_done() && lines.next(line)) reader.read(line);
  return reader.result();
}

bool is_run(const fs::path& folder) {
  return fs::exists(folder / "metrics.jsonl") || fs::exists(job_records_file(folder));
}

/// The folder if it is a run's, else the runs in it: those of an array lie one below.
void collect_runs(const fs::path& folder, int depth, std::vector<fs::path>& runs) {
  if (is_run(folder)) {
    runs.push_back(folder);
    return;
  }
  if (depth == 0) return;
  std::error_code ignored;
  std::vector<fs::path> children;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.is_directory(ignored)) children.push_back(entry.path());
  }
  std::sort(children.begin(), children.end());
  for (const fs::path& child : children) collect_runs(child, depth - 1, runs);
}

std::vector<fs::path> runs_in(const std::vector<std::string>& folders) {
  std::vector<fs::path> runs;
  for (const std::string& folder : folders) {
    const std::size_t before = runs.size();
    collect_runs(folder, 2, runs);
    if (runs.size() == before) {
      throw DataError({"there is no run, neither at work nor in the queue", folder,
                       "give the folders of runs; without any, those in runs/ are shown"});
    }
  }
  return runs;
}

std::string time_left(const RunProgress& progress) {
  if (progress.last == "end") return progress.step < progress.total ? "ended early" : "done";
  if (progress.last == "stop") return "stopped";
  if (progress.total == 0 || progress.seconds_per_step <= 0.0) return "-";
  const auto steps = static_cast<double>(std::max<std::int64_t>(0, progress.total - progress.step));
  return format_duration(std::chrono::duration<double>(steps * progress.seconds_per_step));
}

std::vector<std::string> cells(const fs::path& run, const RunProgress& progress, const std::string& job,
                               const std::map<std::string, std::string>& states) {
  const auto state = states.find(job);
  const std::string steps =
      progress.total > 0 ? fmt::format("{} / {}", format_count(progress.step), format_count(progress.total))
                         : format_count(progress.step);
  return {run.string(),
          job.empty() ? "-" : job,
          state == states.end() ? "-" : state->second,
          progress.last.empty() ? "-" : steps,
          progress.images_per_second > 0.0 ? fmt::format("{:.1f}", progress.images_per_second) : "-",
          time_left(progress),
          progress.best.empty() ? "-" : progress.best};
}

ExitCode show_status(const std::vector<std::string>& folders) {
  const std::vector<fs::path> runs = runs_in(folders);
  std::vector<RunProgress> progress;
  std::vector<std::string> jobs, known;
  for (const fs::path& run : runs) {
    progress.push_back(read_progress(run));
    const auto submitted = last_training_job(run);
    jobs.push_back(submitted ? submitted->job : progress.back().job);
    if (!jobs.back().empty()) known.push_back(jobs.back());
  }
  const auto states = job_states(known);
  std::vector<std::vector<std::string>> lines{{"run", "job", "state", "step", "rate", "time", "best"},
                                              {"", "", "", "", "img/s", "left", "at step"}};
  for (std::size_t i = 0; i < runs.size(); ++i) lines.push_back(cells(runs[i], progress[i], jobs[i], states));
  fmt::print("{}", report::text_table(lines, {2}));
  return ExitCode::done;
}

}  // namespace

void add_status(CLI::App& app, Job& job) {
  const auto folders = std::make_shared<std::vector<std::string>>(1, "runs");
  CLI::App* command = &add_command(
      app,
      {"status",
       "Show how far runs are: job, state, steps, rate, time left",
       {"cohort status", "cohort status runs/x"},
       command_line::with(command_line::endings_alone(), {ExitCode::data, "there is no run"}),
       "The state is Slurm's (RUNNING, PENDING …), - where there is none; the rate is over all ranks, of the "
       "last 20 steps; the time left leaves evaluation out; the best score is that of checkpoint.best_by."});
  command->add_option("RUN", *folders, "folders of runs, or folders with runs in them; without any: runs");
  command->callback([folders, &job] {
    job.program = "cohort status";
    job.alone = [folders] { return show_status(*folders); };
  });
}

}  // namespace cohort::jobs

#include "slurm_script.h"

#include <array>
#include <charconv>
#include <optional>
#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

#include "cohort/core/command.h"
#include "cohort/core/error.h"

#include "train/stop_signal.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

// How a job that may be stopped watches over its program. `@SIGNAL@`: what the program takes as a wish to
// stop;
// `@KILLED@`: how the launcher ends when that came before the program knew what to do with it.
constexpr std::string_view kWatch = R"script(
# Slurm sends USR1 to this script alone: the program gets @SIGNAL@ of it, saves, and ends with exit code 75.
signal= child=
trap 'signal=USR1; [ -z "$child" ] || kill -s @SIGNAL@ "$child" 2>/dev/null' USR1
trap 'signal=TERM; [ -z "$child" ] || kill -s @SIGNAL@ "$child" 2>/dev/null' TERM
"${launch[@]}" "${command[@]}" &
child=$!
[ -z "$signal" ] || kill -s @SIGNAL@ "$child"
# wait returns early whenever a trap ran: again, until the program is gone, and then for its true exit code.
while :; do wait "$child"; status=$?; kill -0 "$child" 2>/dev/null || break; done
if [ "$status" -gt 128 ]; then wait "$child"; again=$?; [ "$again" -eq 127 ] || status=$again; fi

# Whether the run was stopped (or had only begun to start) because Slurm needs its place or its time is over. Not when it
# was stopped by hand with the file STOP, and not when the job was cancelled: then it is no longer RUNNING.
goes_on() {
  [ "$status" -eq 75 ] || { [ "$signal" = USR1 ] && [ "$status" -eq @KILLED@ ]; } || return 1
  if tail -n 1 "$run/metrics.jsonl" 2>/dev/null | grep -q '"kind":"stop".*"reason":"file"'; then return 1; fi
  local details
  details=$(scontrol show job "$job")
  [[ $details == *JobState=RUNNING* ]] || return 1
  [ "$signal" != TERM ] || [[ $details == *PreemptTime=[0-9]* ]]
}
if goes_on; then
  echo "job $job goes back into the queue; the run goes on from its newest checkpoint"
  if scontrol requeue "$job"; then exit 0; fi  # Slurm ends this script here
fi
[ "$status" -eq 0 ] || echo "job $job ends with exit code $status (docs/operations.md)"
exit "$status"
)script";

constexpr std::string_view kNoWatch = R"script(
"${launch[@]}" "${command[@]}"
status=$?
[ "$status" -eq 0 ] || echo "job $job ends with exit code $status (docs/operations.md)"
exit "$status"
)script";

// Ranks end together. When one has gone for so long, the others wait for it in vain, and srun ends them.
constexpr int kPatienceSeconds = 15;

std::string replaced(std::string_view text, std::string_view mark, std::string_view value) {
  std::string result(text);
  for (std::size_t at = 0; (at = result.find(mark, at)) != std::string::npos; at += value.size())
    result.replace(at, mark.size(), value);
  return result;
}

/// The lines for sbatch.
class Options {
 public:
  void add(std::string_view name, const std::string& quoted) {
    text_ += fmt::format("#SBATCH --{}{}{}\n", name, quoted.empty() ? "" : "=", quoted);
  }
  void add_word(std::string_view name, const std::string& value) {
    if (!value.empty()) add(name, sbatch_quoted(value));
  }
  void add_count(std::string_view name, std::int64_t count) { add(name, std::to_string(count)); }
  void add_line(const std::string& option) { text_ += "#SBATCH " + sbatch_quoted(option) + "\n"; }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

std::string options_of(const JobScript& job, const SiteConfig& site) {
  Options options;
  const Resources& resources = job.resources;
  options.add_word("job-name", job.name);
  options.add_count("nodes", resources.nodes);
  options.add_count("ntasks-per-node", resources.ranks_per_node);
  options.add_count("cpus-per-task", resources.cpus_per_rank);
  if (resources.gpus_per_node > 0) options.add_count("gpus-per-node", resources.gpus_per_node);
  options.add("time", slurm_time(resources.time));
  if (job.array) options.add("array", fmt::format("0-{}", job.runs.size() - 1));
  const bool on_gpus = resources.gpus_per_node > 0 && !site.gpu_partition.empty();
  options.add_word("partition", on_gpus ? site.gpu_partition : site.partition);
  options.add_word("account", site.account);
  options.add_word("qos", site.qos);
  options.add("chdir", sbatch_quoted(job.folder.string()));
  options.add("output", sbatch_quoted(job.log));
  options.add("open-mode", "append");
  options.add("requeue", "");
  if (!job.stop_signal.empty()) options.add("signal", fmt::format("B:USR1@{}", job.stop_margin.count()));
  for (const std::string& option : site.sbatch) options.add_line(option);
  return options.text();
}

// Slurm's fences of the kind tree, its default for those without data, let a rank go on at once. Open MPI
// ends MPI_Init with one: who leaves it early may send to a rank that cannot take anything yet, and crashes.
constexpr std::string_view kRealBarriers =
    "export SLURM_PMIX_FENCE=ring  # no rank leaves MPI_Init before all are in it\n";

std::string environment_of(const JobScript& job, const SiteConfig& site) {
  std::string text(job.launched && site.launcher == Launcher::srun ? kRealBarriers : "");
  if (!site.modules.empty()) text += "module load " + shell_quoted(site.modules) + "\n";
  for (const std::string& variable : site.environment) {
    const std::size_t equals = variable.find('=');
    text +=
        fmt::format("export {}={}\n", variable.substr(0, equals), shell_quoted(variable.substr(equals + 1)));
  }
  return text;
}

std::string line_of_run(const ScriptRun& run) {
  return fmt::format("run={} arguments=({})", shell_quoted(run.folder.string()), shell_quoted(run.arguments));
}

std::string runs_of(const JobScript& job) {
  if (!job.array) return "job=$SLURM_JOB_ID\n" + line_of_run(job.runs.front()) + "\n";
  std::string text = "job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\ncase $SLURM_ARRAY_TASK_ID in\n";
  for (std::size_t i = 0; i < job.runs.size(); ++i)
    text += fmt::format("  {}) {} ;;\n", i, line_of_run(job.runs[i]));
  return text + "esac\n";
}

std::vector<std::string> launch_of(const JobScript& job, const SiteConfig& site) {
  std::vector<std::string> words;
  const Resources& resources = job.resources;
  if (job.launched && site.launcher == Launcher::srun) {
    words = {"srun"};
    if (!site.mpi.empty()) words.push_back("--mpi=" + site.mpi);
    words.emplace_back("--cpu-bind=cores");
    words.push_back(fmt::format("--wait={}", kPatienceSeconds));
  } else if (job.launched) {
    words = {"mpirun",
             "--map-by",
             fmt::format("ppr:{}:node:PE={}", resources.ranks_per_node, resources.cpus_per_rank),
             "--bind-to",
             "core",
             "-x",
             "OMP_NUM_THREADS"};
    for (const std::string& variable : site.environment) {
      words.emplace_back("-x");
      words.push_back(variable.substr(0, variable.find('=')));
    }
  }
  words.insert(words.end(), site.container.begin(), site.container.end());
  return words;
}

std::string watch_of(const JobScript& job) {
  if (job.stop_signal.empty()) return std::string(kNoWatch);
  return replaced(replaced(kWatch, "@SIGNAL@", job.stop_signal), "@KILLED@",
                  std::to_string(128 + train::stop_signal_number(job.stop_signal).value()));
}

/// "1-02:03:04", "02:03", "5": numbers and what stands between them; nothing for other text.
std::optional<std::chrono::seconds> slurm_seconds(std::string_view text) {
  std::vector<std::int64_t> numbers;
  std::string marks;
  for (const char *at = text.data(), *end = at + text.size();;) {
    std::int64_t number = 0;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc() || number < 0 || number > 1'000'000) return std::nullopt;
    numbers.push_back(number);
    if (next == end) break;
    marks += *next;
    at = next + 1;
  }
  using Form = std::pair<std::string_view, std::array<std::int64_t, 4>>;
  constexpr std::array<Form, 6> kForms{{{"", {60, 0, 0, 0}},
                                        {":", {60, 1, 0, 0}},
                                        {"::", {3600, 60, 1, 0}},
                                        {"-", {86400, 3600, 0, 0}},
                                        {"-:", {86400, 3600, 60, 0}},
                                        {"-::", {86400, 3600, 60, 1}}}};
  for (const auto& [form, seconds] : kForms) {
    if (form != marks) continue;
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i) sum += numbers[i] * seconds[i];
    return std::chrono::seconds(sum);
  }
  return std::nullopt;
}

}  // namespace

std::string batch_script(const JobScript& job, const SiteConfig& site) {
  std::string text = "#!/bin/bash\n# Written by cohort submit; sbatch submits it again.\n" +
                     options_of(job, site) + "\n" + environment_of(job, site) + runs_of(job) + "command=(" +
                     shell_quoted(job.command) + " \"${arguments[@]}\")\n" + "launch=(" +
                     shell_quoted(launch_of(job, site)) +
                     ")\n"
                     "export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK\n";
  // What the job inherited may be the end of the job that it was submitted from.
  if (!job.stop_signal.empty())
    text += "export SLURM_JOB_END_TIME=$(SLURM_TIME_FORMAT=%s squeue -h -j \"$job\" -o %e)\n";
  text += fmt::format("echo \"job $job on $SLURM_JOB_NODELIST, restart ${{SLURM_RESTART_COUNT:-0}}: {}\"\n",
                      job.launched ? "ranks: $SLURM_NTASKS, threads of each: $OMP_NUM_THREADS, bound to cores"
                                   : "one process, threads: $OMP_NUM_THREADS");
  return text + watch_of(job);
}

std::string sbatch_quoted(std::string_view word) {
  if (shell_quoted(word) == word) return std::string(word);  // also refuses control characters
  // Outside of quotes sbatch ends a word at a space, even behind a backslash.
  std::string quoted = "\"";
  for (const char letter : word) {
    if (letter == '"' || letter == '\\') quoted += '\\';
    quoted += letter;
  }
  return quoted + "\"";
}

std::string sbatch_path(const fs::path& path) {
  if (path.string().find('\\') != std::string::npos) {
    throw UsageError(
        {fmt::format("'{}' has a backslash, which Slurm does not keep in the name of a log", path.string()),
         "run_dir", "choose another folder"});
  }
  return replaced(path.string(), "%", "%%");
}

std::string slurm_time(std::chrono::seconds time) {
  const std::int64_t seconds = time.count();
  return fmt::format("{}-{:02}:{:02}:{:02}", seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60,
                     seconds % 60);
}

std::chrono::seconds parse_slurm_time(const std::string& text) {
  std::optional<std::chrono::seconds> time = slurm_seconds(text);
  if (!time) {
    try {
      config::scalar::parse(text, time.emplace());
    } catch (const std::invalid_argument&) {
      time.reset();
    }
  }
  if (!time || time->count() <= 0) {
    throw UsageError({fmt::format("'{}' is no time for a job", text), "--time",
                      "for example 12h, 90min, or as Slurm writes it: 12:00:00, 1-06:00:00"});
  }
  return *time;
}

}  // namespace cohort::jobs

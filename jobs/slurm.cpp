#include "slurm.h"

#include <chrono>
#include <sstream>

#include <fmt/format.h>

#include "cohort/core/command.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort::jobs {
namespace {

/// Lines of sbatch without its name in front of them, as one line.
std::string words_of_sbatch(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    for (const char* prefix : {"sbatch: ", "error: "}) {
      if (line.starts_with(prefix)) line.erase(0, std::string_view(prefix).size());
    }
    if (!line.empty()) lines.push_back(line);
  }
  return join(lines, "; ");
}

/// Slurm's clients retry for minutes when its controller is away.
CommandResult sbatch(const std::filesystem::path& script, const std::vector<std::string>& options) {
  std::vector<std::string> words{"sbatch"};
  words.insert(words.end(), options.begin(), options.end());
  words.push_back(script.string());
  const CommandResult result = run_command(words, std::chrono::seconds(120));
  if (result.status == 127) {
    throw UsageError({"there is no sbatch here, the command that submits jobs", script.string(),
                      "run this on a login node of the cluster, or see the script with --dry-run"});
  }
  if (result.status == 124) {
    throw UsageError({"Slurm did not answer within 120 s", script.string(),
                      "try again; scontrol ping tells whether it is up"});
  }
  if (result.status != 0) {
    throw UsageError(
        {fmt::format("Slurm refuses the job: {}", words_of_sbatch(result.errors)), script.string(),
         "check the options of this command and the site file; sinfo lists partitions and nodes"});
  }
  return result;
}

}  // namespace

std::string check_script(const std::filesystem::path& script, const std::vector<std::string>& options) {
  std::vector<std::string> words{"--test-only"};
  words.insert(words.end(), options.begin(), options.end());
  return words_of_sbatch(sbatch(script, words).errors);
}

std::string submit_script(const std::filesystem::path& script, const std::vector<std::string>& options) {
  std::vector<std::string> words{"--parsable"};
  words.insert(words.end(), options.begin(), options.end());
  const std::string answer = sbatch(script, words).output;  // "123", or "123;cluster"
  return answer.substr(0, answer.find_first_not_of("0123456789"));
}

std::map<std::string, std::string> job_states(const std::vector<std::string>& jobs) {
  std::map<std::string, std::string> states;
  if (jobs.empty()) return states;
  // Of one single job that it does not know squeue makes an error; of several it leaves it out.
  const CommandResult answer = run_command(
      {"squeue", "--noheader", "--array", "--states=all", "--jobs=" + join(jobs, ","), "--format=%i %T"},
      std::chrono::seconds(20));
  if (answer.status != 0) return states;
  std::istringstream lines(answer.output);
  for (std::string job, state; lines >> job >> state;) states[job] = state;
  return states;
}

}  // namespace cohort::jobs

// cohort-perf peak: the most memory that another program holds.
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <spawn.h>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "commands.h"

extern char** environ;

namespace cohort::perf {
namespace {

struct PeakOptions {
  std::vector<std::string> words;
  std::filesystem::path out;  ///< empty: none
};

struct Ended {
  int status = 0;
  std::int64_t bytes = 0;  ///< its largest resident set
};

/// In this terminal, with this program's input and output.
Ended run_here(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  if (::posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) {
    throw UsageError({fmt::format("there is no program '{}' to be measured", words.front()), "PROGRAM",
                      "give its path, or a name that is found in PATH"});
  }
  int status = 0;
  rusage usage{};
  while (::wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          std::int64_t{usage.ru_maxrss} * 1024};
}

/// The exit code is the program's own.
ExitCode peak(const PeakOptions& options) {
  if (options.words.empty())
    throw UsageError({"no program is named that is to be measured", "PROGRAM",
                      "name it behind --: cohort-perf peak -- cohort-data verify data/elpv"});
  const Ended ended = run_here(options.words);
  const std::string line = fmt::format("{}\n", ended.bytes);
  if (options.out.empty()) {
    fmt::print(stderr, "peak of {}: {}\n", options.words.front(),
               format_bytes(static_cast<std::uint64_t>(ended.bytes)));
  } else {  // one write: those of several ranks do not mix
    write_all(open_to_append(options.out), std::as_bytes(std::span(line)), options.out);
  }
  return static_cast<ExitCode>(ended.status);
}

}  // namespace

void add_peak(CLI::App& app, Job& job) {
  const auto options = std::make_shared<PeakOptions>();
  CLI::App* command = &add_command(
      app,
      {"peak",
       "Run a program, and say the most memory that it held at one time",
       {"cohort-perf peak -- cohort-data inspect data/elpv",
        "mpirun -n 4 cohort-perf peak -- cohort-data verify data/elpv"},
       with(endings_alone(), {ExitCode::bug, "an unexpected error; every other code is that of the program"}),
       "The most that was resident, as the system counts it: pages of files that are mapped count as well. "
       "Not less than what this "
       "program itself takes to start, some 130 MiB."});
  command->add_option("PROGRAM", options->words, "the program and its words, behind --")
      ->type_name("WORD...");
  command
      ->add_option("--out", options->out,
                   "append the bytes to this file, a line for each program that was run")
      ->type_name("FILE");
  command->callback([options, &job] { job.alone = [options] { return peak(*options); }; });
}

}  // namespace cohort::perf

#include "command_line/exit_codes.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace cohort::command_line {
namespace {

constexpr std::array<ExitCodeLine, 8> kLines{{
    {ExitCode::done, "done", "", ""},
    {ExitCode::bug, "unexpected error",
     ": a defect of Cohort or of a library; also when ranks call different collectives",
     "report it, with the message"},
    {ExitCode::usage, "bad usage or configuration", "", "correct the command or the file"},
    {ExitCode::data, "bad or missing data, or a file that cannot be read or written", "",
     "`cohort-data verify`; check path, permissions, space"},
    {ExitCode::numerical, "numerical failure: loss or gradients are not finite", "",
     "lower the learning rate, clip, or use fp32"},
    {ExitCode::rank_failed, "a rank failed or hung", "; the message names it",
     "look at the first error in the output; then run the same command again"},
    {ExitCode::out_of_memory, "out of memory",
     ", as far as the program itself is told (a rank that the system kills ends with 137)",
     "fewer images at once (`sampler.images_per_group`, `train.micro_batches`), fewer ranks on a node, more "
     "memory"},
    {ExitCode::stopped, "stopped after a checkpoint",
     ": by a signal (Ctrl-C), the end of a Slurm job's time, or the file `STOP`",
     "run the same command again: it goes on"},
}};

}  // namespace

std::span<const ExitCodeLine> exit_code_lines() {
  return kLines;
}

std::string exit_code_table() {
  std::string text = "| code | meaning | what to do |\n| --- | --- | --- |\n";
  for (const ExitCodeLine& line : kLines) {
    text += fmt::format("| {} | {}{} |{}{} |\n", static_cast<int>(line.code), line.meaning, line.more,
                        line.remedy.empty() ? "" : " ", line.remedy);
  }
  return text;
}

Ending::Ending(ExitCode exit_code) : code(exit_code) {
  for (const ExitCodeLine& line : kLines) {
    if (line.code == exit_code) meaning = line.meaning;
  }
}

std::vector<Ending> endings_alone() {
  return {ExitCode::done, ExitCode::bug, ExitCode::usage, ExitCode::data, ExitCode::out_of_memory};
}

std::vector<Ending> endings_on_ranks() {
  return with(endings_alone(), ExitCode::rank_failed);
}

std::vector<Ending> endings_of_training() {
  return with(with(endings_on_ranks(), ExitCode::numerical),
              {ExitCode::stopped, "stopped after a checkpoint; run the same command again to go on"});
}

std::vector<Ending> with(std::vector<Ending> endings, Ending changed) {
  const auto at = std::lower_bound(endings.begin(), endings.end(), changed.code,
                                   [](const Ending& ending, ExitCode code) { return ending.code < code; });
  if (at != endings.end() && at->code == changed.code) {
    *at = std::move(changed);
  } else {
    endings.insert(at, std::move(changed));
  }
  return endings;
}

}  // namespace cohort::command_line

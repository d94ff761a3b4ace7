#pragma once
#include <functional>
#include <string>
#include <vector>

#include "command_line/command.h"

namespace cohort::command_line {

/// Adds `docs`, which prints what is generated from the commands of `program`: manual pages and completion.
/// `choose` takes what is to run, without ranks. `keys`: of configurations, for the arguments OVERRIDE.
CLI::App& add_docs(
    CLI::App& program, std::function<void(std::function<ExitCode()>)> choose,
    std::function<std::vector<std::string>()> keys = [] { return std::vector<std::string>{}; });

}  // namespace cohort::command_line

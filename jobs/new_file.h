#pragma once
#include <filesystem>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/comm/communicator.h"

namespace cohort::jobs {

/// --overwrite, for a command that writes files which the user names.
void add_overwrite(CLI::App& command, bool& overwrites);

/// Before anything is computed. Throws UsageError naming the first of `files` that is there already, unless
/// the command `overwrites`. Empty paths are left out.
void refuse_existing(const std::vector<std::filesystem::path>& files, bool overwrites);
/// The same, collective: rank 0 looks.
void refuse_existing(const std::vector<std::filesystem::path>& files, bool overwrites,
                     comm::Communicator& ranks);

}  // namespace cohort::jobs

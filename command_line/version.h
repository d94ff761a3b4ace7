#pragma once
#include <string>
#include <string_view>

namespace cohort::command_line {

// Versions of libraries are those that were loaded. Neither needs MPI to be started.
std::string mpi_library();   ///< "Open MPI v4.1.4"
std::string hdf5_library();  ///< "1.10.8"

std::string_view commit();  ///< that this program was made of, "-dirty" behind it: with changes; or "unknown"

/// What --version shows: "cohort 0.1.0 (commit 8129d3b0a1b2, Release)", and a line for each library.
std::string version_text(const std::string& program);

}  // namespace cohort::command_line

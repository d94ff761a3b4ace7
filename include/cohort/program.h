#pragma once

namespace cohort {

/// The program `cohort`, for one that adds methods of its own (method/registry.h) and is `cohort` in all
/// else: parses the command line and runs the command, with MPI where it needs ranks. Returns the exit code
/// of the process. Once, from main(), after what is added. In the target cohort::program.
int run_cohort(int argc, char** argv);

}  // namespace cohort

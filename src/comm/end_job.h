#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "comm/failure.h"

namespace cohort::comm {

/// Who this process is, for reports. Before the session has begun: rank 0 of 1.
void set_identity(int rank, int size);
/// Opens each message: "cohort train".
void set_program(const std::string& program);

/// Ends the job, from whichever thread: writes this rank's report into the failure folder, tells the user
/// what happened unless another rank does, waits for `launcher` to do it, and calls MPI_Abort; ends this
/// process even if that hangs.
[[noreturn]] void end_job(const Failure& failure, std::chrono::milliseconds launcher = {});

/// A program of run_ranks() has lost a rank, and leaves its body by an exception: ends the job from here if
/// that takes long, because a destructor waits for the lost rank. Other programs go on.
void expect_end_of_job(const Failure& failure);

/// Where Open MPI's mpirun started this process: a line that says which lines are its own, as it prints some
/// below when a job ends with another exit code than 0. Else empty.
std::string launcher_note();

/// Prints to stderr, after what stdout still holds.
void say(const std::string& text);

/// On a rank that others ask because they have met a failure: writes what it is doing into the failure
/// folder, with the stack of its main thread, a line a call. Replaces what an earlier call has written.
void report_for_others(const std::vector<std::string>& stack);

}  // namespace cohort::comm

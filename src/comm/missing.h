#pragma once
#include <chrono>
#include <exception>
#include <string>

#include "comm/operation_history.h"
#include "comm/survey.h"

namespace cohort::comm {

/// The error of an operation that has waited too long, or that MPI could not carry out (`cause`): asks the
/// other ranks where they are. Bug when they called another operation under that number; RankError that names
/// the missing ranks; else `cause`.
std::exception_ptr explain_failure(const OperationHistory& history, std::int64_t sequence,
                                   std::chrono::duration<double> waited, std::exception_ptr cause = nullptr);

/// "rank 3", "ranks 0, 3".
std::string list_of_ranks(const Absentees& absent);
/// What to do about ranks that did not come.
const char* late_ranks_fix() noexcept;

}  // namespace cohort::comm

#pragma once
#include <exception>
#include <string>

#include "cohort/core/error.h"

namespace cohort::comm {

/// An exception as a value that can travel between ranks.
struct Failure {
  enum class Kind { error, bug, other };
  Kind kind = Kind::other;
  ExitCode code = ExitCode::bug;
  Error::Text text;
  bool agreed = false;  ///< every rank of a group throws it: Communicator::agree
};

Failure describe(const std::exception_ptr& error);
/// Standard output cannot be written; `error`: of the system.
Failure of_output(int error);
/// Puts "rank 2 of 4" in front of the place.
void add_rank(Failure& failure, int rank, int size);

std::string serialise(const Failure& failure);
Failure parse_failure(const std::string& text);

/// Throws the type that belongs to the failure (UsageError, …, Bug, std::runtime_error), marked as agreed.
[[noreturn]] void throw_agreed(const Failure& failure);

/// "cohort train: what\n  where: …\n  fix:   …\n"
std::string message(const std::string& program, const Failure& failure);

}  // namespace cohort::comm

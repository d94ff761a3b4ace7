#pragma once
#include <chrono>
#include <functional>
#include <string>

#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"

namespace cohort::comm {

/// How long ranks wait for each other unless somebody sets it.
inline constexpr std::chrono::seconds kDefaultTimeout{300};

/// MPI from init to finalize. run_ranks() owns the only one of a program; every Communicator is gone before
/// it is.
class Session {
 public:
  /// `timeout`: how long an operation may wait for the other ranks before RankError names those that are
  /// missing. A program started without mpirun is one rank. When somebody else has started MPI (a test main),
  /// that stays theirs and several sessions may follow each other. Throws UsageError when MPI does not
  /// support threads.
  Session(int& argc, char**& argv, std::chrono::seconds timeout);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();
  [[nodiscard]] Communicator world() const;  ///< collective
  /// For all operations that start after this call. Communicators share the session's timeout.
  static void set_timeout(std::chrono::seconds timeout) noexcept;

 private:
  bool owns_mpi_ = false;
};

/// From any thread, whatever the ranks are doing: ends the job of all of them with the message of `error`,
/// and writes nothing into the failure folder.
[[noreturn]] void end_job(const Error& error);

/// The body of every main() that uses ranks: starts the session, runs `body`, turns exceptions into one
/// message and an exit code. Ranks that were given another `program` or other words on the command line are
/// refused first, with both. Errors that all ranks agreed on (Communicator::agree) leave every rank normally
/// and rank 0 alone speaks; an error on one rank is printed by that rank, which then ends the job with
/// MPI_Abort, so that nobody hangs. Output that could not be written (a full disk) is an error as well.
/// `program` opens each message: "cohort train". Holds the only catch-all of the code base.
int run_ranks(int& argc, char**& argv, const std::string& program,
              const std::function<ExitCode(Communicator&)>& body);

/// For sub-commands that need no ranks (--help, report): as run_alone(), but when mpirun was given several
/// command lines the others are told, who would wait for this process in MPI_Init.
int run_without_ranks(int& argc, char**& argv, const std::string& program,
                      const std::function<ExitCode()>& body);

/// The same without MPI.
int run_alone(const std::string& program, const std::function<ExitCode()>& body);

}  // namespace cohort::comm

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "cohort/comm/session.h"
#include "cohort/core/cpu_capability.h"

#include "comm/end_job.h"
#include "comm/failure.h"
#include "comm/interrupt.h"
#include "comm/mpi_call.h"
#include "comm/same_command.h"

namespace cohort::comm {
namespace {

using namespace std::chrono_literals;

constexpr auto kMeetingTime = 1s;        // how long a failing rank looks for others that failed alike
constexpr auto kAgreedMeetingTime = 5s;  // they will come, once their destructors are through

// What failing ranks tell each other.
struct Fate {
  std::int64_t code = 0;
  std::uint64_t text = 0;  // hash
};

bool completes_within(MPI_Request& request, std::chrono::milliseconds time) {
  const auto deadline = std::chrono::steady_clock::now() + time;
  while (true) {
    int complete = 0;
    if (MPI_Test(&request, &complete, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
    if (complete != 0) return true;
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
}

// The fates of all ranks if all of them failed, else nothing. Buffers are static: MPI may write into them
// until the end.
std::vector<Fate> meet(MPI_Comm comm, const Fate& mine, std::chrono::milliseconds time) {
  static Fate own;
  static std::vector<Fate> all;
  own = mine;
  all.resize(static_cast<std::size_t>(size_of(comm)));
  constexpr int kFateBytes = sizeof(Fate);
  MPI_Request request = MPI_REQUEST_NULL;
  if (MPI_Iallgather(&own, kFateBytes, MPI_BYTE, all.data(), kFateBytes, MPI_BYTE, comm, &request) !=
      MPI_SUCCESS)
    return {};
  return completes_within(request, time) ? all : std::vector<Fate>{};
}

// All ranks failed: each text is said once, by the first rank that has it, and all leave with the code of
// rank 0.
int leave_together(const std::vector<Fate>& fates, int rank, const std::string& text) {
  const auto has_text = [&](const Fate& fate) {
    return fate.text == fates[static_cast<std::size_t>(rank)].text;
  };
  if (std::find_if(fates.begin(), fates.end(), has_text) - fates.begin() == rank)
    say(text + (rank == 0 ? launcher_note() : ""));
  return static_cast<int>(fates.front().code);
}

int leave(MPI_Comm comm, const std::string& program, const Failure& failure) {
  const int code = static_cast<int>(failure.code);
  const bool others_may_come = failure.agreed || failure.code != ExitCode::rank_failed;
  if (others_may_come) {
    const auto fates = meet(comm, {code, std::hash<std::string>{}(serialise(failure))},
                            failure.agreed ? kAgreedMeetingTime : std::chrono::milliseconds(kMeetingTime));
    if (!fates.empty()) return leave_together(fates, rank_in(comm), message(program, failure));
  }
  end_job(failure);
}

/// What was printed has gone out: a full disk shows at the flush. `error` of the system is lost when it came
/// earlier.
void check_output() {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0) return;
  throw DataError(of_output(errno == 0 ? EIO : errno).text);
}

int run_on(const Session& session, const std::string& program, const std::vector<std::string>& words,
           const std::function<ExitCode(Communicator&)>& body) {
  const MpiComm meeting_point = duplicate_comm(MPI_COMM_WORLD);
  std::exception_ptr error;
  try {
    (void)cpu_capability();  // refuses what it cannot be before there is work to lose
    Communicator world = session.world();
    check_same_command(program, words, world);
    const ExitCode code = body(world);
    together(world, check_output);
    if (code != ExitCode::done && world.rank() == 0) say(launcher_note());
    return static_cast<int>(code);
  } catch (...) {
    error = std::current_exception();
  }
  return leave(meeting_point.get(), program, describe(error));
}

}  // namespace

int run_ranks(int& argc, char**& argv, const std::string& program,
              const std::function<ExitCode(Communicator&)>& body) {
  set_program(program);
  const std::vector<std::string> words(argv + 1, argv + argc);  // MPI may take some away
  return run_alone(program, [&] {
    const Session session(argc, argv, kDefaultTimeout);
    return static_cast<ExitCode>(run_on(session, program, words, body));
  });
}

int run_without_ranks(int& argc, char**& argv, const std::string& program,
                      const std::function<ExitCode()>& body) {
  const char* const command_lines = std::getenv("OMPI_NUM_APP_CTX");
  if (command_lines == nullptr || std::atoi(command_lines) < 2) return run_alone(program, body);
  return run_ranks(argc, argv, program, [&](Communicator&) { return body(); });
}

int run_alone(const std::string& program, const std::function<ExitCode()>& body) {
  end_by_interrupt(program);
  try {
    const ExitCode code = body();
    if (code == ExitCode::done) check_output();
    return static_cast<int>(code);
  } catch (...) {
    const Failure failure = describe(std::current_exception());
    say(message(program, failure));
    return static_cast<int>(failure.code);
  }
}

}  // namespace cohort::comm

#include "cohort/comm/session.h"

#include <array>
#include <atomic>
#include <cstdlib>

#include "cohort/core/log.h"

#include "comm/blocking_call.h"
#include "comm/communicator_impl.h"
#include "comm/end_job.h"
#include "comm/fatal_signals.h"
#include "comm/interrupt.h"
#include "comm/mpi_call.h"
#include "comm/shared_place.h"
#include "comm/signal_thread.h"
#include "comm/watchdog.h"

namespace cohort::comm {
namespace {

std::atomic<std::chrono::seconds> timeout_of_session{kDefaultTimeout};

// Defaults for Open MPI, other libraries ignore them; what the user has set stays.
void prefer_environment() {
  constexpr int kKeep = 0;
  setenv("OMPI_MCA_mpi_yield_when_idle", "1",
         kKeep);  // more ranks than cores: 10 us instead of 20 ms a collective
  // Shared file pointers are not used: the one overruns 256 bytes with the name of a file, from 203
  // characters on, the other makes a file in /dev/shm, which may be read-only.
  setenv("OMPI_MCA_sharedfp", "^lockedfile,sm", kKeep);
}

std::string library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string version(text.data(), static_cast<std::size_t>(length));
  return version.substr(0, version.find('\n'));
}

void check_threads(int provided) {
  if (provided >= MPI_THREAD_MULTIPLE) return;
  throw UsageError({"this MPI library does not let several threads communicate (MPI_THREAD_MULTIPLE)",
                    library_version(), "load an MPI module that was built with thread support"});
}

/// Collective. Tells what the first host says that has something to say; one line, however many do.
void warn_for_all(std::string warning) {
  const int nobody = size_of(MPI_COMM_WORLD);
  int first = warning.empty() ? nobody : rank_in(MPI_COMM_WORLD);
  MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  if (first == nobody) return;
  int length = static_cast<int>(warning.size());
  MPI_Bcast(&length, 1, MPI_INT, first, MPI_COMM_WORLD);
  warning.resize(static_cast<std::size_t>(length));
  MPI_Bcast(warning.data(), length, MPI_CHAR, first, MPI_COMM_WORLD);
  log_warning(warning);
}

}  // namespace

std::chrono::nanoseconds operation_timeout() noexcept {
  return timeout_of_session.load();
}

Session::Session(int& argc, char**& argv, std::chrono::seconds timeout) {
  set_timeout(timeout);
  int initialized = 0, provided = 0;
  std::string warning;
  MPI_Initialized(&initialized);
  if (initialized != 0) {
    MPI_Query_thread(&provided);
  } else {
    prefer_environment();
    warning = choose_shared_place();
    const BlockingCall call("MPI_Init_thread");
    check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
    owns_mpi_ = true;
  }
  check_threads(provided);
  const int rank = rank_in(MPI_COMM_WORLD), size = size_of(MPI_COMM_WORLD);
  set_log_rank(rank, size);
  set_identity(rank, size);
  if (rank > 0) end_silently_by_interrupt();
  handle_signals_aside();  // after MPI_Init, whose children would inherit what is blocked
  report_fatal_signals(rank, size);
  Watchdog::start();
  if (owns_mpi_) warn_for_all(std::move(warning));
}

Session::~Session() {
  if (!owns_mpi_) return;
  const BlockingCall call("MPI_Finalize");
  MPI_Finalize();
}

Communicator Session::world() const {
  static std::atomic<std::uint64_t> worlds{0};
  return Communicator(std::make_unique<Communicator::Impl>(duplicate_comm(MPI_COMM_WORLD), "world",
                                                           combined_id(0, ++worlds)));
}

void Session::set_timeout(std::chrono::seconds timeout) noexcept {
  timeout_of_session = timeout;
}

}  // namespace cohort::comm

#include <chrono>
#include <ctime>
#include <memory>
#include <thread>

#include "cohort/comm/flight_recorder.h"

#include "comm/operation_history.h"
#include "commands.h"
#include "statistics.h"
#include "table.h"
#include "timing.h"

namespace cohort::perf {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::int64_t kCalls = 200'000;
constexpr int kRounds = 5;

/// Nanoseconds of one of kCalls calls.
template <class Call>
double nanoseconds(Call&& call) {
  const auto begin = Clock::now();
  for (std::int64_t i = 1; i <= kCalls; ++i) call(i);
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / kCalls;
}

double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// The part of a core that a process takes while its main thread sleeps.
double idle_load() {
  constexpr auto kIdle = 5s;
  const double before = processor_seconds();
  std::this_thread::sleep_for(kIdle);
  return (processor_seconds() - before) / std::chrono::duration<double>(kIdle).count();
}

/// Collective. What the flight recorder of comm takes: of an operation, of a stage, and of a process that
/// does nothing else. ExitCode::bug if the record is wrong.
ExitCode recorder(const Output& output, comm::Communicator& ranks) {
  Results results("recorder", output, ranks);
  Table& table = results.table(
      "",
      {"operation: writing down one collective; stage: announcing one; all-reduce: of 8 B, which is",
       "the smallest there is; idle: what the watchdog takes of a core while nothing else runs"},
      {{"operation", "ns", 10, 1, Role::lower},
       {"stage", "ns", 8, 1},
       {"all-reduce", "us", 10, 1},
       {"of it", "%", 8, 2},
       {"idle", "%", 8, 3},
       {"#wrong", "", 6}});
  const auto history = comm::open_history("benchmark", 1, {ranks.rank()});
  std::vector<double> operations;  // of the slowest rank
  for (int i = 0; i < kRounds; ++i) {
    operations.push_back(ranks.max(nanoseconds([&](std::int64_t) {
      const std::int64_t sequence = history->submit("all_reduce f32", 40);
      history->begin(sequence);
      history->end(sequence);
    })));
  }
  const double stage = nanoseconds([](std::int64_t i) { comm::set_activity(i, "forward"); });
  const auto nothing = [] {};
  const Times reduce = measure(ranks, 1.0, nothing, [&] { (void)ranks.sum(std::int64_t{1}); });
  const double idle = ranks.max(idle_load());
  const std::int64_t wrong =
      history->find(kRounds * kCalls).sequence == kRounds * kCalls && history->ended() == kRounds * kCalls
          ? 0
          : 1;
  const double slowest = median(operations);
  table.add(
      {slowest, ranks.max(stage), 1e6 * reduce.median, 100e-9 * slowest / reduce.median, 100 * idle, wrong},
      operations);
  results.finish();
  return ranks.max(wrong) == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace

void add_recorder(CLI::App& app, Job& job) {
  const auto output = std::make_shared<Output>();
  CLI::App* command = &add_command(app, {"recorder",
                                         "Measure what the record for reports of failures costs",
                                         {"mpirun -n 2 cohort-perf recorder"},
                                         endings_on_ranks()});
  add_output(command, *output);
  command->callback([output, &job] {
    job.with_ranks = [output](comm::Communicator& ranks) { return recorder(*output, ranks); };
  });
}

}  // namespace cohort::perf

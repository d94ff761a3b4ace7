#include "comm/missing.h"

#include <algorithm>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "comm/end_job.h"
#include "comm/watchdog.h"

namespace cohort::comm {
namespace {

constexpr std::int32_t kNamedHosts = 4;

/// "rank 2 on n3"; "ranks 0 on n1, 5 on n4": of the communicator.
std::string with_hosts(const Absentees& absent, const OperationHistory& history) {
  if (absent.count > kNamedHosts) return list_of_ranks(absent);
  std::vector<std::string> names;
  for (const std::int32_t rank : absent.named()) {
    const int in_world = history.members()[static_cast<std::size_t>(rank)];
    names.push_back(fmt::format("{} on {}", rank, Watchdog::instance()->host(in_world)));
  }
  return (absent.count == 1 ? "rank " : "ranks ") + join(names, ", ");
}

std::int64_t own_rank(const OperationHistory& history) {
  const std::vector<int>& members = history.members();
  return std::find(members.begin(), members.end(), Watchdog::instance()->rank()) - members.begin();
}

}  // namespace

std::string list_of_ranks(const Absentees& absent) {
  if (absent.count == 0) return "a rank that gave up earlier";
  std::vector<std::string> numbers;
  for (const std::int32_t rank : absent.named()) numbers.push_back(std::to_string(rank));
  const std::int32_t more = absent.count - static_cast<std::int32_t>(absent.named().size());
  return (absent.count == 1 ? "rank " : "ranks ") + join(numbers, ", ") +
         (more > 0 ? fmt::format(" and {} more", more) : "");
}

const char* late_ranks_fix() noexcept {
  return "find out why those ranks did not come (their messages, out of memory, a lost node); if they were "
         "only slow, raise comm.timeout";
}

std::exception_ptr explain_failure(const OperationHistory& history, std::int64_t sequence,
                                   std::chrono::duration<double> waited, std::exception_ptr cause) {
  Watchdog* const watchdog = Watchdog::instance();
  if (watchdog == nullptr) return cause;
  const OperationStatus mine = status_of(history, history.find(sequence));
  const Absentees absent = watchdog->survey({history.id(), mine, {}}, history.members());
  if (absent.different >= 0) {
    return std::make_exception_ptr(Bug(fmt::format(
        "ranks called different operations: {} on rank {}, rank {} called {} of {} B", name_of(mine),
        own_rank(history), absent.different, absent.operation.operation.text(), absent.operation.bytes)));
  }
  if (cause) return cause;
  const std::string who = absent.count == 0 ? list_of_ranks(absent) : with_hosts(absent, history);
  const auto error = std::make_exception_ptr(
      RankError({fmt::format("{} waited {} for {}", name_of(mine), format_duration(waited), who),
                 place_of(status_now()), late_ranks_fix()}));
  expect_end_of_job(describe(error));
  return error;
}

}  // namespace cohort::comm

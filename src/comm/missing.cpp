#include "comm/missing.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "comm/end_job.h"
#include "comm/watchdog.h"

namespace cohort::comm {
namespace {

using namespace std::chrono_literals;

constexpr auto kAskingGrace = 2s;
constexpr std::size_t kNamedHosts = 4;

using Answers = std::vector<std::optional<Answer>>;

/// "rank 1 called broadcast i64 of 8 B" for the first rank whose operation under that number is another one.
std::string other_operation(const Answers& answers, const OperationRecord& mine) {
  for (std::size_t rank = 0; rank < answers.size(); ++rank) {
    if (!answers[rank]) continue;
    const OperationStatus& theirs = answers[rank]->asked;
    if (theirs.sequence != mine.sequence) continue;
    if (theirs.bytes == mine.bytes && theirs.operation == mine.operation) continue;
    return fmt::format("rank {} called {} of {} B", rank, theirs.operation.text(), theirs.bytes);
  }
  return {};
}

std::vector<int> missing_ranks(const Answers& answers, std::int64_t sequence) {
  std::vector<int> missing;
  for (int rank = 0; rank < std::ssize(answers); ++rank) {
    const auto& answer = answers[static_cast<std::size_t>(rank)];
    if (!answer || !answer->has_reached(sequence)) missing.push_back(rank);
  }
  return missing;
}

/// "rank 2 on n3"; "ranks 0 on n1, 5 on n4": of the communicator.
std::string with_hosts(const std::vector<int>& ranks, const OperationHistory& history) {
  if (ranks.size() > kNamedHosts) return list_of_ranks(ranks);
  std::vector<std::string> names;
  for (const int rank : ranks) {
    const int in_world = history.members()[static_cast<std::size_t>(rank)];
    names.push_back(fmt::format("{} on {}", rank, Watchdog::instance()->host(in_world)));
  }
  return (ranks.size() == 1 ? "rank " : "ranks ") + join(names, ", ");
}

std::int64_t own_rank(const OperationHistory& history) {
  const std::vector<int>& members = history.members();
  return std::find(members.begin(), members.end(), Watchdog::instance()->rank()) - members.begin();
}

}  // namespace

std::string list_of_ranks(const std::vector<int>& ranks) {
  std::vector<std::string> numbers;
  for (const int rank : ranks) numbers.push_back(std::to_string(rank));
  return (ranks.size() == 1 ? "rank " : "ranks ") + join(numbers, ", ");
}

const char* late_ranks_fix() noexcept {
  return "find out why those ranks did not come (their messages, out of memory, a lost node); if they were "
         "only slow, raise comm.timeout";
}

std::exception_ptr explain_failure(const OperationHistory& history, std::int64_t sequence,
                                   std::chrono::duration<double> waited, std::exception_ptr cause) {
  Watchdog* const watchdog = Watchdog::instance();
  if (watchdog == nullptr) return cause;
  const OperationRecord mine = history.find(sequence);
  const std::string operation = name_of(status_of(history, mine));
  const Answers answers = watchdog->ask(history.members(), history.id(), sequence, kAskingGrace);
  if (const std::string other = other_operation(answers, mine); !other.empty()) {
    return std::make_exception_ptr(Bug(fmt::format("ranks called different operations: {} on rank {}, {}",
                                                   operation, own_rank(history), other)));
  }
  if (cause) return cause;
  const auto missing = missing_ranks(answers, sequence);
  const auto error = std::make_exception_ptr(
      RankError({fmt::format("{} waited {} for {}", operation, format_duration(waited),
                             missing.empty() ? "a rank that gave up earlier" : with_hosts(missing, history)),
                 place_of(status_now()), late_ranks_fix()}));
  expect_end_of_job(describe(error));
  return error;
}

}  // namespace cohort::comm

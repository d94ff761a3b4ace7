#include "comm/survey.h"

#include <algorithm>

namespace cohort::comm {
namespace {

constexpr std::size_t kMostJudges = 3;

bool has_come(const Wait& wait, const Answer& answer) {
  if (wait.id == 0) return answer.status.blocking_call == wait.blocking_call;
  return answer.has_reached(wait.operation.sequence);
}

bool is_another(const OperationStatus& mine, const OperationStatus& theirs) {
  return theirs.sequence == mine.sequence &&
         (theirs.bytes != mine.bytes || theirs.operation != mine.operation);
}

}  // namespace

bool Answer::has_reached(std::int64_t sequence) const noexcept {
  if (ended >= sequence) return true;
  return asked.sequence == sequence && asked.state >= OperationStatus::State::under_way;
}

bool Wait::is_for_the_same(const Wait& other) const noexcept {
  return id == other.id && operation.sequence == other.operation.sequence &&
         blocking_call == other.blocking_call;
}

std::span<const std::int32_t> Absentees::named() const noexcept {
  return std::span(ranks).first(std::min(static_cast<std::size_t>(count), kNamed));
}

Absentees absentees(const Wait& wait, const std::vector<std::optional<Answer>>& answers) {
  Absentees found;
  for (std::int32_t rank = 0; rank < std::ssize(answers); ++rank) {
    const auto& answer = answers[static_cast<std::size_t>(rank)];
    if (answer && wait.id != 0 && found.different < 0 && is_another(wait.operation, answer->asked)) {
      found.different = rank;
      found.operation = answer->asked;
    }
    if (answer && has_come(wait, *answer)) continue;
    const auto at = static_cast<std::size_t>(found.count++);
    if (at >= Absentees::kNamed) continue;
    found.ranks[at] = rank;
    found.is_silent[at] = !answer;
  }
  return found;
}

std::vector<std::size_t> spread_over_hosts(const std::vector<std::string>& hosts) {
  std::vector<std::size_t> chosen;
  const auto knows = [&](std::size_t at, bool host) {
    return std::any_of(chosen.begin(), chosen.end(),
                       [&](std::size_t other) { return host ? hosts[other] == hosts[at] : other == at; });
  };
  for (const bool host : {true, false}) {
    for (std::size_t at = 0; at < hosts.size() && chosen.size() < kMostJudges; ++at) {
      if (!knows(at, host)) chosen.push_back(at);
    }
  }
  return chosen;
}

}  // namespace cohort::comm

#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"

#include "train/stage_clock.h"

namespace cohort::train {

/// What the ranks spent their time on, by rank; means over `steps` steps, in seconds.
struct RankTimes {
  std::int64_t steps = 0;
  std::vector<StageTimes> ranks;
};

/// Collective. Equal on every rank; `mine` covers at least one step.
RankTimes gather_rank_times(const StageTimes& mine, comm::Communicator& ranks);

/// A rank that the others wait for.
struct Straggler {
  std::size_t rank = 0;
  double ratio = 0.0;         ///< its busy time over the median of all ranks
  Stage stage = Stage::data;  ///< where it loses most against the median of that stage
};

/// The slowest rank, if it was busy for more than 1.5 times the median.
std::optional<Straggler> find_straggler(const RankTimes& times);

/// "rank 3 on n2 is the slowest: 1.9 times the median, in data".
std::string straggler_line(const Straggler& straggler, const std::vector<std::string>& hosts);

/// Line of metrics.jsonl, kind "ranks": after `step` steps; `hosts` by rank.
std::string rank_times_json(const RankTimes& times, std::int64_t step, const std::vector<std::string>& hosts);

}  // namespace cohort::train

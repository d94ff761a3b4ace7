#include "train/rank_times.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"

#include "support/json.h"

namespace cohort::train {
namespace {

constexpr double kSlow = 1.5;
constexpr std::int64_t kColumns = 1 + static_cast<std::int64_t>(kStepStages);  // waiting, stages

double middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

/// `value(times)` of each rank.
template <class Value>
std::vector<double> column(const RankTimes& times, Value&& value) {
  std::vector<double> values;
  for (const StageTimes& rank : times.ranks) values.push_back(value(rank));
  return values;
}

Stage worst_stage(const RankTimes& times, std::size_t rank) {
  std::array<double, kStepStages> excess{};
  for (std::size_t stage = 0; stage < kStepStages; ++stage) {
    const auto values = column(times, [&](const StageTimes& of) { return of.busy[stage]; });
    excess[stage] = values[rank] - middle(values);
  }
  return static_cast<Stage>(std::max_element(excess.begin(), excess.end()) - excess.begin());
}

}  // namespace

RankTimes gather_rank_times(const StageTimes& mine, comm::Communicator& ranks) {
  COHORT_CHECK(mine.steps > 0, "times of no steps");
  std::vector<double> row{mine.waiting};
  row.insert(row.end(), mine.busy.begin(), mine.busy.end());
  const at::Tensor all = ranks.gather_rows(at::from_blob(row.data(), {1, kColumns}, at::kDouble)) /
                         static_cast<double>(mine.steps);
  RankTimes times{mine.steps, {}};
  const auto values = all.accessor<double, 2>();
  for (std::int64_t rank = 0; rank < all.size(0); ++rank) {
    StageTimes& of = times.ranks.emplace_back();
    of.waiting = values[rank][0];
    for (std::size_t stage = 0; stage < kStepStages; ++stage)
      of.busy[stage] = values[rank][static_cast<std::int64_t>(stage) + 1];
  }
  return times;
}

std::optional<Straggler> find_straggler(const RankTimes& times) {
  const auto busy = column(times, [](const StageTimes& rank) { return rank.all_busy(); });
  const auto slowest = static_cast<std::size_t>(std::max_element(busy.begin(), busy.end()) - busy.begin());
  const double median = middle(busy);
  if (median <= 0.0 || busy[slowest] <= kSlow * median) return std::nullopt;
  return Straggler{slowest, busy[slowest] / median, worst_stage(times, slowest)};
}

std::string straggler_line(const Straggler& straggler, const std::vector<std::string>& hosts) {
  return fmt::format("rank {} on {} is the slowest: {:.1f} times the median, in {}", straggler.rank,
                     hosts[straggler.rank], straggler.ratio, stage_name(straggler.stage));
}

std::string rank_times_json(const RankTimes& times, std::int64_t step,
                            const std::vector<std::string>& hosts) {
  const auto rounded = [&](auto&& value) {
    std::vector<double> values = column(times, value);
    for (double& number : values) number = nine_digits(number);
    return values;
  };
  Json json{{"kind", "ranks"}, {"step", step}, {"steps", times.steps}, {"hosts", hosts}};
  json["busy"] = rounded([](const StageTimes& rank) { return rank.all_busy(); });
  json["waiting"] = rounded([](const StageTimes& rank) { return rank.waiting; });
  for (std::size_t stage = 0; stage < kStepStages; ++stage)
    json[stage_name(static_cast<Stage>(stage))] =
        rounded([&](const StageTimes& rank) { return rank.busy[stage]; });
  return json.dump();
}

}  // namespace cohort::train

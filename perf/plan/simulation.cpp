#include "plan/simulation.h"

#include <algorithm>
#include <deque>
#include <limits>

#include "cohort/core/error.h"

namespace cohort::perf {
namespace {

constexpr double kDone = 1e-15;  // seconds of work that count as none

RankGroup group_of(Lane lane, const Cluster& cluster, const Layout& layout) {
  switch (lane) {
    case Lane::parameters:
    case Lane::gradients:
      return row_group(cluster, layout.shards);
    case Lane::replicate:
      return column_group(cluster, layout.shards);
    default:
      return world_group(cluster);
  }
}

/// A collective on its way.
struct UnderWay {
  std::size_t number;
  double latency, transfer;  // left
};

class Simulation {
 public:
  Simulation(const Rehearsal& rehearsal, const Cluster& cluster, const Layout& layout,
             const std::function<double(const Action&)>& compute_seconds)
      : rehearsal_(rehearsal), cluster_(cluster), layout_(layout), compute_seconds_(compute_seconds) {
    done_.assign(rehearsal.collectives.size(), false);
  }

  SimulatedStep run() {
    while (issue()) advance();
    return result_;
  }

 private:
  /// Carries on until the thread computes or waits; false: it is through.
  bool issue() {
    for (; next_ < rehearsal_.actions.size(); ++next_) {
      const Action& action = rehearsal_.actions[next_];
      if (action.kind == Action::Kind::start) {
        start(action.collective);
      } else if (action.kind == Action::Kind::wait) {
        if (!done_[action.collective]) return true;
      } else {
        if (!computing_) left_ = compute_seconds_(action), computing_ = true;
        if (left_ > kDone) return true;
        computing_ = false;
      }
    }
    return false;
  }

  void start(std::size_t number) {
    const RehearsedCollective& collective = rehearsal_.collectives[number];
    const std::string name = collective.operation.substr(0, collective.operation.find(' '));
    const CollectiveTime time =
        collective_time(name, collective.moved, group_of(collective.lane, cluster_, layout_), cluster_);
    lanes_[static_cast<std::size_t>(collective.lane)].push_back({number, time.latency, time.transfer});
  }

  /// What those that transfer at the same time share.
  [[nodiscard]] bool crosses_nodes(std::size_t lane) const {
    return group_of(static_cast<Lane>(lane), cluster_, layout_).nodes() > 1;
  }

  void advance() {
    const bool cpu = cluster_.processor.is_cpu();
    const double core =
        cpu ? std::min(1.0, static_cast<double>(cluster_.processor.cores) / cluster_.per_node) : 1.0;
    std::array<int, 2> transfers{};
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      if (!lanes_[lane].empty() && lanes_[lane].front().latency <= kDone) ++transfers[crosses_nodes(lane)];
    }
    const int on_core = transfers[0] + transfers[1] + (computing_ ? 1 : 0);
    const double compute_rate = cpu ? core / std::max(on_core, 1) : 1.0;
    const auto transfer_rate = [&](std::size_t lane) {
      return cpu ? core / std::max(on_core, 1) : 1.0 / std::max(transfers[crosses_nodes(lane)], 1);
    };
    double step = computing_ ? left_ / compute_rate : std::numeric_limits<double>::max();
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      if (lanes_[lane].empty()) continue;
      const UnderWay& front = lanes_[lane].front();
      step = std::min(step, front.latency > kDone ? front.latency : front.transfer / transfer_rate(lane));
    }
    COHORT_CHECK(step < std::numeric_limits<double>::max(),
                 "a rank waits for a collective that nobody began");
    account(step);
    if (computing_) left_ -= step * compute_rate;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      if (lanes_[lane].empty()) continue;
      UnderWay& front = lanes_[lane].front();
      if (front.latency > kDone) {
        front.latency -= step;
      } else {
        front.transfer -= step * transfer_rate(lane);
      }
      if (front.latency > kDone || front.transfer > kDone) continue;
      done_[front.number] = true;
      lanes_[lane].pop_front();
    }
  }

  void account(double step) {
    result_.seconds += step;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      if (!lanes_[lane].empty()) result_.busy[lane] += step;
    }
    if (!computing_) {
      result_.waiting += step;
      return;
    }
    switch (rehearsal_.actions[next_].pass) {
      case Pass::forward:
        result_.forward += step;
        break;
      case Pass::backward:
        result_.backward += step;
        break;
      default:
        result_.update += step;
    }
  }

  const Rehearsal& rehearsal_;
  const Cluster& cluster_;
  const Layout& layout_;
  const std::function<double(const Action&)>& compute_seconds_;
  std::size_t next_ = 0;
  bool computing_ = false;
  double left_ = 0;  // of what is computed
  std::array<std::deque<UnderWay>, kLanes> lanes_;
  std::vector<bool> done_;
  SimulatedStep result_;
};

}  // namespace

SimulatedStep simulate(const Rehearsal& rehearsal, const Cluster& cluster, const Layout& layout,
                       const std::function<double(const Action&)>& compute_seconds) {
  return Simulation(rehearsal, cluster, layout, compute_seconds).run();
}

}  // namespace cohort::perf

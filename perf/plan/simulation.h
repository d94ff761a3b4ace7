#pragma once
#include <array>
#include <functional>

#include "plan/collective_cost.h"
#include "plan/rehearsal.h"

namespace cohort::perf {

/// Seconds of one rank's step.
struct SimulatedStep {
  double seconds = 0;
  double forward = 0, backward = 0,
         update = 0;                  ///< computing; with a share of the core, where communication has one
  double waiting = 0;                 ///< for collectives
  std::array<double, kLanes> busy{};  ///< a collective of the lane was under way
};

/// Runs a step as queues: the thread (on a GPU: the stream) that computes, and one for each communicator.
/// Collectives under way at the same time share the links that they use: those within a node, or those
/// between nodes, go at 1/k of their speed each. On a CPU what computes and what communicates share the
/// rank's core in the same way, of which ranks that outnumber the cores have a part. Ranks do not differ: no
/// stragglers, no noise.
SimulatedStep simulate(const Rehearsal& rehearsal, const Cluster& cluster, const Layout& layout,
                       const std::function<double(const Action&)>& compute_seconds);

}  // namespace cohort::perf

#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model_cost.h"
#include "plan/workload.h"

namespace cohort::perf {

/// Communicators of a run: those of comm::DeviceMesh, and the trainer's own. Collectives of one run one after
/// another, those of different ones at the same time.
enum class Lane { parameters, gradients, replicate, mesh, world };
inline constexpr int kLanes = 5;
/// As in traces: "parameters".
std::string_view lane_name(Lane lane) noexcept;

struct PlannedCollective {
  Lane lane = Lane::world;
  std::string operation;  ///< "all_gather f32", as in traces and reports of failures
  double bytes = 0;       ///< that it is called with on a rank, as in traces: an all-gather's own part
  double moved = 0;       ///< of the larger buffer
};

/// What the thread that computes does, in order.
struct Instruction {
  enum class Kind { compute, start, wait };
  Kind kind = Kind::compute;
  std::size_t collective = 0;  ///< started or waited for
  // What is computed: kernels of this part, unit and pass. A backward pass includes what is computed again.
  std::size_t part = 0;
  int unit = kRoot;
  Pass pass = Pass::forward;
  double share = 1;  ///< of these kernels' work: views of one size are a part of all
};

struct Schedule {
  std::vector<Instruction> instructions;
  std::vector<PlannedCollective> collectives;  ///< in the order of their start
};

/// Ranks and how the model lies on them.
struct Layout {
  int ranks = 1, shards = 1;
};

/// Values of a flat parameter of parameters with these counts, with its padding, as shard::FlatParameter lays
/// it out.
std::int64_t padded_length(const std::vector<PlannedParameter>& parameters, int ranks);

/// The flat parameters of a unit: {values with padding, computed with in bf16, trained}.
struct PlannedFlat {
  std::int64_t length = 0;
  bool narrow = false, trained = true;
  std::int64_t norm_pieces = 0;  ///< sums that its gradients' norms are made of
};
std::vector<PlannedFlat> flats_of(const std::vector<PlannedParameter>& unit, bool is_root,
                                  const shard::ShardingConfig& config, int ranks);

/// One training step of shard::ShardedModel, shard::GradientReducer and train::Trainer on one rank: every
/// collective in the engine's order, and what is computed between them. All ranks do the same, so that one
/// stands for all. tests/perf/plan_schedule_test.cpp holds it to what ranks of a real run record, name by
/// name and byte by byte. `micro_batches`: backward passes of the step.
Schedule make_schedule(const Workload& workload, const Layout& layout, int micro_batches);

}  // namespace cohort::perf

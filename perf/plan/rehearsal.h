#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/data/batch.h"
#include "cohort/data/description.h"
#include "cohort/data/signature.h"
#include "cohort/method/method.h"
#include "cohort/train/run_config.h"

#include "plan/operators.h"

namespace cohort::perf {

/// Of a training step. `backward`: with what is computed again under activation checkpointing. `average`:
/// what follows the update, the moving average that a teacher is.
enum class Pass { forward, backward, optimizer, average };
std::string_view pass_name(Pass pass) noexcept;

/// Communicators of a run: those of comm::DeviceMesh, and the trainer's own. Collectives of one run one after
/// another, those of different ones at the same time.
enum class Lane { parameters, gradients, replicate, mesh, world };
inline constexpr int kLanes = 5;
/// As in traces: "parameters".
std::string_view lane_name(Lane lane) noexcept;

struct RehearsedCollective {
  Lane lane = Lane::world;
  std::string operation;  ///< "all_gather f32", as in traces and reports of failures
  double bytes = 0;       ///< that it is called with on a rank, as in traces: an all-gather's own part
  double moved = 0;       ///< of the larger buffer
};

/// What the thread that computes does next: operators of one pass, or it starts or waits for a collective.
struct Action {
  enum class Kind { compute, start, wait };
  Kind kind = Kind::compute;
  std::size_t collective = 0;
  Pass pass = Pass::forward;
  std::vector<Operator> operators = {};
};

/// Bytes of a rank's tensors.
struct RehearsedMemory {
  double parameters = 0;   ///< as they lie between steps
  double teacher = 0;      ///< of parts that are not trained
  double gradients = 0;    ///< this rank's shards
  double state = 0;        ///< of the optimizer
  double batch = 0;        ///< all views and columns
  double activations = 0;  ///< besides, behind the forward pass of the last micro-batch
  double peak = 0;         ///< the most during a step, all of the above included
};

/// A training step as rank 0 of several does it.
struct Rehearsal {
  std::vector<Action> actions;
  std::vector<RehearsedCollective> collectives;  ///< in the order of their start
  RehearsedMemory memory;

  /// FLOP of forward and backward passes for the model FLOPs utilization of PaLM (arXiv 2204.02311, appendix
  /// B). Of a rehearsal without activation checkpointing: what is computed again would count.
  [[nodiscard]] double model_flops() const noexcept;
};

/// How many ranks there are, and how many of them share a model.
struct Layout {
  int ranks = 1, shards = 1;
};

/// What a rank works on in a step, without values: on the device "meta", and what a loader keeps on the host.
struct RehearsedBatch {
  data::Batch host, on_device;
  std::int64_t groups = 1;
  int passes = 1;  ///< backward passes, of as many groups each
};

/// Of so many images; in whole groups where there are as many.
RehearsedBatch blank_batch(const train::RunConfig& config, const data::Description& description,
                           std::int64_t images, int passes);

/// Does the second step of a run: the method, its networks, the engine and the optimizer are those that
/// train, on the device "meta" and among ranks of which the others are not there, so that nothing is computed
/// and nothing moves. What depends on values is done as with zeros. Networks lose their values; a method may
/// be rehearsed again. Throws UsageError: sharding that ranks cannot have. One thread at a time.
Rehearsal rehearse(train::RunConfig config, method::Method& method, const data::Signature& signature,
                   const RehearsedBatch& batch, const Layout& layout);

}  // namespace cohort::perf

#pragma once
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/mesh.h"

#include "flat_parameter.h"
#include "summation_tree.h"

namespace cohort::shard {

/// The gradients of a flat parameter on their way from all ranks to the shards. Collective: every rank goes
/// through the same calls in the same order.
class Reduction {
 public:
  Reduction() = default;
  Reduction(const Reduction&) = delete;
  Reduction& operator=(const Reduction&) = delete;
  virtual ~Reduction() = default;
  /// Waits for the first transfer and starts the next, if there is one.
  virtual void advance() = 0;
  /// Waits for all of them; the shard's gradient is then final.
  virtual void finish() = 0;
};

/// Sums in whatever order is fastest: reduce-scatter within the row of the mesh, all-reduce within the
/// column. `gradient` [padded] is this rank's whole gradient. `add`: to the shard's gradient instead of
/// replacing it.
std::unique_ptr<Reduction> start_reduction(FlatParameter& flat, at::Tensor gradient, bool add,
                                           comm::DeviceMesh& mesh);

/// Sums in the order of the tree. `nodes`: what this rank's stack holds after its last group, each [padded]
/// f32.
std::unique_ptr<Reduction> start_tree_reduction(FlatParameter& flat, std::vector<at::Tensor> nodes,
                                                const SummationTree& tree, comm::DeviceMesh& mesh);

}  // namespace cohort::shard

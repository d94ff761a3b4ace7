#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/mesh.h"
#include "cohort/shard/sharded_model.h"

#include "buffer_pool.h"

namespace cohort::shard {

struct NamedParameter {
  std::string name;
  at::Tensor tensor;
  int layer = 0;
};

/// Values are cut between ranks, and summed for norms, in chunks of this many.
inline constexpr std::int64_t kChunk = 1024;
/// Parameters start at multiples of this many, 64 bytes: whole cache lines and vector registers.
inline constexpr std::int64_t kAlignment = 16;

/// Parameters of one unit that are alike (all trained or all frozen, computed with in one dtype) as one flat
/// tensor. This rank keeps a slice of its values in fp32; the whole, which the parameters are views of, comes
/// and goes, or stays. Padding between parameters and at the end is zero in values and gradients.
class FlatParameter {
 public:
  struct Traits {
    bool trained = true;
    bool keeps_whole = true;                  ///< the whole values stay in memory between uses
    at::ScalarType whole_type = at::kFloat;   ///< that the model computes with
    at::ScalarType reduce_type = at::kFloat;  ///< of gradients on their way
    bool whole_gradient_is_shard =
        false;  ///< one shard, reduced in place: autograd's sums need no second buffer
    at::Device device = at::kCPU;
  };
  /// `parameters`: at least one. They become views of the whole, on traits.device, with undefined values.
  FlatParameter(std::vector<NamedParameter> parameters, const Traits& traits, comm::DeviceMesh& mesh,
                std::shared_ptr<BufferPool> pool);
  FlatParameter(const FlatParameter&) = delete;
  FlatParameter& operator=(const FlatParameter&) = delete;
  ~FlatParameter() = default;

  [[nodiscard]] const std::vector<ParameterSlot>& slots() const noexcept { return slots_; }
  [[nodiscard]] const std::vector<NamedParameter>& parameters() const noexcept { return parameters_; }
  [[nodiscard]] bool trained() const noexcept { return traits_.trained; }
  [[nodiscard]] at::ScalarType reduce_type() const noexcept { return traits_.reduce_type; }
  [[nodiscard]] std::int64_t padded() const noexcept { return padded_; }
  /// This rank's part as optimizers and checkpoints see it.
  [[nodiscard]] FlatShard shard(const comm::DeviceMesh& mesh) const;

  /// Collective. Sets all values: `fill` writes those of one parameter (fp32, on the CPU), on rank 0 alone.
  void initialise(const std::function<void(const std::string&, at::Tensor&)>& fill, comm::DeviceMesh& mesh);
  /// Collective. All values in fp32 [padded], on every rank.
  [[nodiscard]] at::Tensor gathered(comm::DeviceMesh& mesh) const;

  /// Whether the whole values need no gathering, ever: there is one shard and it is the whole.
  [[nodiscard]] bool is_always_whole() const noexcept { return shard_is_view_ && shards_ == 1; }
  /// Collective. Begins to fill the whole from the slices of all ranks; it is there when the work is done.
  comm::Work gather(comm::DeviceMesh& mesh);
  /// Gives the memory of the whole back, unless it is to be kept: then returns true.
  bool release();

  /// Adds `gradient` of parameter number `slot` to the whole gradient of this rank.
  void add_gradient(std::size_t slot, const at::Tensor& gradient);
  /// The whole gradient [padded] of this rank; zero where nothing was added. Forgets it.
  [[nodiscard]] at::Tensor take_gradient();
  [[nodiscard]] const at::Tensor& shard_gradient() const noexcept { return shard_gradient_; }
  [[nodiscard]] const std::shared_ptr<BufferPool>& pool() const noexcept { return pool_; }

  /// Throws Bug if somebody replaced the storage of a parameter.
  void check_views() const;

 private:
  void lay_out(std::int64_t blocks);
  void make_views();
  void allocate_whole();
  [[nodiscard]] at::Tensor own_part() const;
  [[nodiscard]] at::Tensor part_of(const at::Tensor& flat, std::size_t slot) const;
  void begin_gradient();
  void clear_gaps(const at::Tensor& flat) const;

  std::vector<NamedParameter> parameters_;  // in the order of the slots
  Traits traits_;
  std::shared_ptr<BufferPool> pool_;
  int shards_;
  std::vector<ParameterSlot> slots_;
  std::vector<std::pair<std::int64_t, std::int64_t>> gaps_;  // [begin, end) of padding
  std::int64_t padded_ = 0, begin_ = 0, length_ = 0;         // of the whole; of this rank's slice
  bool shard_is_view_ = false;                               // the slice is part of the whole
  at::Tensor whole_, shard_value_, shard_gradient_;
  at::Tensor whole_gradient_;       // undefined while nothing was added
  std::vector<bool> has_gradient_;  // by slot
};

}  // namespace cohort::shard

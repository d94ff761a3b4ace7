#include <algorithm>
#include <functional>
#include <numeric>

#include "cohort/core/error.h"
#include "cohort/shard/sharded_model.h"

namespace cohort::shard {
namespace {

// Cuts `values` where the slots of the unit lie and keeps share `part` of `parts` of each cut.
std::vector<NamedPiece> cut(const FlatShard& shard, const at::Tensor& values, std::int64_t part,
                            std::int64_t parts) {
  COHORT_CHECK(values.dim() == 1 && values.numel() == shard.value.numel(), "{} values for a shard of {}",
               values.numel(), shard.value.numel());
  const std::int64_t shard_end = shard.begin + shard.value.numel();
  std::vector<NamedPiece> pieces;
  for (const ParameterSlot& slot : shard.slots) {
    const std::int64_t count =
        std::accumulate(slot.shape.begin(), slot.shape.end(), std::int64_t{1}, std::multiplies<>());
    const std::int64_t held_begin = std::max(slot.offset, shard.begin);
    const std::int64_t held =
        std::max<std::int64_t>(0, std::min(slot.offset + count, shard_end) - held_begin);
    const std::int64_t begin = held_begin + held * part / parts, end = held_begin + held * (part + 1) / parts;
    if (begin == end) continue;
    pieces.push_back(
        {slot.name, slot.shape, begin - slot.offset, values.narrow(0, begin - shard.begin, end - begin)});
  }
  return pieces;
}

}  // namespace

std::vector<NamedPiece> pieces_to_save(const FlatShard& shard, const at::Tensor& values) {
  return cut(shard, values, shard.replica, shard.replicas);
}

std::vector<NamedPiece> pieces_to_load(const FlatShard& shard, const at::Tensor& values) {
  return cut(shard, values, 0, 1);
}

}  // namespace cohort::shard

#include "cohort/shard/ema.h"

#include <algorithm>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mul.h>

#include "cohort/core/error.h"

namespace cohort::shard {
namespace {

bool same_place(const ParameterSlot& a, const ParameterSlot& b) {
  return a.name == b.name && a.shape == b.shape && a.offset == b.offset;
}

bool same_slice(const FlatShard& a, const FlatShard& b) {
  return a.begin == b.begin && a.value.numel() == b.value.numel() &&
         std::equal(a.slots.begin(), a.slots.end(), b.slots.begin(), b.slots.end(), same_place);
}

}  // namespace

void update_ema(std::span<FlatShard> teacher, std::span<const FlatShard> student, double decay) {
  COHORT_CHECK(decay >= 0.0 && decay <= 1.0, "an average that decays by {}", decay);
  COHORT_CHECK(teacher.size() == student.size(), "{} shards follow {}", teacher.size(), student.size());
  for (std::size_t i = 0; i < teacher.size(); ++i)
    COHORT_CHECK(same_slice(teacher[i], student[i]), "shard {} of the teacher is cut otherwise", i);
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < teacher.size(); ++i) {
    // Three operations that round once each: the same bits wherever a value lies in its shard.
    teacher[i].value.mul_(decay).add_(at::mul(student[i].value, 1.0 - decay));
  }
}

}  // namespace cohort::shard

#include "cohort/shard/ema.h"

#include <algorithm>
#include <map>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <c10/util/StringUtil.h>
#include <c10/util/accumulate.h>

#include "cohort/core/error.h"

namespace cohort::shard {
namespace {

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

Shapes shapes_of(std::span<const FlatShard> shards) {
  Shapes shapes;
  for (const FlatShard& shard : shards) {
    for (const ParameterSlot& slot : shard.slots) shapes[slot.name] = slot.shape;
  }
  return shapes;
}

std::string shape_text(const Shapes& shapes, const std::string& name) {
  const auto found = shapes.find(name);
  return found == shapes.end() ? "missing" : c10::str(at::IntArrayRef(found->second));
}

// The student may have parameters besides: the predictor of BYOL.
void check_alike(const Shapes& teacher, const Shapes& student) {
  std::string differences;
  for (const auto& [name, shape] : teacher) {
    const std::string theirs = shape_text(teacher, name), ours = shape_text(student, name);
    if (theirs != ours)
      differences += fmt::format("\n  {}: {}, and {} in the part that is followed", name, theirs, ours);
  }
  COHORT_CHECK(differences.empty(), "a part cannot follow one that lacks its parameters:{}", differences);
}

bool same_place(const ParameterSlot& a, const ParameterSlot& b) {
  return a.name == b.name && a.offset == b.offset;
}

// The same answer on every rank.
bool cut_alike(const FlatShard& a, const FlatShard& b) {
  return a.value.numel() == b.value.numel() &&
         std::equal(a.slots.begin(), a.slots.end(), b.slots.begin(), b.slots.end(), same_place);
}

// Moves teachers towards students in three operations that round once each: the same bits wherever a value
// lies in its shard. On a device one launch of each serves many shards, as many as `most` values, which
// bounds the memory of the product.
class Blender {
 public:
  explicit Blender(double decay) : decay_(decay) {}

  void add(at::Tensor teacher, at::Tensor student) {
    const std::int64_t most = teacher.is_cuda() ? std::int64_t{1} << 26 : 0;
    values_ += teacher.numel();
    teachers_.push_back(std::move(teacher));
    students_.push_back(std::move(student));
    if (values_ > most) finish();
  }

  void finish() {
    if (teachers_.empty()) return;
    at::_foreach_mul_(teachers_, decay_);
    at::_foreach_add_(teachers_, at::_foreach_mul(students_, 1.0 - decay_));
    teachers_.clear();
    students_.clear();
    values_ = 0;
  }

 private:
  double decay_;
  std::int64_t values_ = 0;
  std::vector<at::Tensor> teachers_, students_;
};

const ParameterSlot* find_slot(const FlatShard& shard, const std::string& name) {
  const auto found = std::find_if(shard.slots.begin(), shard.slots.end(),
                                  [&](const ParameterSlot& slot) { return slot.name == name; });
  return found == shard.slots.end() ? nullptr : &*found;
}

bool shares_none(const FlatShard& ours, std::span<const FlatShard> theirs) {
  return std::none_of(ours.slots.begin(), ours.slots.end(), [&](const ParameterSlot& slot) {
    return std::any_of(theirs.begin(), theirs.end(),
                       [&](const FlatShard& shard) { return find_slot(shard, slot.name) != nullptr; });
  });
}

// `whole`: all values of a flat parameter of the student that has `ours` in its slots.
void follow(const FlatShard& theirs, const ParameterSlot& ours, const at::Tensor& whole, Blender& blender) {
  const ParameterSlot* slot = find_slot(theirs, ours.name);
  if (slot == nullptr) return;
  const std::int64_t begin = std::max(slot->offset, theirs.begin),
                     end = std::min(slot->offset + c10::multiply_integers(slot->shape),
                                    theirs.begin + theirs.value.numel());
  if (begin >= end) return;
  blender.add(theirs.value.narrow(0, begin - theirs.begin, end - begin),
              whole.narrow(0, ours.offset + begin - slot->offset, end - begin));
}

}  // namespace

void update_ema(ShardedModel& teacher, ShardedModel& student, double decay) {
  COHORT_CHECK(decay >= 0.0 && decay <= 1.0, "an average that decays by {}", decay);
  const std::span<FlatShard> theirs = teacher.shards(), ours = student.shards();
  check_alike(shapes_of(theirs), shapes_of(ours));
  const at::NoGradGuard no_grad;
  Blender blender(decay);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const auto alike = std::find_if(theirs.begin(), theirs.end(),
                                    [&](const FlatShard& shard) { return cut_alike(shard, ours[i]); });
    if (alike != theirs.end()) {
      blender.add(alike->value, ours[i].value);
      continue;
    }
    if (shares_none(ours[i], theirs)) continue;
    const at::Tensor whole = student.gathered(i);
    for (const ParameterSlot& slot : ours[i].slots) {
      for (const FlatShard& shard : theirs) follow(shard, slot, whole, blender);
    }
  }
  blender.finish();
  teacher.parameters_changed();
}

}  // namespace cohort::shard

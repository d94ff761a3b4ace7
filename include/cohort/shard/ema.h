#pragma once
#include <span>

#include "cohort/shard/sharded_model.h"

namespace cohort::shard {

/// Moves the shards of a teacher towards those of its student: an exponential moving average over steps,
///   teacher = decay teacher + (1 - decay) student,
/// value by value, trained and frozen ones alike (DINO, arXiv 2104.14294, section 3.1). Both models are cut
/// alike: same slots (names, shapes, offsets) in the same order, same slices; else Bug. That needs the same
/// strategy, and parameters divided in the same way into trained and frozen flat tensors. decay: 0 … 1.
/// Not collective. Afterwards the teacher's ShardedModel::parameters_changed() is due.
void update_ema(std::span<FlatShard> teacher, std::span<const FlatShard> student, double decay);

}  // namespace cohort::shard

#pragma once
#include "cohort/shard/sharded_model.h"

namespace cohort::shard {

/// Moves the parameters of a teacher towards those of its student: an exponential moving average over steps,
///   teacher = decay teacher + (1 - decay) student,
/// value by value, trained and frozen ones alike (DINO, arXiv 2104.14294, section 3.1). The same bits
/// whatever either model freezes, whatever their strategies, on any number of ranks. decay: 0 … 1.
///
/// Collective. Flat parameters that both models cut alike need no communication: those of units in which both
/// divide their parameters in the same way into trained and frozen ones, a teacher that is frozen as a whole
/// and a student that is trained as a whole included. Of other ones the student's values are gathered, one
/// flat parameter at a time. Both models live on the same ranks. The student may have parameters that the
/// teacher lacks (the predictor of BYOL). Throws Bug, the same on every rank and before anything is changed,
/// if the teacher has others, or of other shapes.
void update_ema(ShardedModel& teacher, ShardedModel& student, double decay);

}  // namespace cohort::shard

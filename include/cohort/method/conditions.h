#pragma once
#include <cstdint>

#include "cohort/data/batch.h"
#include "cohort/method/method.h"
#include "cohort/nn/conditions.h"

namespace cohort::method {

/// What a forward pass over `count` views of a batch, from number `first` on, knows of its images: the views
/// stand one after the other, [count * B, …]. The random numbers of an image in a view are keyed by
/// sample * V + view, where V is the number of all views of the batch. `training`: dropout and stochastic
/// depth are on. `pass` is 0: a method that runs a model once more in a step, as for the second view, sets
/// another number for each run, else the running statistics of batch normalisation move once for all of them.
nn::Conditions conditions(const data::Batch& batch, const Step& step, nn::Scope scope, std::int64_t first,
                          std::int64_t count, bool training);

}  // namespace cohort::method

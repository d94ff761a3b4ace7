#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cohort/eval/scorecard.h"
#include "cohort/eval/task.h"

namespace cohort::eval {

/// The values of `names` that have images, by key. `scores_of(i)`: of the images of value number i of all;
/// without samples: there are none.
std::vector<ScoredContexts> scored_contexts(const ContextNames& names,
                                            const std::function<ScoredGroup(std::size_t value)>& scores_of);

/// The contexts of image number `image`, as AnsweredImages has them.
std::span<const std::int32_t> contexts_of(const AnsweredImages& images, const ContextNames& names,
                                          std::size_t image);

/// Half of the 95 % interval of a mean of `count` > 1 values by Student's distribution. `squares`: sum of
/// squared deviations from the mean.
double half_interval_of_mean(std::int64_t count, double squares);

}  // namespace cohort::eval

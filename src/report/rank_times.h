#pragma once
#include <string>

#include "run.h"

namespace cohort::report {

/// A table of the ranks, the busiest first, as part of a page.
std::string rank_times_html(const RankTimes& times);

}  // namespace cohort::report

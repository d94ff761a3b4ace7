#pragma once
#include <memory>
#include <vector>

#include "cohort/data/view_maker.h"

namespace cohort::augment {

/// All views of all `makers`, one maker after the other; their recipes lie one behind the other.
std::unique_ptr<data::ViewMaker> several_views(std::vector<std::unique_ptr<data::ViewMaker>> makers);

}  // namespace cohort::augment

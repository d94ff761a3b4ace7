#pragma once
#include <span>
#include <string>

#include "run.h"

namespace cohort::report {

/// A section with what was taken for what on each split: a table for up to 16 classes, else the most frequent
/// confusions. Empty without such counts.
std::string confusions(std::span<const Run> runs);

}  // namespace cohort::report

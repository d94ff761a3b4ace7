#pragma once
#include <span>
#include <string>

#include "run.h"

namespace cohort::report {

// Sections of the page that show what scorecards hold besides their scores; empty where no run has any.

/// Scores of the values of each context key: bars of the first score with its interval, worst first, and
/// tables of all scores.
std::string context_sections(std::span<const Run> runs);
/// A table of classes for each run and split.
std::string class_sections(std::span<const Run> runs);
/// ROC, precision and recall, calibration and the like: runs in one chart where each has one curve, else a
/// chart for each run with up to eight classes.
std::string curve_sections(std::span<const Run> runs);
/// Images to be looked at, such as the most confident errors.
std::string case_sections(std::span<const Run> runs);

}  // namespace cohort::report

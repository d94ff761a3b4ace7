#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "cohort/report/report.h"

#include "run.h"

namespace cohort::report {

/// How many cases of an evaluation are shown.
inline constexpr std::size_t kMostCases = 20;
/// Of pictures of cases in all, so that a page stays below 5 MB.
inline constexpr std::size_t kMostCasePictures = 1'000'000;  // bytes

/// Gives the cases that are shown their pictures: the first one of each evaluation, then the second ones, as
/// far as kMostCasePictures go. `folders`: of the runs.
void add_case_pictures(std::vector<Run>& runs, std::span<const std::filesystem::path> folders,
                       const PictureOf& picture_of);

}  // namespace cohort::report

#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace cohort::report {

/// A table with ruled borders for the terminal, UTF-8. `lines`: cells of equal number; the first two are the
/// heading, and a rule stands above every line of `sections` (indices ≥ 2). Two columns to the left, the
/// others to the right.
std::string text_table(const std::vector<std::vector<std::string>>& lines,
                       const std::vector<std::size_t>& sections);

}  // namespace cohort::report

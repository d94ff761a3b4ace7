#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace cohort::report {

/// A table with ruled borders for the terminal, UTF-8. `lines`: cells of equal number; the first two are the
/// heading, and a rule stands above every line of `sections` (indices ≥ 2). Two columns to the left, the
/// others to the right. Cells are made printable and cut to 100 columns.
std::string text_table(std::vector<std::vector<std::string>> lines, const std::vector<std::size_t>& sections);

}  // namespace cohort::report

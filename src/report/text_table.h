#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace cohort::report {

/// A table with ruled borders for the terminal, UTF-8. `lines`: cells of equal number; the first two are the
/// heading, and a rule stands above every line of `sections` (indices ≥ 2). Two columns to the left, the
/// others to the right. Cells are made printable and cut to 100 columns. Where the table is wider than
/// `columns` of a terminal, columns are left out from the right, and a line below names them.
std::string text_table(std::vector<std::vector<std::string>> lines, const std::vector<std::size_t>& sections,
                       std::optional<std::size_t> columns = std::nullopt);

}  // namespace cohort::report

#pragma once
#include <string_view>

namespace cohort::report {

/// The style sheet of the page: light and dark, as the reader's system prefers.
std::string_view style_sheet() noexcept;

}  // namespace cohort::report

#pragma once
#include <string>
#include <vector>

namespace cohort {

/// The last lines that this process logged, oldest first, at most 20: on ranks other than 0 also those that
/// log_info() did not print. For reports of failures. Any thread.
std::vector<std::string> last_log_lines();

}  // namespace cohort

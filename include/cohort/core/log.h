#pragma once
#include <filesystem>
#include <string_view>

namespace cohort {

/// Process-wide log: stderr, and a file once start_log_file() was called. Ranks other than 0 are silent
/// unless something is wrong, so that a message appears once. Safe from any thread. Format messages at the
/// call: log_info(fmt::format(…)). Control characters of the names in a message are shown escaped
/// (printable_lines()).

/// Which rank speaks. Before this call the process counts as rank 0 of 1.
void set_log_rank(int rank, int size);

/// Rank 0 appends everything logged from here on to `file` as well, and no more to an earlier one. Call it
/// before other threads log. Throws DataError when it cannot be opened.
void start_log_file(const std::filesystem::path& file);

void log_info(std::string_view message);     ///< rank 0 only
void log_warning(std::string_view message);  ///< rank 0 only, marked
void log_error(std::string_view message);    ///< every rank, marked with the rank

}  // namespace cohort

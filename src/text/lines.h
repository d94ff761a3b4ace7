#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cohort::text {

/// The most that is read of a file of a vocabulary.
inline constexpr std::uint64_t kMostVocabulary = std::uint64_t{64} << 20;

/// The lines of a text file, without their ends (LF or CR LF) and a byte order mark. `what` it is, for
/// messages: "vocabulary". Throws DataError: not readable, compressed, or not UTF-8, with the line.
std::vector<std::string> read_text_lines(const std::filesystem::path& file, const std::string& what);

}  // namespace cohort::text

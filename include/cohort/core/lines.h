#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "cohort/core/file.h"

namespace cohort {

/// The longest line that is read of a file that may come from somebody else.
inline constexpr std::uint64_t kMostLine = std::uint64_t{256} << 20;

/// The lines of a file of any size, first to last. Holds one line, and a block of 1 MiB.
class LineReader {
 public:
  /// Opens it by open_file(). Throws DataError.
  LineReader(std::filesystem::path file, Links links);
  /// The next line without its end, valid until the next call; false: there is none. Throws DataError, also
  /// when the line has more than kMostLine bytes.
  bool next(std::string_view& line);
  /// Whether the line had an end: the last one of a file that is being written may not.
  [[nodiscard]] bool has_end() const noexcept { return has_end_; }

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  std::string text_;  // read, from `begin_` on not given yet
  std::size_t begin_ = 0;
  bool at_end_ = false, has_end_ = true;
};

/// The same lines, last to first; a last one without its end is left out.
class LinesFromEnd {
 public:
  /// Opens it by open_file(), and finds the end of its last line as it is now. Throws DataError.
  LinesFromEnd(std::filesystem::path file, Links links);
  /// As LineReader::next(): the line is valid until the next call. Throws DataError, also when the file
  /// became shorter.
  bool next(std::string_view& line);

 private:
  void read_more();

  std::filesystem::path path_;
  FileDescriptor file_;
  std::uint64_t begin_ = 0;  // of `text_`, in the file
  std::string text_;
  std::size_t end_ = 0;  // of what was not given yet, behind the end of a line
};

}  // namespace cohort

#include "cohort/core/terminal.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cohort/core/printable.h"

namespace cohort {

std::optional<std::size_t> terminal_columns(int descriptor) {
  if (::isatty(descriptor) != 1) return std::nullopt;
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* const columns = std::getenv("COLUMNS");
  const int number = columns == nullptr ? 0 : std::atoi(columns);
  return number > 0 ? std::optional(static_cast<std::size_t>(number)) : std::nullopt;
}

std::string PartedLine::text() const {
  std::string line;
  for (const Part& part : parts_) line += (line.empty() ? "" : "  ") + part.text;
  return line;
}

std::string PartedLine::text(std::optional<std::size_t> columns) const {
  if (!columns) return printable(text());
  PartedLine line = *this;
  while (line.parts_.size() > 1 && display_width(line.text()) > *columns) {
    const auto least =
        std::min_element(line.parts_.rbegin(), line.parts_.rend(),
                         [](const Part& a, const Part& b) { return a.importance < b.importance; });
    line.parts_.erase(std::next(least).base());
  }
  return printable_name(line.text(), *columns);
}

}  // namespace cohort

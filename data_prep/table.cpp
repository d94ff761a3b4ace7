#include "data_prep/table.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <unicode/utf16.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"

#include "data_prep/parquet.h"

namespace cohort::data_prep {
namespace {

constexpr std::string_view kLineEnds = "\r\n";

/// Of the first line, outside of quotes: what there is most of.
char separator_of(std::string_view content) {
  constexpr std::string_view kSeparators = ",\t;";
  std::array<std::int64_t, kSeparators.size()> counts{};
  bool quoted = false;
  for (const char c : content) {
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (kLineEnds.find(c) != std::string_view::npos) break;
    if (const std::size_t at = kSeparators.find(c); at != std::string_view::npos) ++counts.at(at);
  }
  const auto* const most = std::max_element(counts.begin(), counts.end());
  return *most == 0 ? ' ' : kSeparators[static_cast<std::size_t>(most - counts.begin())];
}

/// UTF-16 as UTF-8; `is_big`: the high byte comes first.
std::string from_utf16(std::string_view content, bool is_big, const std::string& file) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(content[at]); };
  std::u16string units;
  for (std::size_t at = 0; at + 1 < content.size(); at += 2) {
    const unsigned high = byte(is_big ? at : at + 1), low = byte(is_big ? at + 1 : at);
    units += static_cast<char16_t>(high << 8U | low);
  }
  std::string text;
  for (std::size_t at = 0; at < units.size();) {
    UChar32 character = 0;
    U16_NEXT(units, at, units.size(), character);
    append_utf8(text, static_cast<std::uint32_t>(character));
  }
  if (content.size() % 2 == 0 && is_utf8(text)) return text;
  throw DataError({"the table is damaged UTF-16", file, "save it as UTF-8"});
}

/// The content of a table without its byte order mark. Throws DataError naming the first line that is no
/// UTF-8.
std::string decoded(std::string content, const std::string& file) {
  using namespace std::string_view_literals;
  const std::string_view bytes = content;
  if (bytes.starts_with("\xFF\xFE"sv) || bytes.starts_with("\xFE\xFF"sv))
    return from_utf16(bytes.substr(2), bytes.front() == '\xFE', file);
  if (bytes.starts_with("\xEF\xBB\xBF"sv)) return content.substr(3);
  if (bytes.find('\0') != std::string_view::npos) {
    throw DataError({"the table has zero bytes: it is no text, or UTF-16 without a byte order mark", file,
                     "save it as CSV in UTF-8: iconv -f UTF-16LE -t UTF-8"});
  }
  if (is_utf8(bytes)) return content;
  std::int64_t number = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = std::min(bytes.find_first_of(kLineEnds, at), bytes.size());
    ++number;
    if (!is_utf8(bytes.substr(at, end - at))) break;
    at = end + (bytes.substr(end).starts_with("\r\n") ? 2 : 1);
  }
  throw DataError({"the table is not UTF-8, but Latin-1, Windows-1252 or another encoding",
                   fmt::format("{}:{}", file, number), "save it as UTF-8: iconv -f WINDOWS-1252 -t UTF-8"});
}

/// Reads cells one after another.
class Scanner {
 public:
  Scanner(std::string_view content, std::string file)
      : content_(content), file_(std::move(file)), separator_(separator_of(content)) {}

  [[nodiscard]] bool done() const noexcept { return at_ >= content_.size(); }

  Line line() {
    Line line{number_, {}};
    do {
      skip_blanks();
      line.cells.push_back(cell());
    } while (!end_of_line());
    const bool empty = line.cells.size() == 1 && line.cells.front().empty();
    if (empty) line.cells.clear();
    return line;
  }

 private:
  /// The last byte of a line end: LF, or CR alone.
  [[nodiscard]] bool is_line_end() const {
    return content_[at_] == '\n' || (content_[at_] == '\r' && !content_.substr(at_).starts_with("\r\n"));
  }

  void skip_blanks() {
    while (separator_ == ' ' && !done() && (content_[at_] == ' ' || content_[at_] == '\t')) ++at_;
  }

  std::string cell() {
    std::string text;
    if (!done() && content_[at_] == '"') return quoted();
    while (!done() && content_[at_] != separator_ && content_[at_] != '\n' && content_[at_] != '\r') {
      if (separator_ == ' ' && content_[at_] == '\t') break;
      text += content_[at_++];
    }
    return text;
  }

  std::string quoted() {
    std::string text;
    const std::int64_t start = number_;
    for (++at_; !done(); ++at_) {
      if (is_line_end()) ++number_;
      if (content_[at_] != '"') {
        text += content_[at_];
      } else if (at_ + 1 < content_.size() && content_[at_ + 1] == '"') {
        text += content_[at_++];
      } else {
        return ++at_, text;
      }
    }
    throw DataError(
        {"a quoted cell does not end", fmt::format("{}:{}", file_, start), "add the closing quote"});
  }

  /// Steps over a separator or a line end; true at a line end.
  bool end_of_line() {
    skip_blanks();
    if (done()) return true;
    if (content_.substr(at_).starts_with("\r\n")) ++at_;
    if (is_line_end()) return ++at_, ++number_, true;
    if (content_[at_] == separator_) ++at_;
    return false;
  }

  std::string_view content_;
  std::string file_;
  char separator_;
  std::size_t at_ = 0;
  std::int64_t number_ = 1;
};

}  // namespace

std::vector<Line> read_lines(const std::filesystem::path& file) {
  const std::string text = decoded(read_file(file), file.string());
  Scanner scanner(text, file.string());
  std::vector<Line> lines;
  while (!scanner.done()) {
    Line line = scanner.line();
    if (!line.cells.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

Table Table::read(const std::filesystem::path& file) {
  Table table;
  if (is_parquet(file)) {
    table = read_parquet(file);
  } else {
    table = {file.string(), {}, read_lines(file)};
    if (table.lines.empty())
      throw DataError({"the table is empty", table.file, "its first line names the columns"});
    table.columns = table.lines.front().cells;
    table.lines.erase(table.lines.begin());
  }
  std::vector<std::string> names = table.columns;
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    throw DataError(
        {fmt::format("two columns are called '{}'", *twice), table.file + ":1", "rename one of them"});
  }
  for (const Line& line : table.lines) {
    if (line.cells.size() == table.columns.size()) continue;
    throw DataError(
        {fmt::format("the line has {} cells for {} columns", line.cells.size(), table.columns.size()),
         fmt::format("{}:{}", table.file, line.number), "put cells that hold separators into double quotes"});
  }
  return table;
}

std::size_t Table::column(const std::string& name, const std::string& option) const {
  const auto found = std::find(columns.begin(), columns.end(), name);
  if (found != columns.end()) return static_cast<std::size_t>(found - columns.begin());
  throw UsageError({fmt::format("the table has no column '{}'", name), fmt::format("{} ({})", file, option),
                    did_you_mean(name, columns)});
}

std::string Table::place(std::size_t index) const {
  return fmt::format("{}:{}", file, lines[index].number);
}

std::vector<std::string> Table::cells(const std::string& name, const std::string& option) const {
  const std::size_t index = column(name, option);
  std::vector<std::string> values;
  values.reserve(lines.size());
  for (const Line& line : lines) values.push_back(line.cells[index]);
  return values;
}

std::string quoted_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r\t") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

bool is_formula(const std::string& text) {
  constexpr std::string_view kStarts = "=+-@\t\r";
  if (text.empty() || kStarts.find(text.front()) == std::string_view::npos) return false;
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return end != text.c_str() + text.size();
}

}  // namespace cohort::data_prep

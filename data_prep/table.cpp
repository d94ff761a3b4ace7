#include "data_prep/table.h"

#include <algorithm>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "data_prep/parquet.h"

namespace cohort::data_prep {
namespace {

char separator_of(std::string_view content) {
  const std::string_view first = content.substr(0, content.find('\n'));
  if (first.find(',') != std::string_view::npos) return ',';
  return first.find('\t') != std::string_view::npos ? '\t' : ' ';
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
      if (content_[at_] == '\n') ++number_;
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
    if (!done() && content_[at_] == '\r') ++at_;
    if (done()) return true;
    if (content_[at_] == '\n') return ++at_, ++number_, true;
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
  const std::string content = read_file(file);
  std::string_view text = content;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
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

}  // namespace cohort::data_prep

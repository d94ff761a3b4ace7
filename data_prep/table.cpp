#include "data_prep/table.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <optional>
#include <span>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <unicode/utf16.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"
#include "cohort/core/read_at.h"
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
  /// `number`: of the first line of `content`.
  Scanner(std::string_view content, const std::string& file, char separator, std::int64_t number = 1)
      : content_(content), file_(file), separator_(separator), number_(number) {}

  [[nodiscard]] bool done() const noexcept { return at_ >= content_.size(); }
  [[nodiscard]] std::size_t at() const noexcept { return at_; }
  [[nodiscard]] std::int64_t number() const noexcept { return number_; }

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
  const std::string& file_;
  char separator_;
  std::size_t at_ = 0;
  std::int64_t number_;
};

void check_column_names(const std::vector<std::string>& columns, const std::string& file) {
  std::vector<std::string> names = columns;
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    throw DataError({fmt::format("two columns are called '{}'", *twice), file + ":1", "rename one of them"});
}

void check_cells(const Line& line, std::size_t columns, const std::string& file) {
  if (line.cells.size() == columns) return;
  throw DataError({fmt::format("the line has {} cells for {} columns", line.cells.size(), columns),
                   fmt::format("{}:{}", file, line.number),
                   "put cells that hold separators into double quotes"});
}

std::size_t column_place(const std::vector<std::string>& columns, const std::string& name,
                         const std::string& file, const std::string& option) {
  const auto found = std::find(columns.begin(), columns.end(), name);
  if (found != columns.end()) return static_cast<std::size_t>(found - columns.begin());
  throw UsageError({fmt::format("the table has no column '{}'", name), fmt::format("{} ({})", file, option),
                    did_you_mean(name, columns)});
}

/// Whether a table is UTF-8 as Scanner reads it, as far as a part of it tells: neither UTF-16 nor with bytes
/// of other encodings.
bool is_plain_part(std::string_view part) {
  return is_utf8(part) && part.find('\0') == std::string_view::npos;
}

/// Reads the lines of a file of plain UTF-8 one after another, some of it at a time.
class LineStream {
 public:
  explicit LineStream(const std::filesystem::path& path) : file_(path.string()), source_(open_file(path)) {
    refill();
    if (std::string_view(window_).starts_with("\xEF\xBB\xBF")) at_ = 3;
    separator_ = separator_of(std::string_view(window_).substr(at_));
  }

  /// Where the next line begins.
  [[nodiscard]] std::uint64_t offset() const noexcept { return before_ + at_; }
  [[nodiscard]] std::int64_t number() const noexcept { return number_; }
  [[nodiscard]] char separator() const noexcept { return separator_; }
  [[nodiscard]] bool is_plain() const noexcept { return is_plain_; }

  /// Nothing at the end. An empty line has no cells.
  std::optional<Line> next() {
    for (;;) {
      const std::string_view rest = std::string_view(window_).substr(at_);
      if (rest.empty() && ended_) return std::nullopt;
      Scanner scanner(rest, file_, separator_, number_);
      std::optional<Line> line = whole_line(scanner, rest.size());
      if (!line) {
        refill();
        continue;
      }
      is_plain_ = is_plain_ && is_plain_part(rest.substr(0, scanner.at()));
      at_ += scanner.at(), number_ = scanner.number();
      return line;
    }
  }

 private:
  static constexpr std::size_t kBlock = std::size_t{1} << 18;

  /// Nothing where the line may go on behind what has been read.
  std::optional<Line> whole_line(Scanner& scanner, std::size_t size) const {
    if (scanner.done()) return std::nullopt;
    try {
      Line line = scanner.line();
      if (ended_ || scanner.at() + 1 < size) return line;
    } catch (const DataError&) {  // a quoted cell that does not end here
      if (ended_) throw;
    }
    return std::nullopt;
  }

  /// As much as there is already of a long line, which is read from its beginning again.
  void refill() {
    before_ += at_;
    window_.erase(0, std::exchange(at_, 0));
    const std::size_t kept = window_.size(), wanted = std::max(kBlock, kept);
    window_.resize(kept + wanted);
    const std::size_t count =
        read_at(source_, before_ + kept, std::as_writable_bytes(std::span(window_).subspan(kept)));
    if (count < wanted && errno != 0)
      throw DataError(
          {fmt::format("the table cannot be read: {}", std::strerror(errno)), file_, disk_remedy(errno)});
    window_.resize(kept + count);
    ended_ = count < wanted;
  }

  std::string file_;
  FileDescriptor source_;
  std::string window_;        // of the file, from `before_` on
  std::uint64_t before_ = 0;  // bytes of the file
  std::size_t at_ = 0;        // in the window
  std::int64_t number_ = 1;
  char separator_ = ',';
  bool ended_ = false, is_plain_ = true;
};

}  // namespace

std::vector<Line> read_lines(const std::filesystem::path& file) {
  const std::string text = decoded(read_file(file), file.string());
  const std::string name = file.string();
  Scanner scanner(text, name, separator_of(text));
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
  check_column_names(table.columns, table.file);
  for (const Line& line : table.lines) check_cells(line, table.columns.size(), table.file);
  return table;
}

std::size_t Table::column(const std::string& name, const std::string& option) const {
  return column_place(columns, name, file, option);
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

namespace {

constexpr std::int64_t kRowsOfBlock = 32;

}  // namespace

struct LargeTable::Impl {
  std::string file;
  std::vector<std::string> columns;
  std::int64_t rows = 0;
  std::optional<Table> whole{};

  struct Block {
    std::uint64_t offset = 0;
    std::int64_t number = 0;  // of its first line
  };
  char separator = ',';
  std::vector<Block> blocks{};  // of kRowsOfBlock rows each, and the end
  FileDescriptor source{};
  std::mutex mutex{};
  std::int64_t held = -1;  // the block whose lines these are
  std::vector<Line> lines{};

  void hold(std::int64_t block);
};

void LargeTable::Impl::hold(std::int64_t block) {
  if (block == held) return;
  held = -1;
  const auto [offset, number] = blocks.at(static_cast<std::size_t>(block));
  std::string text(blocks.at(static_cast<std::size_t>(block) + 1).offset - offset, '\0');
  const auto check = [&](bool is_same) {
    if (!is_same) throw DataError({"the table has changed while it was read", file, "convert again"});
  };
  check(read_at(source, offset, std::as_writable_bytes(std::span(text))) == text.size());
  lines.clear();
  for (Scanner scanner(text, file, separator, number); !scanner.done();) {
    Line line = scanner.line();
    if (line.cells.empty()) continue;
    check(line.cells.size() == columns.size());
    lines.push_back(std::move(line));
  }
  check(std::ssize(lines) == std::min(kRowsOfBlock, rows - block * kRowsOfBlock));
  held = block;
}

LargeTable::LargeTable(const std::filesystem::path& file) : impl_(std::make_shared<Impl>()) {
  Impl& table = *impl_;
  table.file = file.string();
  if (!is_parquet(file) && index(file)) return;
  table.rows = 0;
  table.whole = Table::read(file);
  table.columns = table.whole->columns;
  table.rows = std::ssize(table.whole->lines);
}

bool LargeTable::index(const std::filesystem::path& file) {
  Impl& table = *impl_;
  LineStream stream(file);
  table.separator = stream.separator();
  std::optional<Line> line = stream.next();
  while (line && line->cells.empty()) line = stream.next();
  if (!line || !stream.is_plain()) return false;
  table.columns = std::move(line->cells);
  check_column_names(table.columns, table.file);
  for (Impl::Block at{stream.offset(), stream.number()}; (line = stream.next());
       at = {stream.offset(), stream.number()}) {
    if (!stream.is_plain()) return false;
    if (line->cells.empty()) continue;
    check_cells(*line, table.columns.size(), table.file);
    if (table.rows++ % kRowsOfBlock == 0) table.blocks.push_back(at);
  }
  table.blocks.push_back({stream.offset(), stream.number()});
  table.blocks.shrink_to_fit();
  table.source = open_file(file);
  return true;
}

const std::string& LargeTable::file() const noexcept {
  return impl_->file;
}

const std::vector<std::string>& LargeTable::columns() const noexcept {
  return impl_->columns;
}

std::int64_t LargeTable::rows() const noexcept {
  return impl_->rows;
}

std::size_t LargeTable::column(const std::string& name, const std::string& option) const {
  return column_place(columns(), name, file(), option);
}

Line LargeTable::line(std::int64_t row) const {
  Impl& table = *impl_;
  if (table.whole) return table.whole->lines.at(static_cast<std::size_t>(row));
  const std::lock_guard lock(table.mutex);
  table.hold(row / kRowsOfBlock);
  return table.lines.at(static_cast<std::size_t>(row % kRowsOfBlock));
}

std::string LargeTable::cell(std::int64_t row, std::size_t column) const {
  Impl& table = *impl_;
  if (table.whole) return table.whole->lines.at(static_cast<std::size_t>(row)).cells.at(column);
  const std::lock_guard lock(table.mutex);
  table.hold(row / kRowsOfBlock);
  return table.lines.at(static_cast<std::size_t>(row % kRowsOfBlock)).cells.at(column);
}

std::string LargeTable::place(std::int64_t row) const {
  return fmt::format("{}:{}", file(), line(row).number);
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

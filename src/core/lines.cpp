#include "cohort/core/lines.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/read_at.h"
#include "cohort/core/text.h"

namespace cohort {
namespace {

constexpr std::size_t kLinesBlock = std::size_t{1} << 20;

[[noreturn]] void refuse_line_read(const std::filesystem::path& file, int error) {
  throw DataError(
      {fmt::format("cannot read the file: {}", std::strerror(error)), file.string(), disk_remedy(error)});
}

void check_line(std::size_t bytes, const std::filesystem::path& file) {
  if (bytes <= kMostLine) return;
  throw DataError(
      {fmt::format("a line of the file is longer than {}, the most that is read", format_bytes(kMostLine)),
       file.string(), "check that it is the file that was meant"});
}

/// Up to `count` bytes at `offset`; fewer at the end of the file.
std::size_t read_some(const FileDescriptor& from, char* out, std::size_t count, std::uint64_t offset,
                      const std::filesystem::path& file) {
  const std::size_t got = read_at(from, offset, std::as_writable_bytes(std::span(out, count)));
  if (got < count && errno != 0) refuse_line_read(file, errno);
  return got;
}

}  // namespace

LineReader::LineReader(std::filesystem::path file, Links links)
    : path_(std::move(file)), file_(open_file(path_, links)) {}

bool LineReader::next(std::string_view& line) {
  for (std::size_t looked = begin_;;) {
    const std::size_t end = text_.find('\n', looked);
    if (end != std::string::npos || (at_end_ && begin_ < text_.size())) {
      has_end_ = end != std::string::npos;
      line = std::string_view(text_).substr(begin_, has_end_ ? end - begin_ : std::string::npos);
      begin_ = has_end_ ? end + 1 : text_.size();
      return true;
    }
    if (at_end_) return false;
    check_line(text_.size() - begin_, path_);
    text_.erase(0, std::exchange(begin_, 0));
    looked = text_.size();
    text_.resize(looked + std::max(looked, kLinesBlock));
    const ssize_t got = ::read(file_.get(), text_.data() + looked, text_.size() - looked);
    if (got < 0 && errno != EINTR) refuse_line_read(path_, errno);
    text_.resize(looked + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    at_end_ = got == 0;
  }
}

LinesFromEnd::LinesFromEnd(std::filesystem::path file, Links links)
    : path_(std::move(file)), file_(open_file(path_, links)) {
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) refuse_line_read(path_, errno);
  begin_ = static_cast<std::uint64_t>(status.st_size);
  while (begin_ > 0 && text_.find('\n') == std::string::npos) read_more();
  end_ = text_.rfind('\n') + 1;  // 0, where there is no end of a line
}

void LinesFromEnd::read_more() {
  check_line(text_.size(), path_);
  const auto count = static_cast<std::size_t>(
      std::min<std::uint64_t>(begin_, std::max<std::uint64_t>(text_.size(), kLinesBlock)));
  std::string before(count, '\0');
  if (read_some(file_, before.data(), count, begin_ - count, path_) != count) refuse_line_read(path_, EIO);
  begin_ -= count;
  text_ = before + text_;
}

bool LinesFromEnd::next(std::string_view& line) {
  for (;;) {
    if (end_ > 0) {
      const auto* const before =
          static_cast<const char*>(::memrchr(text_.data(), '\n', end_ - 1));  // the end of the line before
      if (before != nullptr || begin_ == 0) {
        const std::size_t first = before == nullptr ? 0 : static_cast<std::size_t>(before - text_.data()) + 1;
        line = std::string_view(text_).substr(first, end_ - 1 - first);
        end_ = first;
        return true;
      }
    }
    if (begin_ == 0) return false;
    text_.resize(end_);
    read_more();
    end_ = text_.size();
  }
}

}  // namespace cohort

#include "eval/temporary_file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/read_at.h"

namespace cohort::eval {
namespace {

std::string temporary_folder() {
  const char* const folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/tmp";
}

}  // namespace

TemporaryFile::TemporaryFile(const char* content) : content_(content) {
  std::string name = temporary_folder() + "/cohort-XXXXXX";
  file_ = FileDescriptor(::mkostemp(name.data(), O_CLOEXEC));
  if (!file_ || ::unlink(name.c_str()) != 0) refuse("make", errno);
}

void TemporaryFile::refuse(const char* action, int error) const {
  throw DataError(
      {fmt::format("cannot {} a temporary file of {}: {}", action, content_, std::strerror(error)),
       temporary_folder() + " (TMPDIR)", disk_remedy(error, "set TMPDIR to a folder with room")});
}

void TemporaryFile::resize(std::uint64_t bytes) {
  if (::ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) refuse("write", errno);
}

void TemporaryFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse("write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

void TemporaryFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (read_at(file_, offset, out) != out.size()) refuse("read", errno != 0 ? errno : EIO);
}

}  // namespace cohort::eval

#include "raw_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"

namespace cohort::perf {
namespace {

constexpr std::size_t kRawBlock = std::size_t{16} << 20;

}  // namespace

RawFile::RawFile(std::filesystem::path path, std::int64_t bytes, comm::Communicator& ranks)
    : path_(std::move(path)), begin_(bytes * ranks.rank()), bytes_(bytes), block_(kRawBlock, std::byte{42}) {}

void RawFile::write() {
  const FileDescriptor file = open(O_WRONLY | O_CREAT);
  in_blocks([&](std::size_t size, off_t at) { return ::pwrite(file.get(), block_.data(), size, at); });
  if (::fsync(file.get()) != 0) fail();
}

void RawFile::read() {
  const FileDescriptor file = open(O_RDONLY);
  in_blocks([&](std::size_t size, off_t at) { return ::pread(file.get(), block_.data(), size, at); });
}

FileDescriptor RawFile::open(int flags) const {
  FileDescriptor file(::open(path_.c_str(), flags | O_CLOEXEC, 0644));
  if (!file) fail();
  return file;
}

template <class Transfer>
void RawFile::in_blocks(Transfer&& transfer) const {
  for (std::int64_t done = 0; done < bytes_;) {
    const auto size =
        static_cast<std::size_t>(std::min<std::int64_t>(static_cast<std::int64_t>(kRawBlock), bytes_ - done));
    const ssize_t moved = transfer(size, begin_ + done);
    if (moved <= 0) fail();
    done += moved;
  }
}

void RawFile::fail() const {
  throw DataError({fmt::format("cannot read or write: {}", std::strerror(errno)), path_.string(),
                   "choose another --dir"});
}

}  // namespace cohort::perf

#include "cohort/core/read_at.h"

#include <cerrno>
#include <unistd.h>

namespace cohort {

std::size_t read_at(const FileDescriptor& file, std::uint64_t at, std::span<std::byte> out) noexcept {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t count =
        ::pread(file.get(), out.data() + done, out.size() - done, static_cast<off_t>(at + done));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = 0;
    if (count <= 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

}  // namespace cohort

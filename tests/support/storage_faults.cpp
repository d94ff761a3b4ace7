// Storage that fails on demand: loaded with LD_PRELOAD, it lets one call on one file fail as a disk would.
//   COHORT_FAULT_PATH   part of the path of the file (or of the path that is opened, renamed …)
//   COHORT_FAULT_CALL   open, read, write, sync, rename, make_folder or reserve
//   COHORT_FAULT_ERROR  the error number, for example 28 for ENOSPC
//   COHORT_FAULT_AT     the number of the first such call that fails (from 1; default 1); all later ones fail
//   too COHORT_FAULT_RANK   only on this rank of Open MPI (default: on every rank) COHORT_FAULT_FLAG "write":
//   of the calls to open, those that ask for writing
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

template <class Function>
Function original(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

const char* setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool concerns(const char* call, const char* path) {
  const char* const part = setting("COHORT_FAULT_PATH");
  if (*part == '\0' || std::strcmp(setting("COHORT_FAULT_CALL"), call) != 0) return false;
  const char* const rank = setting("COHORT_FAULT_RANK");
  if (*rank != '\0' && std::strcmp(rank, setting("OMPI_COMM_WORLD_RANK")) != 0) return false;
  return path != nullptr && std::strstr(path, part) != nullptr;
}

/// Whether this call fails; errno is then set.
bool fails(const char* call, const char* path) {
  static std::atomic<int> calls{0};
  if (!concerns(call, path)) return false;
  if (++calls < std::max(1, std::atoi(setting("COHORT_FAULT_AT")))) return false;
  errno = std::atoi(setting("COHORT_FAULT_ERROR"));
  return true;
}

bool fails_on(const char* call, int descriptor) {
  if (*setting("COHORT_FAULT_PATH") == '\0') return false;
  char link[64], path[PATH_MAX];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof(path) - 1);
  if (length < 0) return false;
  path[length] = '\0';
  return fails(call, path);
}

bool open_fails(const char* path, int flags) {
  const bool only_writing = std::strcmp(setting("COHORT_FAULT_FLAG"), "write") == 0;
  if (only_writing && (flags & O_ACCMODE) == O_RDONLY) return false;
  return fails("open", path);
}

mode_t mode_in(int flags, std::va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

using Open = int (*)(const char*, int, ...);
using OpenAt = int (*)(int, const char*, int, ...);

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_in(flags, arguments);
  va_end(arguments);
  return open_fails(path, flags) ? -1 : original<Open>("open")(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_in(flags, arguments);
  va_end(arguments);
  return open_fails(path, flags) ? -1 : original<Open>("open64")(path, flags, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_in(flags, arguments);
  va_end(arguments);
  return open_fails(path, flags) ? -1 : original<OpenAt>("openat")(folder, path, flags, mode);
}
int openat64(int folder, const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_in(flags, arguments);
  va_end(arguments);
  return open_fails(path, flags) ? -1 : original<OpenAt>("openat64")(folder, path, flags, mode);
}
FILE* fopen(const char* path, const char* mode) {
  return open_fails(path, *mode == 'r' ? O_RDONLY : O_WRONLY)
             ? nullptr
             : original<decltype(&fopen)>("fopen")(path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  return open_fails(path, *mode == 'r' ? O_RDONLY : O_WRONLY)
             ? nullptr
             : original<decltype(&fopen)>("fopen64")(path, mode);
}

// NOLINTBEGIN(bugprone-macro-parentheses)
#define ON_DESCRIPTOR(result, name, call, parameters, values)                         \
  result name parameters {                                                            \
    return fails_on(call, descriptor) ? static_cast<result>(-1)                       \
                                      : original<result(*) parameters>(#name) values; \
  }
ON_DESCRIPTOR(ssize_t, read, "read", (int descriptor, void* out, size_t bytes), (descriptor, out, bytes))
ON_DESCRIPTOR(ssize_t, readv, "read", (int descriptor, const iovec* parts, int count),
              (descriptor, parts, count))
ON_DESCRIPTOR(ssize_t, pread, "read", (int descriptor, void* out, size_t bytes, off_t at),
              (descriptor, out, bytes, at))
ON_DESCRIPTOR(ssize_t, pread64, "read", (int descriptor, void* out, size_t bytes, off64_t at),
              (descriptor, out, bytes, at))
ON_DESCRIPTOR(ssize_t, write, "write", (int descriptor, const void* in, size_t bytes),
              (descriptor, in, bytes))
ON_DESCRIPTOR(ssize_t, writev, "write", (int descriptor, const iovec* parts, int count),
              (descriptor, parts, count))
ON_DESCRIPTOR(ssize_t, pwrite, "write", (int descriptor, const void* in, size_t bytes, off_t at),
              (descriptor, in, bytes, at))
ON_DESCRIPTOR(ssize_t, pwrite64, "write", (int descriptor, const void* in, size_t bytes, off64_t at),
              (descriptor, in, bytes, at))
ON_DESCRIPTOR(ssize_t, pwritev, "write", (int descriptor, const iovec* parts, int count, off_t at),
              (descriptor, parts, count, at))
ON_DESCRIPTOR(ssize_t, pwritev64, "write", (int descriptor, const iovec* parts, int count, off64_t at),
              (descriptor, parts, count, at))
ON_DESCRIPTOR(int, fsync, "sync", (int descriptor), (descriptor))
ON_DESCRIPTOR(int, fdatasync, "sync", (int descriptor), (descriptor))
ON_DESCRIPTOR(int, fallocate, "reserve", (int descriptor, int mode, off_t at, off_t bytes),
              (descriptor, mode, at, bytes))
ON_DESCRIPTOR(int, fallocate64, "reserve", (int descriptor, int mode, off64_t at, off64_t bytes),
              (descriptor, mode, at, bytes))
#undef ON_DESCRIPTOR
// NOLINTEND(bugprone-macro-parentheses)

// These return the error.
int posix_fallocate(int descriptor, off_t at, off_t bytes) {
  return fails_on("reserve", descriptor)
             ? errno
             : original<decltype(&posix_fallocate)>("posix_fallocate")(descriptor, at, bytes);
}
int posix_fallocate64(int descriptor, off64_t at, off64_t bytes) {
  return fails_on("reserve", descriptor)
             ? errno
             : original<decltype(&posix_fallocate64)>("posix_fallocate64")(descriptor, at, bytes);
}

int rename(const char* from, const char* to) {
  return fails("rename", to) ? -1 : original<decltype(&rename)>("rename")(from, to);
}
int mkdir(const char* path, mode_t mode) {
  return fails("make_folder", path) ? -1 : original<decltype(&mkdir)>("mkdir")(path, mode);
}

}  // extern "C"

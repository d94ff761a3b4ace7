// Storage that fails on demand: loaded with LD_PRELOAD, it lets one call on one file fail as a disk would.
// And it writes down what is done to storage, in the order in which it is done (tests/support/storage_log.h).
//   COHORT_FAULT_PATH   part of the path of the file (or of the path that is opened, renamed …)
//   COHORT_FAULT_CALL   open, read, write, sync, rename, make_folder or reserve
//   COHORT_FAULT_ERROR  the error number, for example 28 for ENOSPC
//   COHORT_FAULT_AT     the number of the first such call that fails (from 1; default 1); all later ones fail
//   too COHORT_FAULT_RANK   only on this rank of Open MPI (default: on every rank) COHORT_FAULT_FLAG "write":
//   of the calls to open, those that ask for writing
//   COHORT_STORAGE_LOG  a file that gets a line for each call that changes or secures a file: process, what
//   and path, for a change before it is made, for sync and rename once they have succeeded
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
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

void record(const char* call, const char* path, const char* other = "") {
  static const int log = *setting("COHORT_STORAGE_LOG") == '\0'
                             ? -1
                             : static_cast<int>(syscall(SYS_openat, AT_FDCWD, setting("COHORT_STORAGE_LOG"),
                                                        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (log < 0) return;
  const int error = errno;
  char line[2 * PATH_MAX + 64];
  const int length =
      std::snprintf(line, sizeof(line), "%d\t%s\t%s\t%s\n", static_cast<int>(getpid()), call, path, other);
  syscall(SYS_write, log, line, static_cast<size_t>(length));  // one call: lines of ranks do not mix
  errno = error;
}

void record_on(const char* call, int descriptor) {
  char link[64], path[PATH_MAX];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof(path) - 1);
  if (length <= 0 || *path != '/') return;  // no file: a pipe, a socket
  path[length] = '\0';
  record(call, path);
}

/// Of a rename or a sync, once it is through.
int recorded(int result, const char* call, const char* path, const char* other = "") {
  if (result == 0) record(call, path, other);
  return result;
}

bool open_fails(const char* path, int flags) {
  if ((flags & (O_CREAT | O_TRUNC)) != 0) record("create", path);
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
  return open_fails(path, *mode == 'r' ? O_RDONLY : O_WRONLY | O_CREAT)
             ? nullptr
             : original<decltype(&fopen)>("fopen")(path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  return open_fails(path, *mode == 'r' ? O_RDONLY : O_WRONLY | O_CREAT)
             ? nullptr
             : original<decltype(&fopen)>("fopen64")(path, mode);
}

// NOLINTBEGIN(bugprone-macro-parentheses)
#define ON_DESCRIPTOR(result, name, call, parameters, values)                         \
  result name parameters {                                                            \
    if (std::strcmp(call, "write") == 0) record_on(call, descriptor);                 \
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
ON_DESCRIPTOR(int, fallocate, "reserve", (int descriptor, int mode, off_t at, off_t bytes),
              (descriptor, mode, at, bytes))
ON_DESCRIPTOR(int, fallocate64, "reserve", (int descriptor, int mode, off64_t at, off64_t bytes),
              (descriptor, mode, at, bytes))
#undef ON_DESCRIPTOR
// NOLINTEND(bugprone-macro-parentheses)

int fsync(int descriptor) {
  const int result = fails_on("sync", descriptor) ? -1 : original<decltype(&fsync)>("fsync")(descriptor);
  if (result == 0) record_on("sync", descriptor);
  return result;
}
int fdatasync(int descriptor) {
  const int result =
      fails_on("sync", descriptor) ? -1 : original<decltype(&fdatasync)>("fdatasync")(descriptor);
  if (result == 0) record_on("sync", descriptor);
  return result;
}
int ftruncate(int descriptor, off_t bytes) {
  record_on("write", descriptor);
  return original<decltype(&ftruncate)>("ftruncate")(descriptor, bytes);
}
int ftruncate64(int descriptor, off64_t bytes) {
  record_on("write", descriptor);
  return original<decltype(&ftruncate64)>("ftruncate64")(descriptor, bytes);
}

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
  return fails("rename", to) ? -1
                             : recorded(original<decltype(&rename)>("rename")(from, to), "rename", from, to);
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  if (fails("rename", to)) return -1;
  const int result = original<decltype(&renameat2)>("renameat2")(from_folder, from, to_folder, to, flags);
  return recorded(result, (flags & RENAME_EXCHANGE) != 0 ? "exchange" : "rename", from, to);
}
int unlink(const char* path) {
  record("remove", path);
  return original<decltype(&unlink)>("unlink")(path);
}
int remove(const char* path) {
  record("remove", path);
  return original<decltype(&remove)>("remove")(path);
}
int unlinkat(int folder, const char* path, int flags) {
  if (folder == AT_FDCWD || *path == '/') {
    record("remove", path);
  } else {
    record_on("remove_in", folder);
  }
  return original<decltype(&unlinkat)>("unlinkat")(folder, path, flags);
}
int mkdir(const char* path, mode_t mode) {
  return fails("make_folder", path)
             ? -1
             : recorded(original<decltype(&mkdir)>("mkdir")(path, mode), "make_folder", path);
}

}  // extern "C"

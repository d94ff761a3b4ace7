#include "cohort/core/file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort {
namespace {

constexpr std::size_t kReadBytes = std::size_t{64} << 10;

DataError system_error(const char* action, const std::filesystem::path& file, int error) {
  return DataError(
      {fmt::format("cannot {}: {}", action, std::strerror(error)), file.string(), disk_remedy(error)});
}

const char* kind_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "folder";
    case S_IFLNK:
      return "link";
    case S_IFIFO:
      return "FIFO";
    case S_IFSOCK:
      return "socket";
    default:
      return "device";
  }
}

/// Nothing there: whoever opens it says so.
void refuse_other_kind(const std::filesystem::path& path, mode_t wanted, Links links) {
  struct stat status {};
  const auto look = links == Links::follow ? ::stat : ::lstat;
  if (look(path.c_str(), &status) != 0 || (status.st_mode & S_IFMT) == wanted) return;
  if (S_ISDIR(status.st_mode)) throw system_error("read the file", path, EISDIR);
  throw DataError({fmt::format("not a regular {}, but a {}", kind_of(wanted), kind_of(status.st_mode)),
                   path.string(), "remove it, or put in its place what it stands for"});
}

/// Waits for nobody, as one would at a FIFO that is put there after the first look.
FileDescriptor open_regular(const std::filesystem::path& file, int flags, Links links, const char* action) {
  refuse_other_kind(file, S_IFREG, links);
  if (links == Links::refuse) flags |= O_NOFOLLOW;
  FileDescriptor descriptor(::open(file.c_str(), flags | O_CLOEXEC | O_NONBLOCK, 0644));
  struct stat status {};
  if (!descriptor || ::fstat(descriptor.get(), &status) != 0) throw system_error(action, file, errno);
  if (!S_ISREG(status.st_mode)) throw system_error(action, file, EINVAL);
  return descriptor;
}

DataError too_large(const std::filesystem::path& file, std::uint64_t most) {
  return DataError({fmt::format("the file is larger than {}, the most that is read", format_bytes(most)),
                    file.string(), "check that it is the file that was meant"});
}

void sync_path(const std::filesystem::path& path, int flags, const char* action) {
  const FileDescriptor descriptor(::open(path.c_str(), flags | O_CLOEXEC));
  // Some network file systems refuse fsync on a folder with EINVAL; the rename itself is then all there is.
  if (!descriptor || (::fsync(descriptor.get()) != 0 && errno != EINVAL))
    throw system_error(action, path, errno);
}

}  // namespace

void FileDescriptorTraits::close(type descriptor) noexcept {
  ::close(descriptor);
}

std::string disk_remedy(int error, std::string otherwise) {
  switch (error) {
    case ENOSPC:
      return "free some space or choose another folder";
    case EDQUOT:
      return "your quota is used up: free some space or choose another folder";
    case EFBIG:
      return "raise the limit on the size of files (ulimit -f)";
    case EROFS:
      return "the file system is mounted read-only: choose a folder on another one";
    case ESTALE:
      return "the network file system lost the file (server restarted, or file replaced by another host): "
             "check the mount on this host (ls, df), then run the same command again";
    case EIO:
      return "the disk or the network to it failed: look into the system's log (dmesg) and ask who runs it, "
             "then run the same command again";
    case EMFILE:
    case ENFILE:
      return "raise the limit on open files (ulimit -n)";
    case ENOENT:
      return "check the path";
    default:
      return otherwise;
  }
}

FileDescriptor open_file(const std::filesystem::path& file, Links links) {
  return open_regular(file, O_RDONLY, links, "read the file");
}

FileDescriptor open_to_append(const std::filesystem::path& file) {
  return open_regular(file, O_WRONLY | O_APPEND | O_CREAT, Links::refuse, "write the file");
}

void refuse_no_file(const std::filesystem::path& path) {
  refuse_other_kind(path, S_IFREG, Links::refuse);
}

void refuse_no_folder(const std::filesystem::path& path) {
  refuse_other_kind(path, S_IFDIR, Links::refuse);
}

void write_all(const FileDescriptor& to, std::span<const std::byte> bytes, const std::filesystem::path& file,
               const char* action) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(to.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw system_error(action, file, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

std::string read_file(const std::filesystem::path& file, std::uint64_t most, Links links) {
  const FileDescriptor descriptor = open_file(file, links);
  std::string content;
  for (std::size_t done = 0;;) {
    if (content.size() - done < kReadBytes) content.resize(std::max(2 * content.size(), done + kReadBytes));
    const ssize_t count = ::read(descriptor.get(), content.data() + done, content.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw system_error("read the file", file, errno);
    done += static_cast<std::size_t>(count);
    if (done > most) throw too_large(file, most);
    if (count == 0) return content.resize(done), content;
  }
}

namespace {

/// In place of what has that name, such as the remains of a process that had the same number.
int create_anew(const std::filesystem::path& file) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  const int descriptor = ::open(file.c_str(), kFlags, 0644);
  if (descriptor >= 0 || errno != EEXIST) return descriptor;
  ::unlink(file.c_str());
  return ::open(file.c_str(), kFlags, 0644);
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path file)
    : file_(std::move(file)),
      beside_(file_.string() + fmt::format(".{}.partial", ::getpid())),
      descriptor_(create_anew(beside_)) {
  if (!descriptor_) throw system_error("create the file", beside_, errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_) ::unlink(beside_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write_all(descriptor_, bytes, beside_);
}

void AtomicFile::commit() {
  if (::fsync(descriptor_.get()) != 0) throw system_error("sync the file", beside_, errno);
  if (::rename(beside_.c_str(), file_.c_str()) != 0)
    throw system_error("rename the file into place", file_, errno);
  descriptor_.reset();
  sync_folder(file_.has_parent_path() ? file_.parent_path() : ".");
}

void write_file_atomically(const std::filesystem::path& file, std::string_view content) {
  AtomicFile beside(file);
  beside.write(std::as_bytes(std::span(content.data(), content.size())));
  beside.commit();
}

void copy_sparse(const FileDescriptor& from, const std::filesystem::path& to) {
  const FileDescriptor target(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!target) throw system_error("create the file", to, errno);
  const off_t end = ::lseek(from.get(), 0, SEEK_END);
  std::vector<std::byte> part(kReadBytes);
  for (off_t at = 0; (at = ::lseek(from.get(), at, SEEK_DATA)) >= 0 && at < end;) {
    const off_t hole = ::lseek(from.get(), at, SEEK_HOLE);
    const auto wanted = std::min(part.size(), static_cast<std::size_t>(hole - at));
    const ssize_t count = ::pread(from.get(), part.data(), wanted, at);
    if (count <= 0) throw system_error("read what is to be written", to, count < 0 ? errno : EIO);
    if (::lseek(target.get(), at, SEEK_SET) < 0) throw system_error("write the file", to, errno);
    write_all(target, std::span(part).first(static_cast<std::size_t>(count)), to);
    at += count;
  }
  if (::ftruncate(target.get(), end) != 0) throw system_error("write the file", to, errno);
}

void sync_folder(const std::filesystem::path& folder) {
  sync_path(folder, O_RDONLY | O_DIRECTORY, "sync the folder");
}

void sync_file(const std::filesystem::path& file) {
  sync_path(file, O_RDONLY, "sync the file");
}

void make_writable_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw system_error("create the folder", folder, error.value());
  if (::access(folder.c_str(), W_OK | X_OK) != 0) throw system_error("write into the folder", folder, errno);
}

}  // namespace cohort

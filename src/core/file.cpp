#include "cohort/core/file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <unistd.h>
#include <utility>

#include "cohort/core/error.h"

namespace cohort {
namespace {

DataError system_error(const char* action, const std::filesystem::path& file, int error) {
  return DataError(
      {fmt::format("cannot {}: {}", action, std::strerror(error)), file.string(), disk_remedy(error)});
}

void write_all(int descriptor, std::span<const std::byte> bytes, const std::filesystem::path& file) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw system_error("write the file", file, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
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

std::string read_file(const std::filesystem::path& file) {
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream content;
  if (!stream) throw system_error("read the file", file, errno ? errno : EIO);
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored)) throw system_error("read the file", file, EISDIR);
  content << stream.rdbuf();
  if (stream.bad()) throw system_error("read the file", file, errno ? errno : EIO);
  return std::move(content).str();
}

AtomicFile::AtomicFile(std::filesystem::path file)
    : file_(std::move(file)),
      beside_(file_.string() + fmt::format(".{}.partial", ::getpid())),
      descriptor_(::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
  if (!descriptor_) throw system_error("create the file", beside_, errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_) ::unlink(beside_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write_all(descriptor_.get(), bytes, beside_);
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

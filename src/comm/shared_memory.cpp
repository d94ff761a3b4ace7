#include "comm/shared_memory.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/file.h"

#include "comm/mpi_transport.h"

namespace cohort::comm {
namespace {

constexpr std::size_t kMostBytes = std::size_t{16} << 20;  // of all ranks together, unless they are many
constexpr std::size_t kLargestHalf = std::size_t{2} << 20, kSmallestHalf = std::size_t{256} << 10;

std::size_t bytes_of_half(int size) {
  return std::clamp(kMostBytes / (2 * static_cast<std::size_t>(size)) / 4096 * 4096, kSmallestHalf,
                    kLargestHalf);
}

std::size_t bytes_of_all(int size) {
  return bytes_of_half(size) * 2 * static_cast<std::size_t>(size);
}

/// Empty when there is no room: touching memory that the system cannot give would kill the process.
std::string create(std::size_t bytes) {
  static std::atomic<int> number{0};
  std::string name;
  FileDescriptor file;
  do {
    name = fmt::format("/cohort-{}-{}", ::getpid(), number++);
    file.reset(::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  } while (!file && errno == EEXIST);  // another container's process of the same number
  if (!file) return {};
  if (::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes)) == 0) return name;
  ::shm_unlink(name.c_str());
  return {};
}

/// Null when there is no such memory here: on another node.
std::byte* map(const std::string& name, std::size_t bytes) {
  const FileDescriptor file(::shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0));
  if (!file) return nullptr;
  void* const start = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  return start == MAP_FAILED ? nullptr : static_cast<std::byte*>(start);
}

}  // namespace

SharedMemory::SharedMemory(std::byte* start, int size)
    : start_(start), half_bytes_(bytes_of_half(size)), bytes_(bytes_of_all(size)) {}

SharedMemory::~SharedMemory() {
  ::munmap(start_, bytes_);
}

std::unique_ptr<SharedMemory> SharedMemory::open(OperationQueue& queue, int rank, int size) {
  const auto name = std::make_shared<std::string>(rank == 0 ? create(bytes_of_all(size)) : "");
  queue.run(mpi::broadcast_text(name, 0));
  if (name->empty()) return nullptr;
  std::byte* const start = map(*name, bytes_of_all(size));
  std::unique_ptr<SharedMemory> memory(start == nullptr ? nullptr : new SharedMemory(start, size));
  const auto failed = std::make_shared<std::int64_t>(memory == nullptr ? 1 : 0);
  queue.run(mpi::all_reduce(failed, Reduce::max));
  if (rank == 0) ::shm_unlink(name->c_str());  // the mappings stay; nothing remains when a process is killed
  return *failed == 0 ? std::move(memory) : nullptr;
}

}  // namespace cohort::comm

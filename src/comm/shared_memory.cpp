#include "comm/shared_memory.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/file.h"
#include "cohort/core/host.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"

#include "comm/mpi_transport.h"
#include "comm/shared_place.h"

namespace cohort::comm {
namespace {

constexpr std::size_t kPage = 4096;

// Measured in docs/decisions/0006-shared-memory.md: slots stay in the second level of the cache.
constexpr std::size_t kSlots = 4;
constexpr std::size_t kMostBytes = std::size_t{16} << 20;  // of all ranks together, unless they are many
constexpr std::size_t kLargestSlot = std::size_t{128} << 10, kSmallestSlot = std::size_t{32} << 10;

std::size_t bytes_of_slot(int size) {
  return std::clamp(kMostBytes / kSlots / static_cast<std::size_t>(size) / kPage * kPage, kSmallestSlot,
                    kLargestSlot);
}

std::size_t bytes_of_rank(int size) {
  return kPage + kSlots * bytes_of_slot(size);
}

std::size_t bytes_of_all(int size) {
  return static_cast<std::size_t>(size) * bytes_of_rank(size);
}

void warn_of_full_memory(std::size_t bytes) {
  static std::atomic_flag is_told = ATOMIC_FLAG_INIT;
  if (is_told.test_and_set()) return;
  log_warning(
      fmt::format("/dev/shm on {} has no room for another {}: ranks send messages instead, and "
                  "exchange of 64 KiB and more takes up to three times as long; give it more",
                  host_name(), format_bytes(bytes)));
}

/// Empty when there is no room: touching memory that the system cannot give would kill the process.
std::string create(std::size_t bytes) {
  static std::atomic<int> number{0};
  if (!has_shared_place()) return {};
  std::string name;
  FileDescriptor file;
  do {
    name = fmt::format("/cohort-{}-{}", ::getpid(), number++);
    file.reset(::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  } while (!file && errno == EEXIST);  // another container's process of the same number
  if (file && ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes)) == 0) return name;
  if (file) ::shm_unlink(name.c_str());
  warn_of_full_memory(bytes);
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

// On a page of its own; the others only read it.
struct SharedMemory::Counters {
  std::array<std::atomic<std::uint64_t>, 3> finished;  // chunks of each stage; new memory is zero
};

SharedMemory::SharedMemory(std::byte* start, int rank, int size)
    : start_(start), rank_(rank), size_(size), slot_bytes_(bytes_of_slot(size)), bytes_(bytes_of_all(size)) {}

std::size_t SharedMemory::slots() noexcept {
  return kSlots;
}

SharedMemory::~SharedMemory() {
  ::munmap(start_, bytes_);
}

SharedMemory::Counters& SharedMemory::counters(int rank) const noexcept {
  static_assert(sizeof(Counters) <= kPage && std::atomic<std::uint64_t>::is_always_lock_free);
  void* const page = start_ + static_cast<std::size_t>(rank) * bytes_of_rank(size_);
  return *static_cast<Counters*>(page);
}

std::byte* SharedMemory::slot(int rank, std::uint64_t chunk) const noexcept {
  return start_ + static_cast<std::size_t>(rank) * bytes_of_rank(size_) + kPage +
         chunk % kSlots * slot_bytes_;
}

std::uint64_t SharedMemory::next_chunks(std::uint64_t count) noexcept {
  return std::exchange(next_, next_ + count);
}

void SharedMemory::finish(Stage stage, std::uint64_t chunk) noexcept {
  counters(rank_).finished[static_cast<std::size_t>(stage)].store(chunk + 1, std::memory_order_release);
}

bool SharedMemory::all_finished(Stage stage, std::uint64_t chunk) const noexcept {
  for (int rank = 0; rank < size_; ++rank) {
    if (rank != rank_ &&
        counters(rank).finished[static_cast<std::size_t>(stage)].load(std::memory_order_acquire) <= chunk)
      return false;
  }
  return true;
}

std::unique_ptr<SharedMemory> SharedMemory::open(OperationQueue& queue, int rank, int size) {
  const auto name = std::make_shared<std::string>(rank == 0 ? create(bytes_of_all(size)) : "");
  queue.run(mpi::broadcast_text(name, 0));
  if (name->empty()) return nullptr;
  std::byte* const start = map(*name, bytes_of_all(size));
  std::unique_ptr<SharedMemory> memory(start == nullptr ? nullptr : new SharedMemory(start, rank, size));
  const auto failed = std::make_shared<std::int64_t>(memory == nullptr ? 1 : 0);
  queue.run(mpi::all_reduce(failed, Reduce::max));
  if (rank == 0) ::shm_unlink(name->c_str());  // the mappings stay; nothing remains when a process is killed
  return *failed == 0 ? std::move(memory) : nullptr;
}

}  // namespace cohort::comm

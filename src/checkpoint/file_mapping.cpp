#include "file_mapping.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include "cohort/core/error.h"

namespace cohort::checkpoint {
namespace {

/// A mapping that is in use, for the handler of SIGBUS: no memory, no locks.
struct Guarded {
  std::atomic<std::uintptr_t> begin{0}, end{0};  // both 0: free
  std::array<char, 4608> message{};
};
std::array<Guarded, 16> guarded;
struct sigaction before_guard;

void on_missing_page(int number, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Guarded& mapping : guarded) {
    if (address < mapping.begin || address >= mapping.end) continue;
    (void)!::write(STDERR_FILENO, mapping.message.data(), std::strlen(mapping.message.data()));
    ::_exit(static_cast<int>(ExitCode::data));
  }
  ::sigaction(number, &before_guard, nullptr);  // the access is made again, and meets who was there before
}

void install_guard() {
  struct sigaction action {};
  action.sa_sigaction = on_missing_page;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigaction(SIGBUS, &action, &before_guard);
}

void guard(const void* start, std::size_t bytes, const std::filesystem::path& name) {
  static const bool installed = (install_guard(), true);
  (void)installed;
  const std::string message = fmt::format(
      "cohort: the file got shorter while it was read\n  where: {}\n"
      "  fix:   write the file under another name, and rename it when it is whole; then run the command "
      "again\n",
      name.string());
  const auto begin = reinterpret_cast<std::uintptr_t>(start);
  for (Guarded& mapping : guarded) {
    std::uintptr_t none = 0;
    if (!mapping.begin.compare_exchange_strong(none, begin)) continue;
    mapping.message[message.copy(mapping.message.data(), mapping.message.size() - 1)] = 0;
    mapping.end = begin + bytes;
    return;
  }
}

void release(const void* start) {
  for (Guarded& mapping : guarded) {
    if (mapping.begin != reinterpret_cast<std::uintptr_t>(start)) continue;
    mapping.end = 0;
    mapping.begin = 0;
  }
}

}  // namespace

FileMapping::FileMapping(const FileDescriptor& file, std::size_t bytes, const std::filesystem::path& name)
    : start_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0)), bytes_(bytes) {
  if (start_ == MAP_FAILED) {
    throw DataError({fmt::format("cannot map the file into memory: {}", std::strerror(errno)), name.string(),
                     disk_remedy(errno, "copy it to a local disk")});
  }
  guard(start_, bytes, name);
}

FileMapping::~FileMapping() {
  release(start_);
  ::munmap(start_, bytes_);
}

}  // namespace cohort::checkpoint

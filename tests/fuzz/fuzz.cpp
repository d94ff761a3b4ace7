#include "fuzz.h"

#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/error.h"

namespace cohort::fuzz {

File::File(std::span<const std::uint8_t> content) : descriptor_(memfd_create("input", MFD_CLOEXEC)) {
  const bool whole = descriptor_ >= 0 && ::write(descriptor_, content.data(), content.size()) ==
                                             static_cast<ssize_t>(content.size());
  if (!whole) std::abort();
}

File::~File() {
  ::close(descriptor_);
}

std::filesystem::path File::path() const {
  return fmt::format("/proc/self/fd/{}", descriptor_);
}

}  // namespace cohort::fuzz

// The entry point that libFuzzer looks for.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    cohort::fuzz::read({data, size});
  } catch (const cohort::Error&) {  // refused, as it should be
  }
  return 0;
}

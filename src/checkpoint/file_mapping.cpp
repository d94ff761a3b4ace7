#include "file_mapping.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

namespace cohort::checkpoint {

FileMapping::FileMapping(const std::filesystem::path& file, std::size_t bytes) : bytes_(bytes) {
  const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  start_ = descriptor ? ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor.get(), 0)
                      : MAP_FAILED;
  if (start_ == MAP_FAILED) {
    throw DataError({fmt::format("cannot map the file into memory: {}", std::strerror(errno)), file.string(),
                     disk_remedy(errno, "copy it to a local disk")});
  }
}

FileMapping::~FileMapping() {
  ::munmap(start_, bytes_);
}

}  // namespace cohort::checkpoint

#pragma once

// Space on a disk, taken before it is written to. Header only; never included by a public header.
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <string>

#include <fmt/core.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

namespace cohort {

/// Takes `bytes` for the file at `path`, which is made if it is not there; `what`: "a checkpoint". File
/// systems that cannot do this are left alone: their writes fail later, if they do. Throws DataError: there
/// is no room.
inline void reserve_space(const std::filesystem::path& path, std::uint64_t bytes, const char* what,
                          const std::string& fix) {
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  const int error = !file || ::fallocate(file.get(), 0, 0, static_cast<off_t>(bytes)) != 0 ? errno : 0;
  if (error == 0 || error == EOPNOTSUPP || error == ENOSYS || error == EINVAL) return;
  throw DataError({fmt::format("cannot get {} for {}: {}", format_bytes(bytes), what, std::strerror(error)),
                   path.string(), disk_remedy(error, fix)});
}

}  // namespace cohort

#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "cohort/core/file.h"

namespace cohort {

/// Fills `out` with the bytes of `file` from `at` on: how many there were. Fewer: the file ends there (errno
/// is 0) or cannot be read (errno says why). Of any size, which one call of the system does not read (2 GiB
/// less a page). From any thread.
std::size_t read_at(const FileDescriptor& file, std::uint64_t at, std::span<std::byte> out) noexcept;

}  // namespace cohort

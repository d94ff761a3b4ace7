#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data_prep/left_out.h"

namespace cohort::data_prep {

/// A file in an archive.
struct TarEntry {
  std::string name;
  std::uint64_t offset = 0, bytes = 0;  ///< of its content in the archive
};

/// The files of an uncompressed tar archive (POSIX.1-2001 ustar, pax and GNU's long names), in their order.
/// Links to other members are files with the content of those; members that are no files, and links
/// elsewhere, go to `left_out`. Reads the headers alone. Throws DataError: no tar archive, a wrong checksum,
/// cut off (within a member, or without the blocks of zeros that end an archive), more members behind its
/// end.
std::vector<TarEntry> read_tar(const std::filesystem::path& archive, LeftOut& left_out);

/// The content of one of them. Throws DataError. From any thread.
std::string read_tar_entry(const std::filesystem::path& archive, const TarEntry& entry);

}  // namespace cohort::data_prep

#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cohort::data_prep {

/// A file in an archive.
struct TarEntry {
  std::string name;
  std::uint64_t offset = 0, bytes = 0;  ///< of its content in the archive
};

/// The files of an uncompressed tar archive (POSIX.1-2001 ustar, pax and GNU's long names), in their order.
/// Reads the headers alone. Throws DataError: no tar archive, a wrong checksum, cut off.
std::vector<TarEntry> read_tar(const std::filesystem::path& archive);

/// The content of one of them. Throws DataError. From any thread.
std::string read_tar_entry(const std::filesystem::path& archive, const TarEntry& entry);

}  // namespace cohort::data_prep

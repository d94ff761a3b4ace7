#pragma once
// Zip archives without zip64, byte by byte.
#include <cstdint>
#include <string>
#include <vector>

#include <zlib.h>

namespace cohort::testing {

/// `value` little-endian in `size` bytes.
inline std::string little(std::uint64_t value, std::size_t size) {
  std::string bytes;
  for (std::size_t i = 0; i < size; ++i, value >>= 8U) bytes += static_cast<char>(value & 0xFFU);
  return bytes;
}

/// A file of an archive, as it is and as it is packed.
struct ZipEntry {
  std::string name, content, packed;
  std::uint64_t method, size;  ///< the size that it says it has
};

inline ZipEntry stored(const std::string& name, const std::string& content) {
  return {name, content, content, 0, content.size()};
}

inline std::string zip_of(const std::vector<ZipEntry>& entries) {
  std::string files, directory;
  for (const ZipEntry& entry : entries) {
    const void* content = entry.content.data();
    const auto crc = crc32_z(0, static_cast<const Bytef*>(content), entry.content.size());
    const std::string fields = little(entry.method, 2) + little(0, 4) + little(crc, 4) +
                               little(entry.packed.size(), 4) + little(entry.size, 4) +
                               little(entry.name.size(), 2);
    directory += "PK\1\2" + little(20, 2) + little(20, 2) + little(0, 2) + fields + little(0, 12) +
                 little(files.size(), 4) + entry.name;
    files += "PK\3\4" + little(20, 2) + little(0, 2) + fields + little(0, 2) + entry.name + entry.packed;
  }
  return files + directory + "PK\5\6" + little(0, 4) + little(entries.size(), 2) + little(entries.size(), 2) +
         little(directory.size(), 4) + little(files.size(), 4) + little(0, 2);
}

}  // namespace cohort::testing

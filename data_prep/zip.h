#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace cohort::data_prep {

/// A zip archive (also .npz and Python wheels), open for reading: stored and deflated entries, zip64.
class Zip {
 public:
  struct Entry {
    std::uint64_t offset = 0, packed = 0,
                  size = 0;  ///< of the local header; bytes in the archive and unpacked
    std::uint32_t crc = 0;
    std::uint16_t method = 0;
    bool is_encrypted = false;
  };
  /// Throws DataError: missing, not a zip archive, damaged directory.
  static Zip open(const std::filesystem::path& file);

  [[nodiscard]] const std::map<std::string, Entry>& entries() const noexcept { return entries_; }
  /// Unpacked. Throws DataError: no such entry, encrypted, unknown method, wrong checksum.
  [[nodiscard]] std::string read(const std::string& name) const;
  /// Where in the file the content of an entry begins that is stored as it is, its checksum compared where
  /// `is_checked`; nothing: it is packed. Throws as read().
  [[nodiscard]] std::optional<std::uint64_t> stored_at(const std::string& name, bool is_checked) const;

 private:
  explicit Zip(std::filesystem::path file) : file_(std::move(file)) {}
  [[nodiscard]] const Entry& entry(const std::string& name) const;
  std::filesystem::path file_;
  std::map<std::string, Entry> entries_;
};

}  // namespace cohort::data_prep

#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace cohort {

/// XXH3-64 with seed 0 (github.com/Cyan4973/xxHash): finds damage, does not resist forgery. All checksums of
/// Cohort's formats are of this kind, written as 16 lower-case hexadecimal digits.
std::uint64_t checksum(std::span<const std::byte> bytes) noexcept;

/// The same over pieces that arrive one after another. Move-only.
class Checksum {
 public:
  Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;
  Checksum(Checksum&&) noexcept;
  Checksum& operator=(Checksum&&) noexcept;
  ~Checksum();
  void update(std::span<const std::byte> bytes) noexcept;
  [[nodiscard]] std::uint64_t value() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Of a whole file, read in pieces. Throws DataError when it cannot be read.
std::uint64_t checksum_file(const std::filesystem::path& file);

std::string checksum_text(std::uint64_t value);
/// Throws DataError when `text` is not 16 hexadecimal digits; `where` names the place it was read from.
std::uint64_t parse_checksum(std::string_view text, const std::string& where);

}  // namespace cohort

#include "data_prep/exif.h"

#include <cstddef>
#include <cstdint>

namespace cohort::data_prep {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kEntry = 12;  // tag, type, count, value

int valid(std::uint64_t value) {
  return value >= 1 && value <= 8 ? static_cast<int>(value) : 0;
}

/// Numbers of a TIFF structure. Reading behind its end gives nothing.
class Numbers {
 public:
  Numbers(std::string_view content, bool big_endian) : content_(content), big_endian_(big_endian) {}

  [[nodiscard]] std::optional<std::uint64_t> at(std::uint64_t offset, std::size_t size) const {
    if (offset > content_.size() || content_.size() - offset < size) return std::nullopt;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const std::uint64_t byte = static_cast<unsigned char>(content_[offset + i]);
      value |= byte << (8 * (big_endian_ ? size - 1 - i : i));
    }
    return value;
  }

 private:
  std::string_view content_;
  bool big_endian_;
};

/// The value of an entry for tag 274: one number, in the first bytes of the value's four.
int orientation_in(const Numbers& numbers, std::uint64_t entry) {
  constexpr std::uint64_t kShort = 3, kLong = 4;
  const auto type = numbers.at(entry + 2, 2), count = numbers.at(entry + 4, 4);
  if (count != 1U) return 0;
  const std::size_t size = type == kShort ? 2 : type == kLong ? 4 : 0;
  return size == 0 ? 0 : valid(numbers.at(entry + 8, size).value_or(0));
}

}  // namespace

std::optional<int> exif_orientation(std::string_view exif) {
  constexpr std::string_view kHeader = "Exif\0\0"sv;
  constexpr std::uint64_t kOrientation = 274;
  while (exif.starts_with(kHeader)) exif.remove_prefix(kHeader.size());
  if (exif.empty()) return std::nullopt;
  if (!exif.starts_with("II*\0"sv) && !exif.starts_with("MM\0*"sv)) return 0;
  const Numbers numbers(exif, exif.front() == 'M');
  const auto directory = numbers.at(4, 4);
  const auto entries = numbers.at(directory.value_or(exif.size()), 2);
  if (!entries) return 0;
  for (std::uint64_t i = 0; i < *entries; ++i) {
    const std::uint64_t entry = *directory + 2 + i * kEntry;
    if (!numbers.at(entry, kEntry - 4)) return 0;
    if (numbers.at(entry, 2) == kOrientation) return orientation_in(numbers, entry);
  }
  return std::nullopt;
}

std::optional<int> xmp_orientation(std::string_view packet) {
  for (const std::string_view start : {"tiff:Orientation=\""sv, "tiff:Orientation>"sv}) {
    const std::size_t at = packet.find(start);
    if (at == std::string_view::npos || at + start.size() >= packet.size()) continue;
    return valid(static_cast<std::uint64_t>(packet[at + start.size()] - '0'));
  }
  return std::nullopt;
}

int orientation_of(std::string_view exif, std::string_view xmp) {
  if (const auto orientation = exif_orientation(exif)) return *orientation;
  return xmp_orientation(xmp).value_or(1);
}

}  // namespace cohort::data_prep

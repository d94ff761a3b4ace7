#include "data_prep/tar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <string_view>

#include <fmt/format.h>

#include "cohort/core/error.h"

namespace cohort::data_prep {
namespace {

constexpr std::uint64_t kBlock = 512;

using Block = std::array<char, kBlock>;

[[noreturn]] void refuse_tar(const std::string& reason, const std::filesystem::path& archive) {
  throw DataError({fmt::format("the tar archive cannot be read: {}", reason), archive.string(),
                   "unpack compressed archives, or fetch the file again"});
}

std::string_view field(const Block& block, std::size_t at, std::size_t size) {
  const std::string_view whole(block.data() + at, size);
  return whole.substr(0, whole.find('\0'));
}

/// Octal digits, or, where the first bit is set, a big-endian number (GNU).
std::uint64_t number(const Block& block, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  if ((static_cast<unsigned char>(block.at(at)) & 0x80U) != 0) {
    for (std::size_t i = 1; i < size; ++i) value = value << 8U | static_cast<unsigned char>(block.at(at + i));
    return value;
  }
  std::string_view digits = field(block, at, size);
  digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
  std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  return value;
}

bool has_right_checksum(const Block& block) {
  constexpr std::size_t kAt = 148, kSize = 8;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i)
    sum += i >= kAt && i < kAt + kSize ? ' ' : static_cast<unsigned char>(block.at(i));
  return sum == number(block, kAt, kSize);
}

std::string name_of(const Block& block) {
  const std::string name(field(block, 0, 100));
  const bool is_ustar = field(block, 257, 5) == "ustar";
  const std::string_view prefix = is_ustar ? field(block, 345, 155) : std::string_view();
  return prefix.empty() ? name : fmt::format("{}/{}", prefix, name);
}

/// "27 path=a/long/name\n": what a pax header says of the next file.
void read_pax(std::string_view records, TarEntry& next, bool& has_name, bool& has_size) {
  while (!records.empty()) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
    if (error != std::errc() || length < 3 || length > records.size()) return;
    const auto digits = static_cast<std::size_t>(end - records.data());
    if (digits + 1 >= length) return;
    const std::string_view record = records.substr(digits + 1, length - digits - 2);
    records.remove_prefix(length);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") next.name = value, has_name = true;
    if (key == "size")
      std::from_chars(value.data(), value.data() + value.size(), next.bytes), has_size = true;
  }
}

std::string content_at(std::ifstream& stream, std::uint64_t offset, std::uint64_t bytes,
                       const std::filesystem::path& archive) {
  std::string content(bytes, '\0');
  stream.seekg(static_cast<std::streamoff>(offset));
  stream.read(content.data(), static_cast<std::streamsize>(bytes));
  if (!stream) refuse_tar("it ends too early", archive);
  return content;
}

}  // namespace

std::vector<TarEntry> read_tar(const std::filesystem::path& archive) {
  constexpr std::uint64_t kLongestName = 1 << 16;
  std::ifstream stream(archive, std::ios::binary);
  if (!stream) refuse_tar("the file cannot be opened", archive);
  const std::uint64_t size = std::filesystem::file_size(archive);
  std::vector<TarEntry> entries;
  TarEntry next;
  bool has_name = false, has_size = false;  // from a header before that of the file
  for (std::uint64_t at = 0; at < size;) {
    if (size - at < kBlock) refuse_tar("it ends too early", archive);
    Block block{};
    stream.seekg(static_cast<std::streamoff>(at));
    stream.read(block.data(), kBlock);
    if (std::all_of(block.begin(), block.end(), [](char c) { return c == '\0'; })) break;
    if (!stream || !has_right_checksum(block))
      refuse_tar(at == 0 ? "it is no tar archive" : fmt::format("the header at byte {} is damaged", at),
                 archive);
    const char type = block.at(156);
    const std::uint64_t bytes = has_size ? next.bytes : number(block, 124, 12), offset = at + kBlock;
    if (bytes > size - offset) refuse_tar("it ends too early", archive);
    if (type == 'x' || type == 'L') {
      if (bytes > kLongestName) refuse_tar(fmt::format("the header at byte {} is too long", at), archive);
      const std::string content = content_at(stream, offset, bytes, archive);
      if (type == 'x')
        read_pax(content, next, has_name, has_size);
      else
        next.name = content.substr(0, content.find('\0')), has_name = true;
    } else {
      if (type == '0' || type == '\0')
        entries.push_back({has_name ? next.name : name_of(block), offset, bytes});
      next = {};
      has_name = has_size = false;
    }
    at = offset + (bytes + kBlock - 1) / kBlock * kBlock;
    if (at > size) refuse_tar("it ends too early", archive);
  }
  return entries;
}

std::string read_tar_entry(const std::filesystem::path& archive, const TarEntry& entry) {
  std::ifstream stream(archive, std::ios::binary);
  if (!stream) refuse_tar("the file cannot be opened", archive);
  return content_at(stream, entry.offset, entry.bytes, archive);
}

}  // namespace cohort::data_prep

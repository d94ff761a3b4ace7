#include "data_prep/npz.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/printable.h"
#include "cohort/core/read_at.h"
#include "cohort/core/text.h"

namespace cohort::data_prep {
namespace {

constexpr std::size_t kMagic = 6;  // "\x93NUMPY"

[[noreturn]] void refuse(const std::string& what, const std::string& where, const std::string& fix) {
  throw DataError({what, where, fix});
}

[[noreturn]] void not_npy(const std::string& where) {
  refuse("the entry is not an array in NumPy's format", where,
         "write the file with numpy.savez or savez_compressed");
}

/// What stands behind 'key': in the header, a Python dictionary, up to `end`.
std::string header_value(const std::string& header, const std::string& key, char end,
                         const std::string& where) {
  const std::size_t at = header.find("'" + key + "':");
  if (at == std::string::npos) not_npy(where);
  const std::size_t start = header.find_first_not_of(' ', at + key.size() + 3);
  const std::size_t stop = header.find(end, start);
  if (start == std::string::npos || stop == std::string::npos) not_npy(where);
  return header.substr(start, stop - start);
}

std::string parse_type(const std::string& header, const std::string& where) {
  const std::string text = header_value(header, "descr", ',', where);  // '<u2'
  if (text.size() < 4 || text.front() != '\'')
    refuse("structured arrays are not supported", where, "store plain arrays");
  const std::string type = text.substr(2, text.size() - 3);
  const bool known = type == "u1" || type == "u2" || type == "f4" || type == "i4" || type == "i8" ||
                     type == "b1" ||
                     (type.front() == 'U' && type.size() > 1 && type.size() < 10 &&
                      type.find_first_not_of("0123456789", 1) == std::string::npos);
  if (!known || text[1] == '>') {
    refuse(fmt::format("type {} is not supported", text), where,
           "store images as uint8, uint16 or float32; labels and contexts as integers, booleans or unicode "
           "texts");
  }
  return type;
}

std::vector<std::int64_t> parse_shape(const std::string& header, const std::string& where) {
  std::string text = header_value(header, "shape", ')', where);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < '0' || c > '9'; }, ' ');
  std::vector<std::int64_t> shape;
  const char* at = text.c_str();
  while (*(at += std::strspn(at, " ")) != '\0') {
    char* end = nullptr;
    shape.push_back(std::strtoll(at, &end, 10));
    at = end;
  }
  return shape;
}

std::uint64_t bytes_per_value(const std::string& type) {
  std::uint64_t size = 0;
  std::from_chars(type.data() + 1, type.data() + type.size(), size);
  return type.front() == 'U' ? 4 * size : size;
}

std::string text_of(std::string_view value, char kind) {
  std::string text;
  if (kind == 'U') {
    for (std::size_t at = 0; at < value.size(); at += 4) {
      std::uint32_t point = 0;
      std::memcpy(&point, value.data() + at, 4);
      if (point == 0) break;
      append_utf8(text, point);
    }
    return text;
  }
  if (kind == 'b') return value.front() != 0 ? "true" : "false";
  std::int64_t number = 0;
  std::memcpy(&number, value.data(), value.size());
  if (kind == 'i' && value.size() == 4) number = static_cast<std::int32_t>(number);
  return std::to_string(number);
}

}  // namespace

namespace {

/// Of the beginning of a file that has `size` bytes: the array without its values, and where they begin.
std::pair<Array, std::size_t> parse_header(const std::string& content, std::uint64_t size,
                                           const std::string& name, const std::string& where) {
  if (!content.starts_with("\x93NUMPY") || content.size() < kMagic + 6) not_npy(where);
  const std::size_t length_bytes = content[kMagic] == 1 ? 2 : 4;
  std::uint32_t length = 0;
  std::memcpy(&length, content.data() + kMagic + 2, length_bytes);
  const std::size_t start = kMagic + 2 + length_bytes;
  if (start + length > content.size()) not_npy(where);
  const std::string header = content.substr(start, length);
  Array array{name, where, parse_type(header, where), parse_shape(header, where), {}};
  if (header_value(header, "fortran_order", ',', where) != "False" && array.shape.size() > 1) {
    refuse("the array is in Fortran order", where, "store numpy.ascontiguousarray(array)");
  }
  std::uint64_t bytes = bytes_per_value(array.type);
  bool fits = true;
  for (const std::int64_t side : array.shape)
    fits = !__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(side), &bytes) && fits;
  if (!fits || bytes != size - start - length) not_npy(where);
  return {std::move(array), start + length};
}

}  // namespace

Array parse_npy(const std::string& content, const std::string& name, const std::string& where) {
  auto [array, start] = parse_header(content, content.size(), name, where);
  array.bytes = content.substr(start);
  return std::move(array);
}

void LargeArray::read(std::uint64_t at, std::span<std::byte> out) const {
  if (!file_) {
    COHORT_CHECK(at + out.size() <= array_.bytes.size(), "bytes {} of {}", at, array_.bytes.size());
    std::memcpy(out.data(), array_.bytes.data() + at, out.size());
  } else if (read_at(*file_, start_ + at, out) != out.size()) {
    throw DataError({"the archive has changed while it was read", array_.where, "convert again"});
  }
}

LargeArray Npz::large_array(const std::string& name) const {
  const std::string found = entry(name), where = fmt::format("{}: {}", file_.string(), name);
  const std::optional<std::uint64_t> at = zip_.stored_at(found, is_checked_);
  if (!at) return {array(name), nullptr, 0};
  constexpr std::uint64_t kMostHeader = 1 << 16;
  const std::uint64_t size = zip_.entries().at(found).size;
  const auto file = std::make_shared<const FileDescriptor>(open_file(file_));
  std::string head(std::min(size, kMostHeader), '\0');
  if (read_at(*file, *at, std::as_writable_bytes(std::span(head))) != head.size()) not_npy(where);
  auto [array, start] = parse_header(head, size, name, where);
  return {std::move(array), file, *at + start};
}

std::string Npz::entry(const std::string& name) const {
  if (zip_.entries().contains(name + ".npy")) return name + ".npy";
  std::vector<std::string> names;
  for (const auto& [entry, unused] : zip_.entries()) {
    if (entry.ends_with(".npy")) names.push_back(entry.substr(0, entry.size() - 4));
  }
  refuse(fmt::format("the file has no array '{}'", name), file_.string(), did_you_mean(name, names));
}

Array Npz::array(const std::string& name) const {
  return parse_npy(zip_.read(entry(name)), name, fmt::format("{}: {}", file_.string(), name));
}

std::uint32_t Npz::crc(const std::string& name) const {
  return zip_.entries().at(entry(name)).crc;
}

void check_texts(const Array& array) {
  if (array.shape.size() != 1 || array.type == "f4") {
    refuse(fmt::format("array '{}' of {} dimensions and type {} cannot name something", array.name,
                       array.shape.size(), array.type),
           array.where, "give one integer, boolean or text for each image");
  }
}

std::string text_of(const LargeArray& array, std::int64_t index) {
  std::string value(bytes_per_value(array.facts().type), '\0');
  array.read(static_cast<std::uint64_t>(index) * value.size(), std::as_writable_bytes(std::span(value)));
  return text_of(value, array.facts().type.front());
}

}  // namespace cohort::data_prep

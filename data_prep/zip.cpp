#include "data_prep/zip.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include <fmt/format.h>
#include <zlib.h>

#include "cohort/core/error.h"

// Layout: APPNOTE.TXT of PKWARE, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.16 (its
// end), 4.5.3 (zip64).
namespace cohort::data_prep {
namespace {

constexpr std::size_t kEndSize = 22, kCentralSize = 46, kLocalSize = 30, kEnd64Size = 56, kLocator64Size = 20;
constexpr std::uint32_t kUse64 = 0xFFFFFFFF;
constexpr std::uint16_t kEncrypted = 1;

[[noreturn]] void damaged(const std::string& what, const std::filesystem::path& file) {
  throw DataError({what, file.string(), "fetch or make the file again"});
}

template <class Value>
Value number(std::string_view bytes, std::size_t at) {
  Value value{};
  if (at + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::string read_at(std::ifstream& stream, std::uint64_t offset, std::uint64_t size,
                    const std::filesystem::path& file) {
  const std::uint64_t file_size = std::filesystem::file_size(file);
  if (offset > file_size || size > file_size - offset)
    damaged("the archive is damaged: it ends too early", file);
  std::string bytes(size, '\0');
  stream.seekg(static_cast<std::streamoff>(offset));
  stream.read(bytes.data(), static_cast<std::streamsize>(size));
  if (!stream) damaged("the archive cannot be read", file);
  return bytes;
}

/// Where the record at the end of the archive stands in its last bytes: the comment, whose length it tells,
/// is behind it, and may look like one.
std::size_t find_end(std::string_view tail) {
  std::size_t at = tail.rfind("PK\5\6");
  while (at != std::string_view::npos && at + kEndSize + number<std::uint16_t>(tail, at + 20) > tail.size())
    at = at == 0 ? std::string_view::npos : tail.rfind("PK\5\6", at - 1);
  return at;
}

struct Directory {
  std::string bytes;
  std::uint64_t entries = 0;
  bool counts_all = false;  // 16 bits without zip64: some writers let them run over
};

/// The central directory.
Directory read_directory(std::ifstream& stream, const std::filesystem::path& file) {
  const std::uint64_t size = std::filesystem::file_size(file);
  const std::uint64_t tail_size = std::min<std::uint64_t>(size, 65535 + kEndSize + kLocator64Size);
  const std::string tail = read_at(stream, size - tail_size, tail_size, file);
  const std::size_t end = find_end(tail);
  if (end == std::string::npos) damaged("the file is not a zip archive, or it was cut off", file);
  std::uint64_t entries = number<std::uint16_t>(tail, end + 10),
                directory_size = number<std::uint32_t>(tail, end + 12),
                offset = number<std::uint32_t>(tail, end + 16);
  const bool has64 = end >= kLocator64Size && tail.compare(end - kLocator64Size, 4, "PK\6\7") == 0;
  if (has64) {
    const std::string end64 =
        read_at(stream, number<std::uint64_t>(tail, end - kLocator64Size + 8), kEnd64Size, file);
    entries = number<std::uint64_t>(end64, 32);
    directory_size = number<std::uint64_t>(end64, 40);
    offset = number<std::uint64_t>(end64, 48);
  }
  return {read_at(stream, offset, directory_size, file), entries, has64};
}

/// Values too large for their 32-bit field stand in the extra field with id 1, in this order.
void apply_zip64(std::string_view extra, Zip::Entry& entry) {
  while (extra.size() >= 4) {
    const auto id = number<std::uint16_t>(extra, 0), size = number<std::uint16_t>(extra, 2);
    if (id == 1) {
      std::size_t at = 4;
      for (std::uint64_t* value : {&entry.size, &entry.packed, &entry.offset}) {
        if (*value != kUse64) continue;
        *value = number<std::uint64_t>(extra, at);
        at += 8;
      }
    }
    extra.remove_prefix(std::min<std::size_t>(extra.size(), std::size_t{4} + size));
  }
}

std::string inflate_all(const std::string& packed, std::uint64_t size, const std::filesystem::path& file) {
  constexpr std::uint64_t kMostRatio = 1032;  // of deflate: 258 bytes from two bits
  if (size / kMostRatio > packed.size())
    damaged("the archive is damaged: an entry cannot be as large as it says", file);
  std::string unpacked(size, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) damaged("zlib cannot start", file);
  const void* input = packed.data();
  void* output = unpacked.data();
  stream.next_in = const_cast<Bytef*>(static_cast<const Bytef*>(input));
  stream.next_out = static_cast<Bytef*>(output);
  std::uint64_t in_left = packed.size(), out_left = size;
  int status = Z_OK;
  while (status == Z_OK) {  // zlib counts in 32 bits
    constexpr std::uint64_t kPiece = 1 << 30;
    const auto in = static_cast<uInt>(std::min(in_left, kPiece)),
               out = static_cast<uInt>(std::min(out_left, kPiece));
    stream.avail_in = in;
    stream.avail_out = out;
    status = inflate(&stream, Z_NO_FLUSH);
    in_left -= in - stream.avail_in;
    out_left -= out - stream.avail_out;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || out_left != 0)
    damaged("the archive is damaged: an entry cannot be unpacked", file);
  return unpacked;
}

/// Behind the local header.
std::uint64_t start_of(std::ifstream& stream, const Zip::Entry& entry, const std::filesystem::path& file) {
  const std::string local = read_at(stream, entry.offset, kLocalSize, file);
  return entry.offset + kLocalSize + number<std::uint16_t>(local, 26) + number<std::uint16_t>(local, 28);
}

[[noreturn]] void wrong_checksum(const std::string& name, const std::filesystem::path& file) {
  damaged(fmt::format("entry '{}' is damaged: its checksum does not match", name), file);
}

}  // namespace

Zip Zip::open(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) damaged("the archive cannot be opened", file);
  Zip zip(file);
  const Directory directory = read_directory(stream, file);
  for (std::string_view rest = directory.bytes; rest.size() >= kCentralSize && rest.starts_with("PK\1\2");) {
    Entry entry{number<std::uint32_t>(rest, 42), number<std::uint32_t>(rest, 20),
                number<std::uint32_t>(rest, 24), number<std::uint32_t>(rest, 16),
                number<std::uint16_t>(rest, 10), (number<std::uint16_t>(rest, 8) & kEncrypted) != 0};
    const std::size_t name = number<std::uint16_t>(rest, 28), extra = number<std::uint16_t>(rest, 30);
    const std::size_t comment = number<std::uint16_t>(rest, 32);
    if (kCentralSize + name + extra + comment > rest.size())
      damaged("the archive's directory is damaged", file);
    apply_zip64(rest.substr(kCentralSize + name, extra), entry);
    if (!zip.entries_.emplace(rest.substr(kCentralSize, name), entry).second)
      damaged(fmt::format("the archive has two entries called '{}'", rest.substr(kCentralSize, name)), file);
    rest.remove_prefix(kCentralSize + name + extra + comment);
  }
  constexpr std::size_t kCounted = 1 << 16;
  const std::size_t found = zip.entries_.size();
  if ((directory.counts_all ? found : found % kCounted) != directory.entries)
    damaged("the archive's directory is damaged, or something stands before the archive in its file", file);
  return zip;
}

const Zip::Entry& Zip::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) damaged(fmt::format("the archive has no entry '{}'", name), file_);
  if (found->second.is_encrypted) damaged(fmt::format("entry '{}' is encrypted", name), file_);
  return found->second;
}

std::optional<std::uint64_t> Zip::stored_at(const std::string& name, bool is_checked) const {
  const Entry& entry = this->entry(name);
  if (entry.method != 0) return std::nullopt;
  std::ifstream stream(file_, std::ios::binary);
  const std::uint64_t start = start_of(stream, entry, file_);
  if (!is_checked) return start;
  constexpr std::uint64_t kPiece = 1 << 20;
  uLong sum = 0;
  for (std::uint64_t at = 0; at < entry.size; at += kPiece) {
    const std::string piece = read_at(stream, start + at, std::min(kPiece, entry.size - at), file_);
    const void* bytes = piece.data();
    sum = crc32_z(sum, static_cast<const Bytef*>(bytes), piece.size());
  }
  if (sum != entry.crc) wrong_checksum(name, file_);
  return start;
}

std::string Zip::read(const std::string& name) const {
  const Entry& entry = this->entry(name);
  std::ifstream stream(file_, std::ios::binary);
  const std::uint64_t start = start_of(stream, entry, file_);
  std::string content = read_at(stream, start, entry.packed, file_);
  if (entry.method == Z_DEFLATED) {
    content = inflate_all(content, entry.size, file_);
  } else if (entry.method != 0) {
    damaged(fmt::format("entry '{}' is packed by method {}, neither stored nor deflated", name, entry.method),
            file_);
  }
  const void* bytes = content.data();
  if (crc32_z(0, static_cast<const Bytef*>(bytes), content.size()) != entry.crc) wrong_checksum(name, file_);
  return content;
}

}  // namespace cohort::data_prep

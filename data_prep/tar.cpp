#include "data_prep/tar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <map>
#include <optional>
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

/// What headers before that of a member say of it.
struct Ahead {
  std::optional<std::string> name, target;
  std::optional<std::uint64_t> bytes;
  bool is_sparse = false;  // its content has holes that are not in the archive
};

/// A member that stands for another.
struct Link {
  std::size_t before;  // so many files come before it
  std::string name, target;
};

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

/// "27 path=a/long/name\n": what a pax header says of the next member.
void read_pax(std::string_view records, Ahead& ahead) {
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
    if (key == "path") ahead.name = value;
    if (key == "linkpath") ahead.target = value;
    if (key.starts_with("GNU.sparse.")) ahead.is_sparse = true;
    if (key == "size") std::from_chars(value.data(), value.data() + value.size(), ahead.bytes.emplace());
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

bool is_zero(const Block& block) {
  return std::all_of(block.begin(), block.end(), [](char c) { return c == '\0'; });
}

/// The members of an archive, one after another.
class Members {
 public:
  Members(const std::filesystem::path& archive, LeftOut& left_out)
      : archive_(archive), left_out_(left_out), stream_(archive, std::ios::binary) {
    if (!stream_) refuse_tar("the file cannot be opened", archive);
    size_ = std::filesystem::file_size(archive);
    while (read_member()) {
    }
    resolve_links();
  }
  std::vector<TarEntry> files;

 private:
  Block block_at(std::uint64_t at) {
    if (at > size_ || size_ - at < kBlock) refuse_tar("it ends too early", archive_);
    Block block{};
    stream_.seekg(static_cast<std::streamoff>(at));
    stream_.read(block.data(), kBlock);
    if (!stream_) refuse_tar("it ends too early", archive_);
    return block;
  }

  /// False: that was the end.
  bool read_member() {
    if (at_ == size_)
      refuse_tar("it has no end: the blocks of zeros behind the last member are missing", archive_);
    const Block block = block_at(at_);
    if (is_zero(block)) return check_end(), false;
    if (!has_right_checksum(block))
      refuse_tar(at_ == 0 ? "it is no tar archive" : fmt::format("the header at byte {} is damaged", at_),
                 archive_);
    const char type = block.at(156);
    const bool has_content =
        type < '1' || type > '6';  // links, devices and folders have none, whatever they say
    const std::uint64_t bytes = has_content ? ahead_.bytes.value_or(number(block, 124, 12)) : 0,
                        offset = at_ + kBlock;
    if (bytes > size_ - offset) refuse_tar("it ends too early", archive_);
    take(block, type, offset, bytes);
    at_ = offset + (bytes + kBlock - 1) / kBlock * kBlock;
    if (at_ > size_) refuse_tar("it ends too early", archive_);
    return true;
  }

  void take(const Block& block, char type, std::uint64_t offset, std::uint64_t bytes) {
    constexpr char kPax = 'x', kLongName = 'L', kLongTarget = 'K';
    if (type == kPax) return read_pax(text_ahead(offset, bytes), ahead_);
    if (type == kLongName) return void(ahead_.name = without_zeros(text_ahead(offset, bytes)));
    if (type == kLongTarget) return void(ahead_.target = without_zeros(text_ahead(offset, bytes)));
    add(type, ahead_.name.value_or(name_of(block)),
        ahead_.target.value_or(std::string(field(block, 157, 100))), offset, bytes);
    ahead_ = {};
  }

  void add(char type, const std::string& name, const std::string& target, std::uint64_t offset,
           std::uint64_t bytes) {
    constexpr char kHardLink = '1', kSymbolicLink = '2', kFolder = '5', kGlobalPax = 'g', kVolume = 'V';
    const std::filesystem::path folder = std::filesystem::path(name).parent_path();
    const bool is_file = (type == '0' || type == '7' || type == '\0') && !ahead_.is_sparse;
    if (is_file && !name.ends_with('/'))  // ancient archives mark folders so
      files.push_back({name, offset, bytes});
    else if (type == kHardLink)
      links_.push_back({files.size(), name, plain(target)});
    else if (type == kSymbolicLink)
      links_.push_back({files.size(), name, plain((folder / target).string())});
    else if (!is_file && type != kFolder && type != kGlobalPax && type != kVolume)
      left_out_.add("members of archives that are no files", place(name));
  }

  std::string text_ahead(std::uint64_t offset, std::uint64_t bytes) {
    constexpr std::uint64_t kLongest = 1 << 16;
    if (bytes > kLongest) refuse_tar(fmt::format("the header at byte {} is too long", at_), archive_);
    return content_at(stream_, offset, bytes, archive_);
  }

  static std::string without_zeros(const std::string& text) { return text.substr(0, text.find('\0')); }
  static std::string plain(const std::string& name) {
    return std::filesystem::path(name).lexically_normal().generic_string();
  }
  [[nodiscard]] std::string place(const std::string& name) const {
    return fmt::format("{}: {}", archive_.filename().string(), name);
  }

  /// Archives that were joined by cat go on behind the end of the first one.
  void check_end() {
    for (at_ += kBlock; size_ - at_ >= kBlock; at_ += kBlock) {
      if (!is_zero(block_at(at_)))
        refuse_tar(fmt::format("it goes on behind its end, at byte {}: several archives in one file", at_),
                   archive_);
    }
  }

  /// Where they stand in the archive, with the content of the files that they stand for, maybe through
  /// others.
  void resolve_links() {
    if (links_.empty()) return;
    std::map<std::string, TarEntry> known;
    for (const TarEntry& file : files) known.insert_or_assign(plain(file.name), file);
    constexpr int kMostBetween = 8;  // links from one to the next
    for (int i = 0; i < kMostBetween; ++i) {
      for (const Link& link : links_) {
        const auto target = known.find(link.target);
        if (target != known.end()) known.emplace(plain(link.name), target->second);
      }
    }
    std::vector<TarEntry> all;
    std::size_t next = 0;
    for (const Link& link : links_) {
      while (next < link.before) all.push_back(files[next++]);
      const auto target = known.find(link.target);
      if (target == known.end())
        left_out_.add("links in archives to what is not there",
                      fmt::format("{} -> {}", place(link.name), link.target));
      else
        all.push_back({link.name, target->second.offset, target->second.bytes});
    }
    all.insert(all.end(), files.begin() + static_cast<std::ptrdiff_t>(next), files.end());
    files = std::move(all);
  }

  const std::filesystem::path& archive_;
  LeftOut& left_out_;
  std::ifstream stream_;
  std::uint64_t size_ = 0, at_ = 0;
  Ahead ahead_;
  std::vector<Link> links_;
};

}  // namespace

std::vector<TarEntry> read_tar(const std::filesystem::path& archive, LeftOut& left_out) {
  return std::move(Members(archive, left_out).files);
}

std::string read_tar_entry(const std::filesystem::path& archive, const TarEntry& entry) {
  std::ifstream stream(archive, std::ios::binary);
  if (!stream) refuse_tar("the file cannot be opened", archive);
  return content_at(stream, entry.offset, entry.bytes, archive);
}

}  // namespace cohort::data_prep

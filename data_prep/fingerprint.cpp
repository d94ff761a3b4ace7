#include "data_prep/fingerprint.h"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <span>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>

#include "cohort/core/checksum.h"
#include "cohort/core/file.h"

namespace cohort::data_prep {
namespace {

/// Of the beginning of a file: the PNG specification, 5.2 and 11.2.1.
bool is_png_of_few_bits(std::span<const std::byte> begin) {
  constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";
  constexpr std::size_t kBitDepth = 24;
  const std::string_view text(static_cast<const char*>(static_cast<const void*>(begin.data())), begin.size());
  return text.size() > kBitDepth && text.starts_with(kSignature) && text[kBitDepth] < 8;
}

}  // namespace

std::uint64_t fingerprint_of(const std::filesystem::path& file, bool is_mask) {
  constexpr std::int64_t kBlock = 4096, kApart = 1 << 20, kMostBlocks = 64;
  struct stat status {};
  const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!descriptor || ::fstat(descriptor.get(), &status) != 0 || !S_ISREG(status.st_mode)) return 0;
  Checksum sum;
  const std::array<std::int64_t, 3> facts{status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
  sum.update(std::as_bytes(std::span(facts)));
  const std::int64_t last = std::max<std::int64_t>(0, status.st_size - kBlock);
  const std::int64_t blocks = std::clamp<std::int64_t>(status.st_size / kApart, 2, kMostBlocks);
  std::array<std::byte, kBlock> block{};
  for (std::int64_t i = 0; i < blocks; ++i) {
    const ssize_t count = ::pread(descriptor.get(), block.data(), block.size(), last * i / (blocks - 1));
    const auto read = std::span(block).first(static_cast<std::size_t>(std::max<ssize_t>(0, count)));
    sum.update(read);
    if (i == 0 && is_mask && is_png_of_few_bits(read)) sum.update(std::as_bytes(std::span("indices")));
  }
  return sum.value();
}

std::uint64_t fingerprint_of(std::int64_t count,
                             const std::function<std::filesystem::path(std::int64_t index)>& file,
                             comm::Communicator& ranks, bool is_mask) {
  std::uint64_t all = 0;
  comm::together(ranks, [&] {
    for (std::int64_t i = ranks.rank(); i < count; i += ranks.size()) {
      const std::array<std::uint64_t, 2> one{static_cast<std::uint64_t>(i), fingerprint_of(file(i), is_mask)};
      all += checksum(std::as_bytes(std::span(one)));
    }
  });
  const std::vector<std::string> texts = ranks.gather_texts(checksum_text(all));
  all = 0;
  for (const std::string& text : texts) all += parse_checksum(text, "fingerprint");
  return all;
}

}  // namespace cohort::data_prep

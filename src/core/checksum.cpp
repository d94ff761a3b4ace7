#include "cohort/core/checksum.h"

#include <charconv>
#include <fstream>
#include <vector>

#define XXH_STATIC_LINKING_ONLY  // for the size of XXH3_state_t
#include <xxhash.h>
#if __has_include(<xxh_x86dispatch.h>)  // installed where the library chooses AVX2 or AVX-512 when it runs
#include <xxh_x86dispatch.h>
#define COHORT_DISPATCHED_CHECKSUM
#endif

#include "cohort/core/error.h"

namespace cohort {
namespace {

#ifdef COHORT_DISPATCHED_CHECKSUM
__attribute__((target("avx"))) void zero_upper_halves() noexcept {
  __builtin_ia32_vzeroupper();
}

// The library leaves the upper halves of vector registers in use, and SSE code behind it runs at a third of
// its speed.
void release_registers() noexcept {
  static const bool has_avx = __builtin_cpu_supports("avx") != 0;
  if (has_avx) zero_upper_halves();
}
#else
void release_registers() noexcept {}
#endif

}  // namespace

struct Checksum::State {
  XXH3_state_t hash;
};

std::uint64_t checksum(std::span<const std::byte> bytes) noexcept {
  const std::uint64_t value = XXH3_64bits(bytes.data(), bytes.size());
  release_registers();
  return value;
}

Checksum::Checksum() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(&state_->hash);
}
Checksum::Checksum(Checksum&&) noexcept = default;
Checksum& Checksum::operator=(Checksum&&) noexcept = default;
Checksum::~Checksum() = default;

void Checksum::update(std::span<const std::byte> bytes) noexcept {
  XXH3_64bits_update(&state_->hash, bytes.data(), bytes.size());
  release_registers();
}

std::uint64_t Checksum::value() const noexcept {
  const std::uint64_t value = XXH3_64bits_digest(&state_->hash);
  release_registers();
  return value;
}

std::uint64_t checksum_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::vector<char> piece(std::size_t{4} << 20);
  Checksum sum;
  while (stream) {
    stream.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    sum.update(std::as_bytes(std::span(piece.data(), static_cast<std::size_t>(stream.gcount()))));
  }
  if (!stream.eof()) {
    throw DataError({"cannot read the file", file.string(), "check that it exists and that you may read it"});
  }
  return sum.value();
}

std::string checksum_text(std::uint64_t value) {
  return fmt::format("{:016x}", value);
}

std::uint64_t parse_checksum(std::string_view text, const std::string& where) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.size() != 16 || error != std::errc() || end != text.data() + text.size()) {
    throw DataError({fmt::format("'{}' is not a checksum", text), where,
                     "a checksum has 16 hexadecimal digits: the file was damaged or edited"});
  }
  return value;
}

}  // namespace cohort

#include <memory>
#include <zstd.h>

#include <fmt/format.h>

#include "data/codec_library.h"

namespace cohort::data {
namespace {

struct FreeZstd {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

}  // namespace

std::vector<std::byte> encode_zstd(std::span<const std::byte> bytes) {
  constexpr int kLevel = 5;
  std::vector<std::byte> encoded(ZSTD_compressBound(bytes.size()));
  const std::size_t size = ZSTD_compress(encoded.data(), encoded.size(), bytes.data(), bytes.size(), kLevel);
  if (ZSTD_isError(size) != 0) fail_codec(fmt::format("zstd: {}", ZSTD_getErrorName(size)));
  encoded.resize(size);
  return encoded;
}

void decode_zstd(std::span<const std::byte> encoded, std::span<std::byte> bytes) {
  // Making a context for every image would cost more than a small image.
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeZstd> context(ZSTD_createDCtx());
  const std::size_t size =
      ZSTD_decompressDCtx(context.get(), bytes.data(), bytes.size(), encoded.data(), encoded.size());
  if (ZSTD_isError(size) != 0) fail_codec(fmt::format("zstd: {}", ZSTD_getErrorName(size)));
  if (size != bytes.size())
    fail_codec(fmt::format("zstd: {} bytes came out instead of {}", size, bytes.size()));
}

}  // namespace cohort::data

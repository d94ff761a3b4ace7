#include <memory>
#include <zstd.h>

#include <fmt/format.h>

#include "data/codec_library.h"

namespace cohort::data {
namespace {

struct FreeZstd {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

void order_by_significance(std::span<const std::byte> values, std::span<std::byte> bytes, std::size_t size) {
  const std::size_t count = values.size() / size;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t b = 0; b < size; ++b) bytes[b * count + i] = values[i * size + b];
  }
}

void restore_order(std::span<const std::byte> bytes, std::span<std::byte> values, std::size_t size) {
  const std::size_t count = values.size() / size;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t b = 0; b < size; ++b) values[i * size + b] = bytes[b * count + i];
  }
}

}  // namespace

std::vector<std::byte> encode_zstd(std::span<const std::byte> values, std::size_t value_size) {
  constexpr int kLevel = 5;
  const std::span<std::byte> bytes = scratch(values.size());
  order_by_significance(values, bytes, value_size);
  std::vector<std::byte> encoded(ZSTD_compressBound(bytes.size()));
  const std::size_t size = ZSTD_compress(encoded.data(), encoded.size(), bytes.data(), bytes.size(), kLevel);
  if (ZSTD_isError(size) != 0) fail_codec(fmt::format("zstd: {}", ZSTD_getErrorName(size)));
  encoded.resize(size);
  return encoded;
}

void decode_zstd(std::span<const std::byte> encoded, std::span<std::byte> values, std::size_t value_size) {
  // Making a context for every image would cost more than a small image.
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeZstd> context(ZSTD_createDCtx());
  const std::span<std::byte> bytes = scratch(values.size());
  const std::size_t size =
      ZSTD_decompressDCtx(context.get(), bytes.data(), bytes.size(), encoded.data(), encoded.size());
  if (ZSTD_isError(size) != 0) fail_codec(fmt::format("zstd: {}", ZSTD_getErrorName(size)));
  if (size != bytes.size())
    fail_codec(fmt::format("zstd: {} bytes came out instead of {}", size, bytes.size()));
  restore_order(bytes, values, value_size);
}

std::uint64_t decoded_zstd_bytes(std::span<const std::byte> encoded) {
  const auto bytes = ZSTD_getFrameContentSize(encoded.data(), encoded.size());
  if (bytes == ZSTD_CONTENTSIZE_UNKNOWN || bytes == ZSTD_CONTENTSIZE_ERROR)
    fail_codec("zstd: the frame does not say how long it is");
  return bytes;
}

}  // namespace cohort::data

#pragma once
// One pair of functions for each library behind ImageEncoder and decode_image(). `pixels`: [height, width,
// channels] as interleaved_layout() says. All throw DataError whose `where` is empty.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/pixel_order.h"

namespace cohort::data {

std::vector<std::byte> encode_png(const Interleaved& shape, PixelType type, std::span<std::byte> pixels);
void decode_png(std::span<const std::byte> encoded, const Interleaved& shape, PixelType type,
                std::span<std::byte> pixels);

std::vector<std::byte> encode_jpeg(const Interleaved& shape, int quality, std::span<std::byte> pixels);
void decode_jpeg(std::span<const std::byte> encoded, const Interleaved& shape, std::span<std::byte> pixels);

/// Of values of `value_size` bytes: all their first bytes, then all second ones …, as high bytes of
/// neighbours are alike. Also of no values.
std::vector<std::byte> encode_zstd(std::span<const std::byte> values, std::size_t value_size);
void decode_zstd(std::span<const std::byte> encoded, std::span<std::byte> values, std::size_t value_size);
/// How many bytes come out, as the frame says.
std::uint64_t decoded_zstd_bytes(std::span<const std::byte> encoded);

/// Memory of this thread; as long as the next call.
std::span<std::byte> scratch(std::size_t bytes);

[[noreturn]] void fail_codec(const std::string& reason);

}  // namespace cohort::data

#include "cohort/data/image_codec.h"

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/data/pixel_type.h"

namespace cohort::data {
namespace {

/// A slope, different in each channel, with some noise in the lowest bits.
std::vector<std::byte> picture(const ImageLayout& layout) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(layout.bytes()));
  std::uint32_t noise = 1;
  for (std::int64_t i = 0; i < layout.values(); ++i) {
    noise = noise * 1664525U + 1013904223U;
    const std::int64_t x = i % layout.width, channel = i / (layout.height * layout.width);
    const std::int64_t value = (x * 3 + channel * 40 + (noise >> 30U)) % 256;
    const auto put = [&](auto converted) {
      std::memcpy(bytes.data() + static_cast<std::size_t>(i) * sizeof converted, &converted,
                  sizeof converted);
    };
    if (layout.type == PixelType::u8) put(static_cast<std::uint8_t>(value));
    if (layout.type == PixelType::u16) put(static_cast<std::uint16_t>(value * 200));
    if (layout.type == PixelType::f32) put(static_cast<float>(value) * 0.37F - 3.0F);
  }
  return bytes;
}

std::string refusal_of(const auto& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(ImageCodec, LosslessOnesGiveBackEveryBit) {
  for (const Codec codec : {Codec::raw, Codec::png, Codec::zstd}) {
    for (const PixelType type : {PixelType::u8, PixelType::u16, PixelType::f32}) {
      if (codec == Codec::png && type == PixelType::f32) continue;
      for (const std::int64_t channels : {1, 2, 3, 4, 8}) {
        const ImageLayout layout{type, channels, 19, 31};
        const auto image = picture(layout);
        const auto encoded = encode_image(codec, layout, 0, image);
        std::vector<std::byte> decoded(image.size());
        decode_image(codec, layout, encoded, decoded);
        EXPECT_EQ(decoded, image) << codec_name(codec) << " " << channels << " channels";
        if (codec != Codec::raw) {
          EXPECT_LT(encoded.size(), image.size()) << codec_name(codec);
        }
      }
    }
  }
}

TEST(ImageCodec, JpegStaysNearAndNearerWithQuality) {
  for (const std::int64_t channels : {1, 3, 5}) {
    const ImageLayout layout{PixelType::u8, channels, 32, 40};
    const auto image = picture(layout);
    std::vector<double> distances;
    for (const int quality : {50, 95}) {
      std::vector<std::byte> decoded(image.size());
      decode_image(Codec::jpeg, layout, encode_image(Codec::jpeg, layout, quality, image), decoded);
      double sum = 0;
      for (std::size_t i = 0; i < image.size(); ++i)
        sum += std::abs(std::to_integer<int>(image[i]) - std::to_integer<int>(decoded[i]));
      distances.push_back(sum / static_cast<double>(image.size()));
    }
    EXPECT_LT(distances[1], 3.0) << channels;
    EXPECT_LT(distances[1], distances[0]) << channels;
  }
}

TEST(ImageCodec, DamageIsSaidByTheLibrary) {
  const ImageLayout layout{PixelType::u8, 3, 16, 16};
  const auto image = picture(layout);
  std::vector<std::byte> decoded(image.size());
  for (const Codec codec : {Codec::png, Codec::jpeg, Codec::zstd}) {
    auto encoded = encode_image(codec, layout, 90, image);
    encoded.resize(encoded.size() / 2);
    EXPECT_THROW(decode_image(codec, layout, encoded, decoded), DataError) << codec_name(codec);
    encoded.clear();
    EXPECT_THROW(decode_image(codec, layout, encoded, decoded), DataError) << codec_name(codec);
  }
}

TEST(ImageCodec, AnImageOfAnotherLayoutIsRefused) {
  const ImageLayout layout{PixelType::u8, 3, 16, 16}, other{PixelType::u8, 3, 16, 15},
      gray{PixelType::u8, 1, 16, 16};
  for (const Codec codec : {Codec::png, Codec::jpeg, Codec::zstd}) {
    const auto encoded = encode_image(codec, layout, 90, picture(layout));
    for (const ImageLayout& wanted : {other, gray}) {
      std::vector<std::byte> decoded(static_cast<std::size_t>(wanted.bytes()));
      EXPECT_THROW(decode_image(codec, wanted, encoded, decoded), DataError) << codec_name(codec);
    }
  }
}

TEST(ImageCodec, TypesAndSizesThatDoNotFitAreRefusedWithOneThatDoes) {
  const auto refusal = [](Codec codec, const ImageLayout& layout) {
    return refusal_of([&] { check_codec(codec, layout); });
  };
  EXPECT_NE(refusal(Codec::jpeg, {PixelType::u16, 1, 8, 8}).find("codec jpeg cannot keep pixels of type u16"),
            std::string::npos);
  EXPECT_NE(refusal(Codec::png, {PixelType::f32, 1, 8, 8}).find("--codec zstd"), std::string::npos);
  EXPECT_NE(refusal(Codec::jpeg, {PixelType::u8, 8, 9000, 8}).find("an image of 72000 × 8 pixels"),
            std::string::npos);
  check_codec(Codec::png, {PixelType::u16, 8, 224, 224});
  check_codec(Codec::zstd, {PixelType::f32, 8, 224, 224});
}

TEST(ImageCodec, NamesAreRead) {
  for (const std::string& name : codec_names()) EXPECT_EQ(codec_name(codec_of(name).value()), name);
  EXPECT_FALSE(codec_of("jpg"));
}

}  // namespace
}  // namespace cohort::data

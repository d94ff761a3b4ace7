#include "cohort/data/image_codec.h"

#include "fuzz.h"

// The first byte chooses codec and type, the rest is the encoded image.
void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  if (content.empty()) return;
  const unsigned choice = content.front();
  const data::ImageLayout layout{choice & 4U ? data::PixelType::u16 : data::PixelType::u8,
                                 choice & 8U ? 3 : 2, 6, 5};
  const auto codec = static_cast<data::Codec>(1 + choice % 3);
  if (codec == data::Codec::jpeg && layout.type != data::PixelType::u8) return;
  std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
  data::decode_image(codec, layout, std::as_bytes(content.subspan(1)), image);
}

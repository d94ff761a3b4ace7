#include "data_prep/image_file.h"

#include "fuzz.h"

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  if (content.size() > (1U << 16U)) return;
  const void* start = content.data();
  const std::string_view text(static_cast<const char*>(start), content.size());
  if (text.starts_with("\x89PNG")) data_prep::decode_png(text, "input", data_prep::PngSamples::as_stored);
  data_prep::decode_image(text, "input");
}

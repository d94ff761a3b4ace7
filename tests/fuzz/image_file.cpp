#include "data_prep/image_file.h"

#include "fuzz.h"

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  if (content.size() > (1U << 16U)) return;
  const void* start = content.data();
  data_prep::decode_image({static_cast<const char*>(start), content.size()}, "input");
}

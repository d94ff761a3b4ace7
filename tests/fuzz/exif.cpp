#include "data_prep/exif.h"

#include "fuzz.h"

// The first half is EXIF data, the second an XMP packet.
void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  const void* start = content.data();
  const std::string_view text(static_cast<const char*>(start), content.size());
  data_prep::orientation_of(text.substr(0, text.size() / 2), text.substr(text.size() / 2));
}

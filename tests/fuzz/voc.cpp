#include "data_prep/voc.h"

#include "fuzz.h"

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  data_prep::parse_voc({content.begin(), content.end()}, "fuzz");
}

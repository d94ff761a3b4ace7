#include "data_prep/ome_xml.h"

#include "cohort/core/error.h"

#include "fuzz.h"

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  const void* start = content.data();
  try {
    static_cast<void>(
        data_prep::parse_ome_xml({static_cast<const char*>(start), content.size()}, "fuzz.ome.tif"));
  } catch (const data_prep::OmeProblem& problem) {
    throw DataError({problem.what(), "fuzz", ""});
  }
}

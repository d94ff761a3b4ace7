#include "cohort/data/description.h"

#include "../support/temporary_folder.h"
#include "fuzz.h"

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  static const testing::TemporaryFolder
      folder;  // one for the whole run: each input replaces its dataset.json
  const void* start = content.data();
  folder.write("dataset.json", {static_cast<const char*>(start), content.size()});
  data::Description::read(folder.path());
}

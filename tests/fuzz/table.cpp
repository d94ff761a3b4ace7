#include "data_prep/table.h"

#include "fuzz.h"

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  const File file(content);
  data_prep::Table::read(file.path());
}

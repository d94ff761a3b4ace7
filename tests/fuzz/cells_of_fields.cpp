#include "data_prep/field_cells.h"
#include "fuzz.h"

// The first byte chooses what the cell is to be, the rest is the cell.
void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  if (content.empty()) return;
  const void* start = content.data() + 1;
  const std::string cell(static_cast<const char*>(start), content.size() - 1);
  const std::span<const std::string> cells(&cell, 1);
  switch (content.front() % 6) {
    case 0:
      return static_cast<void>(data_prep::parse_places(cell, 4, {"a", "b"}, "cell"));
    case 1:
      return static_cast<void>(data_prep::parse_places(cell, 2, {}, "cell"));
    case 2:
      return static_cast<void>(data_prep::parse_numbers(cells, "cell"));
    case 3:
      return static_cast<void>(data_prep::parse_flags(cells, "cell"));
    case 4:
      return static_cast<void>(data_prep::parse_tokens(cell, "cell"));
    default:
      return static_cast<void>(data_prep::parse_vector(cell, "cell"));
  }
}

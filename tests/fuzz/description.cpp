#include "cohort/data/description.h"

#include <filesystem>
#include <fstream>

#include "fuzz.h"

namespace {

/// One folder for the whole run: its dataset.json is replaced by each input.
const std::filesystem::path& folder() {
  static const std::filesystem::path path = [] {
    std::string name = (std::filesystem::temp_directory_path() / "cohort-fuzz-XXXXXX").string();
    return std::filesystem::path(mkdtemp(name.data()));
  }();
  return path;
}

}  // namespace

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  {
    std::ofstream file(folder() / "dataset.json", std::ios::binary);
    for (const std::uint8_t byte : content) file.put(static_cast<char>(byte));
  }
  data::Description::read(folder());
}

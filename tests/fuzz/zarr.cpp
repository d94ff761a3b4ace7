#include "data_prep/zarr.h"

#include <algorithm>

#include "cohort/core/file.h"

#include "fuzz.h"

/// Metadata, and behind them, after a zero, the first chunk of that array.
void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  const std::string all(content.begin(), content.end());
  const std::string text = all.substr(0, all.find('\0'));
  const data_prep::ZarrMetadata metadata = data_prep::parse_zarr_metadata(text, "fuzz");
  constexpr std::int64_t kMost = 1 << 20;
  if (metadata.chunk_bytes() > kMost || text.size() == all.size()) return;
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "cohort_fuzz_zarr";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  write_file_atomically(folder / "zarr.json", text);
  data_prep::ZarrArray array(folder);
  std::vector<std::int64_t> start(metadata.shape.size(), 0), size = metadata.shape;
  std::int64_t bytes = metadata.value_bytes();
  for (std::int64_t& extent : size) {
    extent = std::min<std::int64_t>(extent, 64);
    bytes *= extent;
  }
  if (bytes == 0 || bytes > kMost) return;
  const std::filesystem::path file = array.file_at(start);
  std::filesystem::create_directories(file.parent_path());
  write_file_atomically(file, all.substr(text.size() + 1));
  std::vector<std::byte> out(static_cast<std::size_t>(bytes));
  array.read(start, size, out);
}

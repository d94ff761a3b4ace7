#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/comm/communicator.h"
#include "cohort/core/random.h"
#include "cohort/data/dataset_writer.h"

#include "temporary_folder.h"

namespace cohort::testing {

/// Noise of 8 x 8 gray pixels, brighter with the context, with a bright corner in the images of class 1.
/// Context "site" has the values a b c d e: 24 training images each in a … d, 7 test images each in b … e. No
/// image of e is trained on, and "f" has none.
inline constexpr std::int64_t kTinyTrain = 96, kTinyTest = 28;

inline data::Description tiny_description() {
  data::Description description;
  description.name = "tiny";
  description.images = {data::PixelType::u8, 1, 8, 8};
  description.channels = {"gray"};
  description.labels = {{"corner", {"dark", "bright"}}};
  description.contexts = {{"site", {"a", "b", "c", "d", "e", "f"}}};
  description.splits = {{"train", {}}, {"test", {}}};
  return description;
}

inline std::vector<data::Row> tiny_rows() {
  std::vector<data::Row> rows;
  const auto add = [&](std::int32_t split, std::int32_t first_site, int per_site) {
    for (std::int32_t site = first_site; site < first_site + 4; ++site) {
      for (int i = 0; i < per_site; ++i)
        rows.push_back({fmt::format("{}-{}-{:02}", split, site, i), split, {i % 2}, {site}});
    }
  };
  add(0, 0, 24);
  add(1, 1, 7);
  return rows;
}

/// Collective. Writes the dataset into `folder`.
inline void write_tiny_dataset(const std::filesystem::path& folder, comm::Communicator& ranks) {
  const std::vector<data::Row> rows = tiny_rows();
  const auto pixels = [&](std::int64_t index, std::span<std::byte> out) {
    const data::Row& row = rows[static_cast<std::size_t>(index)];
    RandomStream random({.seed = 7, .purpose = Purpose::synthetic, .sample = index});
    for (std::size_t i = 0; i < out.size(); ++i) {
      const bool corner = i % 8 < 4 && i / 8 < 4;
      const std::uint64_t light = row.labels.front() == 1 && corner ? 80 : 0;
      out[i] = static_cast<std::byte>(20 * static_cast<std::uint64_t>(row.contexts.front()) +
                                      random.below(60) + light);
    }
  };
  (void)data::write_dataset(folder, tiny_description(), rows, pixels, {}, ranks);
}

/// Collective. One temporary folder for all ranks, removed by rank 0 when the test ends.
class SharedFolder {
 public:
  explicit SharedFolder(comm::Communicator& ranks) : ranks_(ranks) {
    if (ranks.rank() == 0) folder_ = std::make_unique<TemporaryFolder>();
    path_ = ranks.broadcast_text(folder_ ? folder_->path().string() : "");
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  ~SharedFolder() { ranks_.barrier(); }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  comm::Communicator& ranks_;
  std::unique_ptr<TemporaryFolder> folder_;
  std::filesystem::path path_;
};

}  // namespace cohort::testing

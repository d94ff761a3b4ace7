#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"

#include "data_prep/convert.h"
#include "data_prep/ome_tiff.h"

namespace cohort::data_prep {

/// What images of a folder can tell of themselves: those of OME-TIFF as images of OME-Zarr do, others their
/// file alone.
const std::vector<std::string>& facts_of_images();

/// How the files of a folder become images.
struct OmeOptions {
  std::string planes;           ///< --planes
  std::string axes;             ///< of .npy files
  bool channels_named = false;  ///< by the user: what files call them does not matter
  bool skips = false;           ///< files that cannot be read are left out
};

/// The images of a folder with files of OME-TIFF, of which each series, time point and, if asked for, plane
/// is one; other files are one each.
class OmeImages {
 public:
  /// Collective: each rank reads the XML of its share of the files. `paths` below `root`. Throws UsageError
  /// or DataError.
  OmeImages(std::filesystem::path root, std::vector<std::string> paths, OmeOptions options, LeftOut& left_out,
            comm::Communicator& ranks);
  OmeImages(const OmeImages&) = delete;
  OmeImages& operator=(const OmeImages&) = delete;

  Source source;  ///< refers to this
  /// The path of the file that an image is in.
  [[nodiscard]] const std::string& file_of(std::size_t image) const { return paths_[rows_[image].file]; }
  /// One of facts_of_images(), one an image. On the first rank.
  [[nodiscard]] Categories fact(const std::string& name) const;

 private:
  /// series: -1: the file is not OME-TIFF; plane: -1: all of them.
  struct Row {
    std::size_t file;
    std::int64_t series, time, plane;
  };
  using Known = std::map<std::string, std::string>;

  void read_headers(comm::Communicator& ranks, LeftOut& left_out);
  /// `has_facts`: facts are kept here.
  void add_file(std::size_t file, const std::string& header, bool has_facts, LeftOut& left_out);
  void add(const Row& row, std::string id);
  void keep_channels(const std::vector<std::string>& channels, std::size_t file);
  [[nodiscard]] std::filesystem::path path(std::size_t file) const { return root_ / paths_[file]; }
  [[nodiscard]] std::string header(std::size_t file) const;
  [[nodiscard]] Image read(const Row& row);
  [[nodiscard]] std::string fact_of(const Row& row, const std::string& name) const;

  std::filesystem::path root_;
  std::vector<std::string> paths_;
  OmeOptions options_;
  std::vector<Row> rows_;
  std::map<std::pair<std::size_t, std::int64_t>, Known>
      facts_;                               // of series that a plate has, on the first rank
  std::optional<std::size_t> first_named_;  // file whose channels all others have to have
  std::optional<OmeTiff> open_;
  std::size_t open_file_ = 0;
};

}  // namespace cohort::data_prep

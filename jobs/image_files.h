#pragma once
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/comm/communicator.h"
#include "cohort/data/dataset.h"
#include "cohort/data/signature.h"

namespace cohort::jobs {

/// Images that are no dataset, and what is to be known of them.
struct ImageOptions {
  std::vector<std::string> paths;  ///< a folder, or image files and lists of them (.txt, a path a line)
  std::string layout{};            ///< of the folders, as of cohort-data convert images; empty: any depth
  std::string on_error = "stop";
  std::string axes{};     ///< of .npy files; empty: as their shapes tell
  std::string skipped{};  ///< table to write of what was left out

  void add_to(CLI::App& command);
};

/// Image files as a dataset that is not on a disk: each is decoded and prepared when it is needed, on the
/// rank that needs it.
class ImageFiles {
 public:
  /// Collective. Finds the files and prepares them as the images that the model was trained on: their size
  /// and gray. Context values are what `layout` says; without it the images of one folder, or all of them
  /// when there is but one, are one context of the model's key. With on_error=skip every image is read once
  /// here, and those that cannot be used are printed and listed. `chosen_channels`: the model's are some of
  /// those that its images had (data.channels), so that images with as many may have them in another order;
  /// they get the names that cohort-data convert gives. Throws UsageError or DataError.
  ImageFiles(const ImageOptions& options, const data::Signature& trained_on, bool chosen_channels,
             comm::Communicator& ranks);

  /// With the model's names of channels, mean and deviation, where it has as many.
  [[nodiscard]] const data::Description& description() const;
  /// Whether their folders name splits; else there is one, which nobody has asked for.
  [[nodiscard]] bool has_splits() const;
  [[nodiscard]] data::Dataset open(const std::string& split) const;

 private:
  struct Found;
  std::shared_ptr<const Found> found_;
};

}  // namespace cohort::jobs

#pragma once
#include <filesystem>
#include <string>

namespace cohort::data_prep {

/// A kind of files that `convert images` leaves out.
struct OtherKind {
  std::string name;    ///< "whole-slide images": a line of what was left out
  std::string remedy;  ///< how they can be converted; may be empty
};

/// Of a file or folder that is no PNG, JPEG, TIFF or npy by its name.
OtherKind other_kind_of(const std::filesystem::path& file);

/// Whether a folder holds one image of another format, and not images: .zarr.
bool is_image_folder(const std::filesystem::path& folder);

}  // namespace cohort::data_prep

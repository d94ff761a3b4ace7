#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data_prep/field_source.h"
#include "data_prep/nifti.h"

namespace cohort::data_prep {

constexpr std::int64_t kAllSlices = -1;

/// An image of a dataset: a slice of a volume of a file, or all of them.
struct NiftiSlice {
  std::size_t file;
  std::int64_t index, volume;  ///< index: of the slice, or kAllSlices
};

/// Across `axis`. Throws DataError.
Image read_slice(const NiftiFile& file, int axis, const NiftiSlice& slice);

/// Masks in files of `folder` named like those of the images, `paths`, with or without ".gz". What they hold
/// are whole numbers; of 8 bits where the first file has these. `values`: of MaskReader.
FieldSource nifti_masks(data::Field field, const MaskValues& values, const std::filesystem::path& folder,
                        int axis, const std::vector<std::string>& paths,
                        const std::vector<NiftiSlice>& slices);

/// Where the voxels of volumes lie, one file each: "spacing", millimetres from one to the next along z, y and
/// x, and "affine", NiftiFile::affine() by rows, both of the volumes as they are stored.
std::vector<FieldSource> nifti_places(const std::vector<std::filesystem::path>& files, int axis);

}  // namespace cohort::data_prep

#include "data_prep/other_files.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "cohort/core/text.h"

namespace cohort::data_prep {
namespace {

struct KnownKind {
  const char* name;
  const char* remedy;
  std::vector<std::string_view> endings;
};

const std::array kKinds{
    KnownKind{"whole-slide images",
              "convert slides cuts them into tiles",
              {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".isyntax"}},
    KnownKind{"files of microscopes",
              "write them as OME-TIFF (.ome.tif), for example with bfconvert of Bio-Formats",
              {".czi", ".nd2", ".lif", ".lsm", ".oib", ".oif", ".vsi", ".zvi", ".ims", ".dv", ".stk", ".n5",
               ".flex", ".c01"}},
    KnownKind{"zarr stores", "convert zarr reads them", {".zarr"}},
    KnownKind{"DICOM files", "convert dicom reads them", {".dcm", ".dicom", ".ima"}},
    KnownKind{"NIfTI files", "convert nifti reads them", {".nii", ".nii.gz"}},
    KnownKind{"medical images",
              "write each slice as 16-bit PNG or .npy, or the volume as NIfTI, for example with SimpleITK",
              {".mha", ".mhd", ".nrrd", ".mgz"}},
    KnownKind{"images of other formats",
              "turn them into PNG, for example with mogrify -format png of ImageMagick",
              {".webp", ".bmp", ".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".ppm", ".pgm",
               ".pnm", ".tga", ".psd", ".exr", ".hdr", ".pfm", ".fits"}},
    KnownKind{"raw files of cameras",
              "develop them into TIFF, for example with darktable-cli",
              {".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"}},
    KnownKind{"videos",
              "write their frames, for example with ffmpeg -i video.mp4 frames/%06d.png",
              {".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv"}},
    KnownKind{"NumPy archives", "convert npz reads them", {".npz"}},
    KnownKind{"HDF5 files", "convert hdf5 reads them", {".h5", ".hdf5", ".hdf", ".he5"}},
    KnownKind{"tar archives", "convert webdataset reads them; or unpack them", {".tar"}},
    KnownKind{"packed archives",
              "unpack them",
              {".zip", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst", ".7z", ".rar", ".gz", ".xz",
               ".bz2", ".zst"}},
    KnownKind{
        "Parquet tables",
        "convert manifest reads them where a column names image files; write images in them out as files",
        {".parquet", ".pq", ".arrow", ".feather"}},
    KnownKind{"tables",
              "if one lists the images, convert manifest reads it",
              {".csv", ".tsv", ".xlsx", ".xls", ".ods"}},
    KnownKind{"arrays of other programs",
              "save them with numpy.savez for convert npz",
              {".mat", ".pt", ".pth", ".pkl", ".pickle", ".tfrecord", ".tfrecords", ".lmdb", ".mdb",
               ".safetensors", ".rds"}},
};

}  // namespace

OtherKind other_kind_of(const std::filesystem::path& file) {
  const std::string name = in_small_letters(file.filename().string());
  for (const KnownKind& kind : kKinds) {
    const bool is_one = std::any_of(kind.endings.begin(), kind.endings.end(),
                                    [&](std::string_view ending) { return name.ends_with(ending); });
    if (is_one) return {kind.name, kind.remedy};
  }
  return {"files that are not PNG, JPEG, TIFF or npy by their name", ""};
}

bool is_image_folder(const std::filesystem::path& folder) {
  const std::string ending = in_small_letters(folder.extension().string());
  return ending == ".zarr" || ending == ".n5";
}

}  // namespace cohort::data_prep

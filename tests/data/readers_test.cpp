// Files of single fields against what Python's readers give of them: readers.py made both.
#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "data/reader_files.h"
#include "data_prep/dicom.h"
#include "data_prep/nifti.h"
#include "data_prep/npz.h"
#include "data_prep/zarr.h"
#include "support/temporary_folder.h"

namespace cohort::data_prep {
namespace {

namespace fs = std::filesystem;
using data::PixelType;
using testing::values_of;

#ifdef COHORT_DCMTK
Image dicom(const std::string& name, const DicomValues& values = {}, std::int64_t frame = 0) {
  return DicomFile(kReaders / "dicom" / (name + ".dcm")).frame(frame, values);
}

TEST(Dicom, ValuesAreThoseOfPydicom) {
  for (const char* name : {"gray16", "gray8", "inverted", "ct", "rgb", "rle", "jpegls", "palette"}) {
    SCOPED_TRACE(name);
    expect_same(dicom(name), expected(fmt::format("dicom_{}", name)));
  }
}

TEST(Dicom, JpegDiffersByRoundingAlone) {
  EXPECT_LE(largest_difference(dicom("jpeg"), expected("dicom_jpeg")), 1);
}

TEST(Dicom, ColoursOfYbrAreThoseOfTheStandardRounded) {
  expect_same(dicom("ybr"), expected("dicom_ybr"));
}

TEST(Dicom, WindowsAreThoseOfTheStandard) {
  expect_same(dicom("ct", {.has_window = true}), expected("dicom_ct_window"));
  expect_same(dicom("ct", {.has_window = true, .window = {{300, 1500}}}), expected("dicom_ct_window_exact"));
  const Image fraction = dicom("ct", {.has_window = true, .type = PixelType::f32});
  const auto values = values_of<float>(fraction);
  EXPECT_EQ(*std::max_element(values.begin(), values.end()), 1.0F);
  EXPECT_NE(refusal_of([] { dicom("gray8", {.has_window = true}); }).find("names no window"),
            std::string::npos);
}

TEST(Dicom, FramesAreImages) {
  EXPECT_EQ(read_dicom_header(kReaders / "dicom" / "frames.dcm", {}).frames, 3);
  const auto all = values_of_array<std::uint16_t>(expected("dicom_frames"));
  for (std::int64_t frame = 0; frame < 3; ++frame) {
    const std::vector<std::uint16_t> one(all.begin() + frame * 120, all.begin() + (frame + 1) * 120);
    EXPECT_EQ(values_of<std::uint16_t>(dicom("frames", {}, frame)), one);
  }
}

TEST(Dicom, OfACharacterSetThatIsNotKnownPlainTextsAreRead) {
  const std::filesystem::path file = kReaders / "dicom" / "japanese.dcm";
  EXPECT_EQ(read_dicom_header(file, {"PatientID"}).values, std::vector<std::string>{"P1"});
  EXPECT_NE(refusal_of([&] {
              read_dicom_header(file, {"PatientName"});
            }).find("DCMTK does not know the character set of its PatientName, ISO 2022 IR 13"),
            std::string::npos);
}

TEST(Dicom, TagsAreTextsInUtf8) {
  const DicomHeader header = read_dicom_header(kReaders / "dicom" / "ct.dcm",
                                               {"PatientID", "Manufacturer", "WindowCenter", "StudyDate"});
  EXPECT_EQ(header.values, (std::vector<std::string>{"Pc", "Größe & Söhne", "40\\300", ""}));
  EXPECT_EQ(header.frames, 1);
  check_tag("PatientID", "--context");
  EXPECT_EQ(refusal_of([] { check_tag("PatientIdd", "--context"); }), "DICOM has no tag 'PatientIdd'");
}

TEST(Dicom, WhatCannotBeReadIsSaid) {
  const auto of = [](const fs::path& file) {
    return refusal_of([&] { static_cast<void>(DicomFile(file).frame(0, {})); });
  };
  EXPECT_EQ(of(kReaders / "truncated.dcm"),
            "the image cannot be read: DICOM: it is damaged or ends too early (Invalid stream)");
  EXPECT_NE(of(kReaders / "slide.svs"), "it was accepted");
  EXPECT_NE(refusal_of([] { dicom("ct", {.type = PixelType::u8}); }).find("does not fit into u8"),
            std::string::npos);
}
#endif

Image zarr(const std::string& name, PixelType type, std::vector<std::int64_t> start,
           std::vector<std::int64_t> size) {
  ZarrArray array(kReaders / name);
  EXPECT_EQ(array.metadata().type, type);
  std::int64_t count = 1;
  for (const std::int64_t extent : size) count *= extent;
  Image image{{type, count / (size.back() * size[size.size() - 2]), size[size.size() - 2], size.back()}, {}};
  image.pixels.resize(static_cast<std::size_t>(image.layout.bytes()));
  array.read(start, size, image.pixels);
  return image;
}

TEST(Zarr, ValuesAreThoseOfZarrPython) {
  std::vector<std::string> names{"gzip", "raw", "checked", "zlib"};
#ifdef COHORT_BLOSC
  names.push_back("big");
  expect_same(zarr("plate.zarr/A/2/0/0", PixelType::u16, {0, 0, 0, 0}, {2, 3, 40, 44}),
              expected("zarr_plate"));
#endif
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    expect_same(zarr(name + ".zarr", PixelType::f32, {0, 0}, {40, 44}), expected("zarr_" + name));
  }
  expect_same(zarr("sharded.zarr/0", PixelType::u16, {0, 0, 0, 0}, {2, 3, 40, 44}), expected("zarr_sharded"));
}

TEST(Zarr, RegionsAreReadAcrossChunksAndShards) {
  const auto all = values_of_array<std::uint16_t>(expected("zarr_sharded"));
  const auto values =
      values_of<std::uint16_t>(zarr("sharded.zarr/0", PixelType::u16, {1, 0, 13, 30}, {1, 3, 20, 9}));
  std::size_t at = 0;
  for (std::size_t z = 0; z < 3; ++z) {
    for (std::size_t y = 13; y < 33; ++y) {
      for (std::size_t x = 30; x < 39; ++x) ASSERT_EQ(values[at++], all[((3 + z) * 40 + y) * 44 + x]);
    }
  }
}

/// Copies an array and changes a file of it.
std::string after(const std::string& name, const std::string& file,
                  const std::function<void(std::string&)>& change) {
  const testing::TemporaryFolder folder;
  fs::copy(kReaders / name, folder.path() / "a", fs::copy_options::recursive);
  std::string content = read_file(folder.path() / "a" / file);
  change(content);
  write_file_atomically(folder.path() / "a" / file, content);
  return refusal_of([&] {
    ZarrArray array(folder.path() / "a");
    std::vector<std::byte> out(static_cast<std::size_t>(40 * 44 * 4));
    array.read(std::vector<std::int64_t>{0, 0}, std::vector<std::int64_t>{40, 44}, out);
  });
}

TEST(Zarr, DamageIsSaid) {
  const auto cut = [](std::string& content) { content.resize(content.size() / 2); };
  const auto flip = [](std::string& content) { content[content.size() / 2] ^= 1; };
  EXPECT_EQ(after("checked.zarr", "c/0/0", flip),
            "the zarr array cannot be read: the checksum of a chunk is wrong");
  for (const char* name : {"gzip.zarr", "raw.zarr"})
    EXPECT_EQ(after(name, "c/0/0", cut), "the zarr array cannot be read: a chunk is damaged") << name;
  EXPECT_EQ(after("raw.zarr", "zarr.json", cut).substr(0, 57),
            "the zarr array cannot be read: its metadata are damaged: ");
}

TEST(Zarr, WhatIsNotReadIsNamed) {
  const auto without = [](const std::string& from, const std::string& to) {
    return [=](std::string& content) { content.replace(content.find(from), from.size(), to); };
  };
  EXPECT_EQ(after("raw.zarr", "zarr.json", without("float32", "complex64")),
            "the zarr array cannot be read: values of type complex64: images are uint8, uint16 or float32");
  EXPECT_EQ(after("zlib.zarr", ".zarray", without("\"C\"", "\"F\"")),
            "the zarr array cannot be read: it is stored in Fortran's order");
  EXPECT_EQ(after("gzip.zarr", "zarr.json", without("\"gzip\"", "\"lzma\"")),
            "the zarr array cannot be read: chunks are packed with lzma");
}

#ifdef COHORT_NIFTI
/// expected[x, y, z, volume] of RAS at the place of a pixel.
void expect_slices(const std::string& file, const std::string& name, std::int64_t volumes) {
  const NiftiFile nifti(kReaders / "nifti" / "sub-01" / "ses-2" / "anat" / file);
  const Array array = expected(name);
  const auto values = values_of_array<float>(array);
  ASSERT_EQ(nifti.volumes(), volumes);
  for (int axis = 0; axis < 3; ++axis) {
    const int columns = axis == 0 ? 1 : 0, rows = axis == 2 ? 1 : 2;
    for (std::int64_t volume = 0; volume < volumes; ++volume) {
      for (std::int64_t index = 0; index < array.shape[static_cast<std::size_t>(axis)]; ++index) {
        const auto pixels = values_of<float>(nifti.slice(axis, index, volume));
        const std::int64_t height = array.shape[static_cast<std::size_t>(rows)],
                           width = array.shape[static_cast<std::size_t>(columns)];
        ASSERT_EQ(std::ssize(pixels), height * width);
        for (std::int64_t i = 0; i < height * width; ++i) {
          std::array<std::int64_t, 3> at{};
          at[static_cast<std::size_t>(axis)] = index;
          at[static_cast<std::size_t>(rows)] = height - 1 - i / width;
          at[static_cast<std::size_t>(columns)] = i % width;
          const std::int64_t place =
              ((at[0] * array.shape[1] + at[1]) * array.shape[2] + at[2]) * volumes + volume;
          ASSERT_EQ(pixels[static_cast<std::size_t>(i)], values[static_cast<std::size_t>(place)])
              << axis << ' ' << index << ' ' << i;
        }
      }
    }
  }
}

TEST(Nifti, SlicesAreThoseOfNibabelInRas) {
  expect_slices("sub-01_ses-2_T1w.nii.gz", "nifti_T1w", 1);       // packed, axes swapped, rescaled
  expect_slices("sub-01_ses-2_run-1_bold.nii", "nifti_bold", 2);  // version 2, qform, volumes
}

TEST(Nifti, SpacingIsThatOfTheTurnedAxes) {
  const NiftiFile nifti(kReaders / "nifti" / "sub-01" / "ses-2" / "anat" / "sub-01_ses-2_T1w.nii.gz");
  EXPECT_NEAR(nifti.spacing()[0], 3, 1e-5);
  EXPECT_NEAR(nifti.spacing()[1], 2, 1e-2);
  EXPECT_NEAR(nifti.spacing()[2], 1, 1e-2);
}

/// A copy whose header, of version 2, claims `extent` columns.
std::string after_claiming(std::int64_t extent) {
  const testing::TemporaryFolder folder;
  const fs::path file = folder.path() / "a.nii";
  std::string content =
      read_file(kReaders / "nifti" / "sub-01" / "ses-2" / "anat" / "sub-01_ses-2_run-1_bold.nii");
  constexpr std::size_t kFirstExtent = 24;
  std::memcpy(&content[kFirstExtent], &extent, sizeof extent);
  write_file_atomically(file, content);
  return refusal_of([&] { NiftiFile{file}; });
}

TEST(Nifti, AHeaderThatClaimsMoreThanTheFileHoldsIsRefused) {
  for (const std::int64_t extent : {1000, 1 << 30}) {
    const std::string text = after_claiming(extent);
    EXPECT_NE(text.find("NIfTI: its header claims"), std::string::npos) << text;
  }
  EXPECT_NE(after_claiming(std::int64_t{1} << 60).find("NIfTI: its header"), std::string::npos);
}

TEST(Nifti, VolumesAreTheirSlicesAndTheAffineSaysWhereTheyLie) {
  const NiftiFile nifti(kReaders / "nifti" / "sub-01" / "ses-2" / "anat" / "sub-01_ses-2_T1w.nii.gz");
  const Image volume = nifti.volume(2, 0);
  EXPECT_EQ(volume.layout, (data::ImageLayout{data::PixelType::f32, 1, 7, 4, 5}));
  const std::vector<float> values = values_of<float>(volume);
  for (std::int64_t z = 0; z < 5; ++z) {
    const std::vector<float> slice = values_of<float>(nifti.slice(2, z, 0));
    EXPECT_TRUE(std::equal(slice.begin(), slice.end(), values.begin() + 28 * z)) << z;
  }
  // readers.py: column x, row y, slice z are stored at (y, 4 - z, x), of which the affine is that of the
  // file.
  const std::array<std::array<double, 4>, 3> expected{
      {{3, 0, 0, 1}, {0, -2, -0.1, 2 + 4 * 0.1}, {0, 0.05, 1, 3 - 4}}};
  const auto affine = nifti.affine(2);
  for (std::size_t row = 0; row < 3; ++row) {
    for (std::size_t column = 0; column < 4; ++column)
      EXPECT_NEAR(affine[row][column], expected[row][column], 1e-6) << row << ", " << column;
  }
  EXPECT_FALSE(nifti.has_bytes());
}

TEST(Nifti, OthersAreRefused) {
  EXPECT_NE(refusal_of([] { NiftiFile(kReaders / "expected.npz"); }).find("NIfTI"), std::string::npos);
}
#endif

}  // namespace
}  // namespace cohort::data_prep

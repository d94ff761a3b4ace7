// Volumes through the sub-commands of cohort-data, as they are typed, on several ranks.
#include <array>
#include <cstring>

#include "cohort/data/dataset.h"

#include "data/command_line.h"
#include "data_prep/export_fields.h"
#include "data_prep/nifti.h"

namespace cohort::data_prep {
namespace {

using Sizes = std::vector<std::int64_t>;

template <class Value>
std::vector<Value> as(std::span<const std::byte> bytes) {
  std::vector<Value> values(bytes.size() / sizeof(Value));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template <class Value>
std::vector<Value> field_of(const data::Dataset& dataset, std::int64_t row, const std::string& name) {
  std::vector<std::byte> bytes;
  dataset.read_field(row, name, bytes);
  return as<Value>(bytes);
}

std::vector<float> volume_of(const data::Dataset& dataset, std::int64_t row) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(dataset.description().images.bytes()));
  dataset.read(row, bytes);
  return as<float>(bytes);
}

class VolumeCommands : public Commands {
 protected:
  [[nodiscard]] data::Dataset dataset(const std::string& name) const {
    return data::Dataset::open(path(name), "train");
  }
  std::string output_of(const std::string& line) {
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(in_folder(line), ExitCode::done);
    std::fflush(stdout);
    return ::testing::internal::GetCapturedStdout();
  }
  void expect_same_shards(const std::string& one, const std::string& other) const {
    const auto first = data::Description::read(path(one)), second = data::Description::read(path(other));
    EXPECT_EQ(first.images, second.images);
    EXPECT_EQ(first.fields, second.fields);
    for (const data::Split& split : first.splits) {
      ASSERT_EQ(split.shards.size(), second.split(split.name).shards.size());
      for (std::size_t i = 0; i < split.shards.size(); ++i)
        EXPECT_EQ(split.shards[i].checksum, second.split(split.name).shards[i].checksum);
    }
  }
};

TEST_F(VolumeCommands, AreMadeCheckedShownAndRearranged) {
  const std::string made =
      "synth --contexts 2 --images-per-context 4 --size 10x12 --depth 5 --channels 2 --hold-out-images 2 "
      "--field mask --field image --out {0}/";
  ASSERT_EQ(in_folder(made + "d"), ExitCode::done);
  const data::Dataset train = dataset("d");
  EXPECT_EQ(train.description().version(), 3);
  EXPECT_EQ(train.description().images.sizes(), (Sizes{2, 5, 10, 12}));
  EXPECT_EQ(train.description().field("mask").shape, (Sizes{5, 10, 12}));
  EXPECT_EQ(train.description().field("image").shape, (Sizes{2, 5, 10, 12}));
  EXPECT_EQ(in_folder("verify {0}/d"), ExitCode::done);
  const std::string shown = output_of("inspect {0}/d --contact-sheets {0}/sheets");
  if (world_.rank() == 0) {
    EXPECT_NE(shown.find("images   2 x 5 x 10 x 12 u8, raw"), std::string::npos) << shown;
    EXPECT_NE(shown.find("mask: mask u8 [5, 10, 12]"), std::string::npos) << shown;
    EXPECT_TRUE(std::filesystem::exists(path("sheets/00000.png")));
  }

  EXPECT_EQ(in_folder("export {0}/d --out {0}/files"), ExitCode::done);
  const std::string second = refused(
      "convert manifest {0}/files/images.csv --axes CDHW --id id --second-image image --out {0}/again");
  EXPECT_NE(second.find("with 4 dimensions is no image"), std::string::npos) << second;
  ASSERT_EQ(in_folder("synth --contexts 2 --images-per-context 4 --size 10x12 --depth 5 --channels 2 "
                      "--hold-out-images 2 --field mask --out {0}/e"),
            ExitCode::done);
  EXPECT_EQ(in_folder("export {0}/e --out {0}/files_e"), ExitCode::done);
  EXPECT_EQ(
      in_folder("convert manifest {0}/files_e/images.csv --axes CDHW --id id --split split --label class "
                "--context context --mask mask --classes mask=background,stripe "
                "--channels channel_0,channel_1 --out {0}/again"),
      ExitCode::done);
  expect_same_shards("e", "again");

  for (const char* context : {"00000", "00001"})
    EXPECT_EQ(in_folder(fmt::format("split {{0}}/d --keep context={0} --out {{0}}/part{0}", context)),
              ExitCode::done);
  EXPECT_EQ(in_folder("merge {0}/part00000 {0}/part00001 --out {0}/both"), ExitCode::done);
  expect_same_shards("d", "both");
}

TEST_F(VolumeCommands, WhatTheyCannotBeIsRefused) {
  const std::string synth = "synth --contexts 1 --images-per-context 2 --size 8 --depth 4 ";
  const auto expect = [](const std::string& found, const std::string& wanted) {
    EXPECT_NE(found.find(wanted), std::string::npos) << found;
  };
  for (const char* codec : {"png", "jpeg"})
    expect(refused(synth + "--codec " + codec + " --out {0}/d"),
           fmt::format("codec {} cannot keep volumes, of depth 4", codec));
  expect(refused(synth + "--field boxes --out {0}/d"),
         "field 'boxes' is of kind boxes, which lie in images: those of this dataset are volumes");
  expect(refused("synth --contexts 1 --images-per-context 2 --size 4x8x8 --out {0}/d"),
         "'4x8x8' has three sides");
  EXPECT_EQ(in_folder(synth + "--out {0}/d"), ExitCode::done);
  expect(refused("export {0}/d --format png --out {0}/files"),
         "png files hold images, not volumes of depth 4");
  make_photos();
  expect(refused("convert images {0}/photos --resize 3x4x4 --out {0}/p"),
         "images have no depth, which --resize gives them");
  expect(refused("convert images {0}/photos --resize 2x3x4x4 --out {0}/p"), "'2x3x4x4' is not an image size");
}

TEST_F(VolumeCommands, ArraysAreVolumesWhereTheirAxesSaySo) {
  const std::string npz = (kNuclei.parent_path() / "arrays.npz").string();  // images_u2 [4, 3, 5]
  write("table.csv", "path\nv.npy\n");
  std::vector<std::byte> values;
  for (int i = 0; i < 24; ++i) values.push_back(static_cast<std::byte>(i));
  write("v.npy", npy_file("|u1", {2, 3, 4}, values));
  EXPECT_EQ(in_folder("convert manifest {0}/table.csv --axes DHW --out {0}/d"), ExitCode::done);
  EXPECT_EQ(dataset("d").description().images.sizes(), (Sizes{1, 2, 3, 4}));
  write("v.npy", npy_file("|u1", {2, 2, 3, 2}, values));
  EXPECT_EQ(in_folder("convert manifest {0}/table.csv --axes DHWC --out {0}/last"), ExitCode::done);
  const data::Dataset last = dataset("last");
  EXPECT_EQ(last.description().images.sizes(), (Sizes{2, 2, 2, 3}));
  std::vector<std::byte> volume(24);
  last.read(0, volume);
  EXPECT_EQ(std::to_integer<int>(volume[1]), 2) << "every second value is of a channel";
  EXPECT_EQ(std::to_integer<int>(volume[12]), 1);
  const std::string refusal = refused("convert manifest {0}/table.csv --out {0}/e");
  EXPECT_NE(refusal.find("with 4 dimensions is no image"), std::string::npos) << refusal;
  EXPECT_NE(cohort::data_prep::refusal(fmt::format("convert npz {} --images images_u2 --axes NDHW --out {}",
                                                   npz, path("n").string()),
                                       world_)
                .find("use NHW, NCHW, NHWC, NDHW, NCDHW, NDHWC"),
            std::string::npos);
}

#ifdef COHORT_NIFTI
/// NIfTI-1 (nifti.nimh.nih.gov, nifti1.h) of `shape` (x, y, z), voxels of 2 x 2 x 3 mm, x from right to left.
template <class Value>
std::string nifti_file(const std::array<std::int16_t, 3>& shape, std::int16_t type,
                       const std::vector<Value>& values) {
  std::string file(352, '\0');
  const auto put = [&](std::size_t at, auto value) { std::memcpy(file.data() + at, &value, sizeof(value)); };
  put(0, std::int32_t{348});
  put(40, std::int16_t{3});
  for (std::size_t axis = 0; axis < 3; ++axis) put(42 + 2 * axis, shape.at(axis));
  for (std::size_t axis = 3; axis < 7; ++axis) put(42 + 2 * axis, std::int16_t{1});
  put(70, type);
  put(72, static_cast<std::int16_t>(8 * sizeof(Value)));
  for (const auto& [axis, millimetres] : {std::pair(1, 2.0F), std::pair(2, 2.0F), std::pair(3, 3.0F)})
    put(76 + 4 * static_cast<std::size_t>(axis), millimetres);
  put(76, 1.0F);
  put(108, 352.0F);
  put(123, std::uint8_t{2});
  put(254, std::int16_t{1});
  const std::array<float, 12> sform{-2, 0, 0, 10, 0, 2, 0, -20, 0, 0, 3, 5};
  put(280, sform);
  std::memcpy(file.data() + 344, "n+1", 4);
  const auto bytes = std::as_bytes(std::span(values));
  const void* start = bytes.data();
  return file + std::string(static_cast<const char*>(start), bytes.size());
}

constexpr std::int16_t kUint8 = 2, kInt16 = 4, kFloat32 = 16;

template <class Value, class Of>
std::vector<Value> voxels(std::int16_t width, std::int16_t height, std::int16_t depth, const Of& of) {
  std::vector<Value> values;
  for (int z = 0; z < depth; ++z) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) values.push_back(static_cast<Value>(of(z, y, x)));
    }
  }
  return values;
}

class NiftiVolumes : public VolumeCommands {
 protected:
  NiftiVolumes() {
    const auto value = [](int z, int y, int x) { return 100 * z + 10 * y + x; };
    const auto label = [](int z, int y, int x) { return z == 1 && y > 2 && x < 2 ? 1 : 0; };
    for (const char* name : {"a", "b"}) {
      const int more = *name == 'a' ? 0 : 1000;
      write(fmt::format("images/{}.nii", name),
            nifti_file({6, 5, 4}, kInt16, voxels<std::int16_t>(6, 5, 4, [&](int z, int y, int x) {
                         return value(z, y, x) + more;
                       })));
      write(fmt::format("labels/{}.nii", name),
            nifti_file({6, 5, 4}, kUint8, voxels<std::uint8_t>(6, 5, 4, label)));
    }
  }
};

TEST_F(NiftiVolumes, LieAsTheirSlicesDoWithMasksSpacingAndAffine) {
  EXPECT_EQ(
      in_folder("convert nifti {0}/images --volumes --mask {0}/labels=organs --classes organs=none,liver "
                "--field-codec organs=zstd --codec zstd --out {0}/d"),
      ExitCode::done);
  EXPECT_EQ(in_folder("verify {0}/d"), ExitCode::done);
  const data::Dataset volumes = dataset("d");
  EXPECT_EQ(volumes.description().images, (data::ImageLayout{data::PixelType::f32, 1, 5, 6, 4}));
  EXPECT_EQ(volumes.ids(), (std::vector<std::string>{"a.nii", "b.nii"}));
  const data::Field& organs = volumes.description().field("organs");
  EXPECT_EQ(organs.shape, (Sizes{4, 5, 6}));
  EXPECT_EQ(organs.type, data::ValueType::u8);
  EXPECT_EQ(organs.names, (std::vector<std::string>{"none", "liver"}));
  const std::vector<float> values = volume_of(volumes, 1);
  const std::vector<std::uint8_t> mask = field_of<std::uint8_t>(volumes, 1, "organs");
  for (int z = 0; z < 4; ++z) {
    for (int y = 0; y < 5; ++y) {
      for (int x = 0; x < 6; ++x) {  // left is left, and front is up
        const auto at = static_cast<std::size_t>((z * 5 + y) * 6 + x);
        ASSERT_EQ(values[at], static_cast<float>(1000 + 100 * z + 10 * (4 - y) + 5 - x));
        ASSERT_EQ(mask[at], z == 1 && 4 - y > 2 && 5 - x < 2 ? 1 : 0);
      }
    }
  }
  EXPECT_EQ(field_of<float>(volumes, 0, "spacing"), (std::vector<float>{3, 2, 2}));
  EXPECT_EQ(field_of<float>(volumes, 0, "affine"),
            (std::vector<float>{2, 0, 0, 0, 0, -2, 0, -12, 0, 0, 3, 5}));

  EXPECT_EQ(in_folder("convert nifti {0}/images --mask {0}/labels --out {0}/slices"), ExitCode::done);
  const data::Dataset slices = dataset("slices");
  EXPECT_EQ(slices.description().field("labels").shape, (Sizes{5, 6}));
  EXPECT_EQ(slices.id(1), "a.nii_s0001");
  const std::vector<float> slice = volume_of(slices, 1), first = volume_of(volumes, 0);
  EXPECT_TRUE(std::equal(slice.begin(), slice.end(), first.begin() + 30));
  const std::vector<std::uint8_t> slice_mask = field_of<std::uint8_t>(slices, 1, "labels"),
                                  first_mask = field_of<std::uint8_t>(volumes, 0, "organs");
  EXPECT_TRUE(std::equal(slice_mask.begin(), slice_mask.end(), first_mask.begin() + 30));
}

TEST_F(NiftiVolumes, ResizingChangesMasksSpacingAndAffineAlike) {
  EXPECT_EQ(
      in_folder("convert nifti {0}/images --volumes --mask {0}/labels=organs --resize 2x5x6 --out {0}/d"),
      ExitCode::done);
  const data::Dataset volumes = dataset("d");
  EXPECT_EQ(volumes.description().images.sizes(), (Sizes{1, 2, 5, 6}));
  EXPECT_EQ(volumes.description().preparation->depth, 2);
  const std::vector<float> values = volume_of(volumes, 0);
  EXPECT_EQ(values[0], 50 + 45) << "the mean of two slices";
  const std::vector<std::uint8_t> mask = field_of<std::uint8_t>(volumes, 0, "organs");
  EXPECT_EQ(mask[5], 1) << "the second of the first two slices";
  EXPECT_EQ(mask[30 + 5], 0);
  EXPECT_EQ(field_of<float>(volumes, 0, "spacing"), (std::vector<float>{6, 2, 2}));
  EXPECT_EQ(field_of<float>(volumes, 0, "affine"),
            (std::vector<float>{2, 0, 0, 0, 0, -2, 0, -12, 0, 0, 6, 6.5F}));

  EXPECT_EQ(in_folder("convert nifti {0}/images --volumes --mask {0}/labels=organs --resize 8x5x6 --fit pad "
                      "--out {0}/padded"),
            ExitCode::done);
  const data::Dataset padded = dataset("padded");
  const std::vector<float> framed = volume_of(padded, 0), whole = volume_of(padded, 1);
  EXPECT_EQ(framed[0], 0);
  EXPECT_EQ(framed[2 * 30], 45) << "the first slice lies in the third";
  EXPECT_EQ(whole[2 * 30], 1045);
  const std::vector<std::uint8_t> framed_mask = field_of<std::uint8_t>(padded, 0, "organs");
  EXPECT_EQ(framed_mask[0], 255);
  EXPECT_EQ(framed_mask[2 * 30 + 5], 0);
  EXPECT_EQ(framed_mask[3 * 30 + 5], 1);
  EXPECT_EQ(field_of<float>(padded, 0, "affine").back(), -1) << "5 mm less two slices of 3 mm";
}

TEST_F(NiftiVolumes, WhatDoesNotFitIsRefused) {
  const auto expect = [](const std::string& found, const std::string& wanted) {
    EXPECT_NE(found.find(wanted), std::string::npos) << found;
  };
  write("few/a.nii", nifti_file({6, 5, 3}, kUint8, std::vector<std::uint8_t>(90)));
  expect(refused("convert nifti {0}/images --volumes --mask {0}/few --out {0}/d"),
         "the file of a mask is missing");
  write("few/b.nii", nifti_file({6, 5, 4}, kUint8, std::vector<std::uint8_t>(120)));
  expect(refused("convert nifti {0}/images --volumes --mask {0}/few --resize 4x5x6 --out {0}/d"),
         "the mask has 3 x 5 x 6 pixels, its image 4 x 5 x 6");
  expect(refused("convert nifti {0}/images --volumes --mask {0}/none --out {0}/d"),
         "there is no such folder");
  write("half/a.nii", nifti_file({6, 5, 4}, kFloat32, std::vector<float>(120, 0.5F)));
  expect(refused("convert nifti {0}/images --volumes --mask {0}/half --out {0}/d"),
         "the mask holds 0.5, which is no number of a class or of an instance");
  expect(refused("convert nifti {0}/images --volumes --context slice --out {0}/d"), "'slice'");
  write("images/c.nii", nifti_file({6, 5, 3}, kInt16, std::vector<std::int16_t>(90)));
  expect(refused("convert nifti {0}/images --volumes --out {0}/d"),
         "give all volumes one size with --resize DEPTHxHEIGHTxWIDTH");
}
#endif

}  // namespace
}  // namespace cohort::data_prep

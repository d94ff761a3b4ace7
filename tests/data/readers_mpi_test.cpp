// Files of single fields as datasets: what is known of the images, tables, and what is refused. The values
// are those of readers_test.cpp.
#include <algorithm>

#include "cohort/core/file.h"
#include "cohort/data/dataset.h"

#include "data/command_line.h"

namespace cohort::data_prep {
namespace {

const std::filesystem::path kReaders = std::filesystem::path(COHORT_TEST_DATA) / "data" / "readers";

class Readers : public Commands {
 protected:
  /// `format`: {0} the folder of the test, {1} that of the fixtures.
  ExitCode convert(const std::string& format) {
    return run(fmt::format(fmt::runtime(format), folder_.path().string(), kReaders.string()), world_);
  }
  std::string refused_convert(const std::string& format) {
    return refusal(fmt::format(fmt::runtime(format), folder_.path().string(), kReaders.string()), world_);
  }
  [[nodiscard]] data::Dataset dataset(const std::string& name = "d") const {
    return data::Dataset::open(path(name), "train");
  }
  [[nodiscard]] std::vector<std::string> contexts(const std::string& key) const {
    return dataset().description().context(key).values;
  }
};

TEST_F(Readers, ZarrPlatesHaveWellsAndChannels) {
  EXPECT_EQ(convert("convert zarr {1}/plate.zarr --planes max --context plate --context well --out {0}/d"),
            ExitCode::done);
  EXPECT_EQ(dataset().ids(), (std::vector<std::string>{"plate.zarr/A/1/0", "plate.zarr/A/2/0"}));
  EXPECT_EQ(contexts("plate"), (std::vector<std::string>{"P1"}));
  EXPECT_EQ(contexts("well"), (std::vector<std::string>{"A1", "A2"}));
  EXPECT_EQ(dataset().description().channels, (std::vector<std::string>{"DNA", "ER"}));
  EXPECT_EQ(dataset().description().images, (data::ImageLayout{data::PixelType::u16, 2, 40, 44}));
}

TEST_F(Readers, ZarrIsCutIntoTilesAndPlanes) {
  EXPECT_EQ(
      convert("convert zarr {1}/sharded.zarr --level 1 --planes each --tile 8 --context plane --out {0}/d"),
      ExitCode::done);
  EXPECT_EQ(dataset().rows(), 3 * 2 * 2);  // of 20 x 22
  EXPECT_EQ(dataset().ids().front(), "sharded.zarr_z000_y0_x0");
  EXPECT_EQ(contexts("plane"), (std::vector<std::string>{"0", "1", "2"}));
}

TEST_F(Readers, ZarrAsksForWhatIsNotSaid) {
  EXPECT_NE(refused_convert("convert zarr {1}/sharded.zarr --out {0}/d").find("the image has 3 planes (z)"),
            std::string::npos);
  EXPECT_NE(
      refused_convert("convert zarr {1}/plate.zarr --level 2 --out {0}/d").find("the image has 2 levels"),
      std::string::npos);
  EXPECT_NE(refused_convert("convert zarr {1}/plate.zarr --planes max --context wel --out {0}/d")
                .find("did you mean 'well'?"),
            std::string::npos);
  EXPECT_NE(refused_convert("convert zarr {1}/nifti --out {0}/d").find("neither an array nor an image"),
            std::string::npos);
}

TEST_F(Readers, ZarrThatClaimsTerabytesIsRefusedBeforeTheyAreTaken) {
  const auto array = [](const std::string& shape, const std::string& chunks) {
    return fmt::format(R"({{"zarr_format": 2, "shape": [{}], "chunks": [{}], "dtype": "|u1", "fill_value": 0,
"order": "C", "filters": null, "compressor": null}})",
                       shape, chunks);
  };
  write("large.zarr/.zarray", array("2000000000, 2000000000", "8, 8"));
  EXPECT_NE(
      refused("convert zarr {0}/large.zarr --out {0}/d").find("one of its images has 4000000000000000000"),
      std::string::npos);
  EXPECT_NE(refused("convert zarr {0}/large.zarr --tile 8 --out {0}/d")
                .find("it has 62500000000000000 images, more than 100,000,000"),
            std::string::npos);
  write("many.zarr/.zarray", array("2000000000, 1, 2000000000, 8, 8", "1, 1, 1, 8, 8"));
  EXPECT_NE(
      refused("convert zarr {0}/many.zarr --planes each --out {0}/d").find("it has 4000000000000000000"),
      std::string::npos);
  write("chunk.zarr/.zarray", array("8, 8", "32768, 65536"));
  write("chunk.zarr/0.0", "few");
  EXPECT_NE(refused("convert zarr {0}/chunk.zarr --out {0}/d").find("a chunk is damaged"), std::string::npos);
}

TEST_F(Readers, ZarrDoesNotLeaveItsStore) {
  write("s.zarr/.zattrs", R"({"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "../other/0"}]}]})");
  EXPECT_NE(refused("convert zarr {0}/s.zarr --out {0}/d").find("'../other/0' is no path in it"),
            std::string::npos);
}

TEST_F(Readers, DicomTagsAreContextsAndTablesAreJoined) {
#ifdef COHORT_DCMTK
  if (world_.rank() == 0) {
    for (const char* name : {"gray16", "frames", "ct"}) {
      std::filesystem::create_directories(path("s"));
      std::filesystem::copy(kReaders / "dicom" / (std::string(name) + ".dcm"), path("s"));
    }
  }
  write("s/notes.txt", "no image");
  write("t.csv", "patient,finding\nPg,a\nPf,b\nPc,a\nPx,b\n");
  EXPECT_EQ(
      convert("convert dicom {0}/s --type f32 --context Manufacturer --table {0}/t.csv --by PatientID --key "
              "patient --label finding --out {0}/d"),
      ExitCode::done);
  EXPECT_EQ(dataset().ids(), (std::vector<std::string>{"ct.dcm", "frames.dcm_000000", "frames.dcm_000001",
                                                       "frames.dcm_000002", "gray16.dcm"}));
  EXPECT_EQ(contexts("Manufacturer"), (std::vector<std::string>{"Größe & Söhne"}));
  EXPECT_EQ(dataset().description().label("finding").classes, (std::vector<std::string>{"a", "b"}));
  EXPECT_NE(refused_convert("convert dicom {0}/s --context PatientIDD --out {0}/e")
                .find("did you mean 'PatientID'?"),
            std::string::npos);
  EXPECT_NE(refused_convert("convert dicom {0}/s --window 40 --out {0}/e").find("'40' is no window"),
            std::string::npos);
#else
  EXPECT_NE(refused_convert("convert dicom {1}/dicom --out {0}/d").find("this build reads no DICOM files"),
            std::string::npos);
#endif
}

#ifdef COHORT_OPENSLIDE
TEST_F(Readers, SlidesAreTilesWhereThereIsTissue) {
  EXPECT_EQ(convert("convert slides {1}/slide.svs --tile 64 --context slide --out {0}/d"), ExitCode::done);
  // Tissue is [100, 300) x [60, 220).
  EXPECT_EQ(dataset().ids(),
            (std::vector<std::string>{"slide_x128_y128", "slide_x128_y64", "slide_x192_y128",
                                      "slide_x192_y64", "slide_x256_y128", "slide_x256_y64"}));
  EXPECT_EQ(convert("convert slides {1}/slide.svs --tile 32 --microns-per-pixel 1 --tissue 0 --out {0}/all"),
            ExitCode::done);
  EXPECT_EQ(dataset("all").rows(), 6 * 4);  // tiles of 64 pixels of level 0
  EXPECT_NE(refused_convert("convert slides {1}/slide.svs --microns-per-pixel 0.2 --out {0}/e")
                .find("0.5 microns a pixel, which is coarser than 0.2"),
            std::string::npos);
  EXPECT_NE(refused_convert("convert slides {1}/slide.svs --tile 280 --out {0}/e")
                .find("there is no tile with enough tissue"),
            std::string::npos);
}
#endif

#ifdef COHORT_NIFTI
TEST_F(Readers, NiftiNamesAreThoseOfBids) {
  EXPECT_EQ(
      convert(
          "convert nifti {1}/nifti --axis coronal --resize 8 --context subject --context session --context "
          "suffix --out {0}/d"),
      ExitCode::done);
  EXPECT_EQ(contexts("subject"), (std::vector<std::string>{"01"}));
  EXPECT_EQ(contexts("session"), (std::vector<std::string>{"2"}));
  EXPECT_EQ(contexts("suffix"), (std::vector<std::string>{"T1w", "bold"}));
  EXPECT_EQ(dataset().rows(), 7 + 2 * 5);
  EXPECT_EQ(dataset().ids().front(), "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz_s0000");
  EXPECT_NE(refused_convert("convert nifti {1}/nifti --context run --out {0}/e")
                .find("has no value for context key"),
            std::string::npos);
}
#endif

}  // namespace
}  // namespace cohort::data_prep

// OME-TIFF in a folder of images against what tifffile gives of it: ome.py made both. On several ranks.
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "cohort/core/file.h"
#include "cohort/data/dataset.h"

#include "data/command_line.h"
#include "data_prep/image_file.h"
#include "data_prep/npz.h"
#include "data_prep/ome_tiff.h"
#include "data_prep/planes.h"

namespace cohort::data_prep {
namespace {

using Ids = std::vector<std::string>;
const std::filesystem::path kOme = std::filesystem::path(COHORT_TEST_DATA) / "data" / "ome";

class Ome : public Commands {
 protected:
  /// `format`: {0} the folder of the test, {1} that of the fixtures.
  ExitCode convert(const std::string& format) {
    return run(fmt::format(fmt::runtime(format), folder_.path().string(), kOme.string()), world_);
  }
  std::string refused_convert(const std::string& format) {
    return refusal(fmt::format(fmt::runtime(format), folder_.path().string(), kOme.string()), world_);
  }
  [[nodiscard]] data::Dataset dataset(const std::string& name = "d") const {
    return data::Dataset::open(path(name), "train");
  }
  [[nodiscard]] Ids contexts(const std::string& key) const {
    const data::Dataset all = dataset();
    Ids names;
    for (const std::int32_t value : all.contexts(key))
      names.push_back(all.description().context(key).values[static_cast<std::size_t>(value)]);
    return names;
  }
  /// [T, Z, C, H, W] of a series, as tifffile has it.
  static Array expected(const std::string& name) { return Npz(kOme / "expected.npz").array(name); }
  /// Row `row` against C x H x W values of `array` from value number `first` on.
  static void expect_row(const data::Dataset& dataset, std::int64_t row, const Array& array,
                         std::size_t first) {
    const at::Tensor image = dataset.images(std::vector<std::int64_t>{row});
    const auto width = static_cast<std::size_t>(array.type == "u2" ? 2 : 1);
    const auto* found = image.const_data_ptr<float>();
    for (std::size_t i = 0; i < static_cast<std::size_t>(image.numel()); ++i) {
      unsigned value = 0;
      std::memcpy(&value, array.bytes.data() + (first + i) * width, width);
      ASSERT_EQ(found[i], static_cast<float>(value)) << dataset.id(row) << ", value " << i;
    }
  }
};

TEST_F(Ome, PagesAreChannelsAndSeriesAreImages) {
  ASSERT_EQ(convert("convert images {1}/series --context file --out {0}/d"), ExitCode::done);
  const data::Dataset train = dataset();
  EXPECT_EQ(train.ids(), (Ids{"a.ome.tif/0", "a.ome.tif/1", "b.ome.tif"}));
  EXPECT_EQ(train.description().channels, (Ids{"DNA", "ER", "RNA"}));
  EXPECT_EQ(train.description().images, (data::ImageLayout{data::PixelType::u16, 3, 6, 8}));
  EXPECT_EQ(contexts("file"), (Ids{"a.ome.tif", "a.ome.tif", "b.ome.tif"}));
  expect_row(train, 0, expected("series/a.ome.tif/0"), 0);
  expect_row(train, 1, expected("series/a.ome.tif/1"), 0);
  expect_row(train, 2, expected("series/b.ome.tif/0"), 0);
  comm::Communicator alone = world_.split(world_.rank(), "alone");
  if (world_.rank() == 0) {
    run(fmt::format("convert images {}/series --context file --out {}", kOme.string(),
                    path("alone").string()),
        alone);
    EXPECT_EQ(read_file(path("d/train-00000.h5")), read_file(path("alone/train-00000.h5")));
  }
  world_.barrier();
  EXPECT_EQ(convert("convert images {1}/series --context file --out {0}/d --recheck"), ExitCode::done);
}

TEST_F(Ome, TimesAreImagesAndPlanesWhatIsAskedFor) {
  EXPECT_NE(refused_convert("convert images {1}/stacks --out {0}/d").find("the image has 3 planes (z)"),
            std::string::npos);
  ASSERT_EQ(convert("convert images {1}/stacks --planes each --context time --context plane --out {0}/d"),
            ExitCode::done);
  const data::Dataset train = dataset();
  ASSERT_EQ(train.rows(), 3 * 2 * 3);
  for (const char* name : {"planes_first", "channels_first", "times_first"}) {
    const Array array = expected(fmt::format("stacks/{}.ome.tif/0", name));
    for (std::size_t time = 0; time < 2; ++time) {
      for (std::size_t plane = 0; plane < 3; ++plane) {
        const Ids ids = train.ids();
        const auto found =
            std::find(ids.begin(), ids.end(), fmt::format("{}.ome.tif_t{:03}_z{:03}", name, time, plane));
        ASSERT_NE(found, ids.end());
        expect_row(train, found - ids.begin(), array, (time * 3 + plane) * 2 * 5 * 4);
      }
    }
  }
  ASSERT_EQ(convert("convert images {1}/stacks --planes max --out {0}/max"), ExitCode::done);
  const at::Tensor most = dataset("max").images(std::vector<std::int64_t>{0});  // of channels_first, time 0
  const Array array = expected("stacks/channels_first.ome.tif/0");
  for (std::size_t i = 0; i < 40; ++i) {
    const auto at = [&](std::size_t plane) { return static_cast<std::uint8_t>(array.bytes[plane * 40 + i]); };
    EXPECT_EQ(most.const_data_ptr<float>()[i], static_cast<float>(std::max({at(0), at(1), at(2)})));
  }
}

TEST_F(Ome, ColoursOfOnePageAreChannels) {
  ASSERT_EQ(convert("convert images {1}/colours --out {0}/d"), ExitCode::done);
  EXPECT_EQ(dataset().description().channels, (Ids{"red", "green", "blue"}));
  expect_row(dataset(), 0, expected("colours/rgb.ome.tif/0"), 0);
}

TEST_F(Ome, PlatesTellWellsAndFields) {
  ASSERT_EQ(convert("convert images {1}/plate --context plate --context well --context row --context column "
                    "--context field --out {0}/d"),
            ExitCode::done);
  const data::Dataset train = dataset();
  EXPECT_EQ(train.ids(), (Ids{"plate.ome.tif/0", "plate.ome.tif/1", "plate.ome.tif/2", "plate.ome.tif/3"}));
  EXPECT_EQ(contexts("plate"), Ids(4, "P7"));
  EXPECT_EQ(contexts("well"), (Ids{"A3", "A3", "AA12", "AA12"}));
  EXPECT_EQ(contexts("row"), (Ids{"A", "A", "AA", "AA"}));
  EXPECT_EQ(contexts("column"), (Ids{"3", "3", "12", "12"}));
  EXPECT_EQ(contexts("field"), (Ids{"0", "1", "0", "1"}));
  for (std::int64_t row = 0; row < 4; ++row)
    expect_row(train, row, expected(fmt::format("plate/plate.ome.tif/{}", row)), 0);
  write("wells.csv", "well,drug\nA3,none\nAA12,taxol\n");
  ASSERT_EQ(convert("convert images {1}/plate --table {0}/wells.csv --by well --label drug --group-by well "
                    "--fractions train=0.5,test=0.5 --out {0}/t"),
            ExitCode::done);
  EXPECT_EQ(data::Description::read(path("t")).label("drug").classes, (Ids{"none", "taxol"}));
  EXPECT_EQ(dataset("t").rows(), 2);
}

TEST_F(Ome, PagesMayBeInOtherFilesOfASet) {
  ::testing::internal::CaptureStdout();
  ASSERT_EQ(convert("convert images {1}/set --out {0}/d"), ExitCode::done);
  std::fflush(stdout);
  const std::string said = ::testing::internal::GetCapturedStdout();
  if (world_.rank() == 0) {
    EXPECT_NE(said.find("1 files of OME-TIFF whose XML stands in another one: 2.ome.tif"), std::string::npos)
        << said;
  }
  EXPECT_EQ(dataset().ids(), (Ids{"1.ome.tif/0", "1.ome.tif/1"}));
  expect_row(dataset(), 0, expected("set/1.ome.tif/0"), 0);
  expect_row(dataset(), 1, expected("set/1.ome.tif/1"), 0);
}

TEST_F(Ome, FilesOfOneImageAreReadByTables) {
  write("list.csv", "path\nb.ome.tif\n");
  ASSERT_EQ(convert("convert manifest {0}/list.csv --root {1}/series --out {0}/d"), ExitCode::done);
  expect_row(dataset(), 0, expected("series/b.ome.tif/0"), 0);
  write("both.csv", "path\na.ome.tif\n");
  EXPECT_NE(refused_convert("convert manifest {0}/both.csv --root {1}/series --out {0}/e")
                .find("the file of OME-TIFF has several images, or none"),
            std::string::npos);
}

TEST_F(Ome, SaysWhatDoesNotFit) {
  if (world_.rank() == 0) {
    std::filesystem::create_directories(path("mixed/site"));
    std::filesystem::create_directories(path("bad"));
    std::filesystem::copy(kOme / "series" / "b.ome.tif", path("mixed/site/b.ome.tif"), {});
    std::filesystem::copy(kOme / "colours" / "rgb.ome.tif", path("mixed/site/rgb.ome.tif"), {});
    std::string cut = read_file(kOme / "series" / "a.ome.tif");
    const std::size_t at = cut.find("<Pixels");
    cut.replace(at, 7, "<Pixelz");
    write_file_atomically(path("bad/a.ome.tif"), cut);
  }
  world_.barrier();
  EXPECT_NE(refused_convert("convert images {0}/mixed --layout context --out {0}/d")
                .find("the channels are called otherwise () than those of site/b.ome.tif (DNA, ER, RNA)"),
            std::string::npos);
  EXPECT_NE(refused_convert("convert images {0}/bad --out {0}/d")
                .find("OME-TIFF: its OME-XML has an Image without Pixels"),
            std::string::npos);
  EXPECT_NE(
      refused_convert("convert images {1}/plate --context wel --out {0}/d").find("did you mean 'well'?"),
      std::string::npos);
  EXPECT_NE(
      refused_convert("convert images {0}/mixed --layout split --split file --channels a,b,c --out {0}/d")
          .find("folders and an option both say which split an image is in"),
      std::string::npos);
}

TEST(Projection, KeepsThatAPlaneHasNoFiniteValue) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(),
                  kNone = std::numeric_limits<float>::quiet_NaN();
  for (const bool is_mean : {false, true}) {
    Projection projection(is_mean, {data::PixelType::f32, 1, 1, 4});
    std::vector<std::byte> bytes;
    for (const auto& plane :
         {std::array{1.0F, 1.0F, -kInfinity, 1.0F}, std::array{3.0F, kNone, 2.0F, 5.0F}}) {
      const auto all = std::as_bytes(std::span(plane));
      bytes.assign(all.begin(), all.end());
      projection.add(bytes);
    }
    projection.write(bytes);
    std::array<float, 4> result{};
    std::memcpy(result.data(), bytes.data(), bytes.size());
    EXPECT_EQ(result[0], is_mean ? 2.0F : 3.0F);
    EXPECT_FALSE(std::isfinite(result[1]));
    EXPECT_FALSE(std::isfinite(result[2]));
    EXPECT_EQ(result[3], is_mean ? 3.0F : 5.0F);
  }
}

/// OME-XML of one image, as parse_ome_xml() takes it.
std::string problem_of_xml(const std::string& pixels, const std::string& before = "") {
  const std::string head = R"(<Image ID="a"><Pixels SizeC="2" SizeZ="3" SizeT="1" )";
  try {
    parse_ome_xml("<OME UUID=\"u\">" + before + head + pixels + "</Pixels></Image></OME>", "a.ome.tif");
  } catch (const OmeProblem& problem) {
    return problem.what();
  }
  return "";
}

TEST(OmeXml, OfOnePlaneOrManyNamesPages) {
  const auto pages = [](const std::string& data) {
    const std::string xml =
        R"(<o:OME xmlns:o="x"><o:Image><o:Pixels DimensionOrder="XYZCT" SizeC="2" SizeZ="3" SizeT="1">)" +
        data + "</o:Pixels></o:Image></o:OME>";
    const std::vector<OmeSeries> all = parse_ome_xml(xml, "a.ome.tif");
    std::string text;
    for (const OmePage& page : all.front().pages) text += fmt::format("{}{} ", page.file, page.page);
    return text;
  };
  // [planes, channels]; pages go through the planes first.
  EXPECT_EQ(pages(""), "0 3 1 4 2 5 ");
  EXPECT_EQ(pages("<o:TiffData/>"), "0 3 1 4 2 5 ");
  EXPECT_EQ(pages(R"(<o:TiffData IFD="7" PlaneCount="6"/>)"), "7 10 8 11 9 12 ");
  EXPECT_EQ(pages(R"(<o:TiffData IFD="7"/>)"), "7 -1 -1 -1 -1 -1 ");
  EXPECT_EQ(pages(R"(<o:TiffData FirstC="1" FirstZ="1"/>)"), "-1 -1 -1 0 -1 1 ");
  EXPECT_EQ(pages(R"(<o:TiffData><o:UUID FileName="b.ome.tif">v</o:UUID></o:TiffData>)"),
            "b.ome.tif0 b.ome.tif3 b.ome.tif1 b.ome.tif4 b.ome.tif2 b.ome.tif5 ");
}

TEST(OmeXml, RowsAndColumnsAreCalledByTheirConventions) {
  const auto well = [](int row, int column, const std::string& conventions) {
    const std::string xml = fmt::format(
        R"(<OME><Plate ID="p" {}><Well Row="{}" Column="{}"><WellSample><ImageRef ID="i"/></WellSample></Well></Plate>
           <Image ID="i"><Pixels SizeC="1" SizeZ="1" SizeT="1"/></Image></OME>)",
        conventions, row, column);
    return parse_ome_xml(xml, "a.ome.tif").front().facts.at("well");
  };
  EXPECT_EQ(well(25, 0, ""), "Z1");
  EXPECT_EQ(well(51, 9, ""), "AZ10");
  EXPECT_EQ(well(702, 9, ""), "AAA10");
  EXPECT_EQ(well(2, 3, R"(RowNamingConvention="number" ColumnNamingConvention="letter")"), "3D");
}

TEST(OmeXml, SaysWhatIsWrong) {
  EXPECT_EQ(problem_of_xml(R"(DimensionOrder="XYCZT">)"), "");
  EXPECT_TRUE(problem_of_xml(R"(DimensionOrder="XYCZT)").starts_with("its OME-XML is damaged: line 1: "));
  EXPECT_EQ(problem_of_xml(R"(DimensionOrder="XYCZC">)"), "its OME-XML has 'XYCZC' for DimensionOrder");
  EXPECT_EQ(problem_of_xml(R"(><TiffData FirstZ="3"/>)"), "its OME-XML names more planes than there are");
  EXPECT_EQ(problem_of_xml(R"(><TiffData IFD="-1"/>)"), "its OME-XML has '-1' for IFD");
  EXPECT_EQ(problem_of_xml(R"(><TiffData PlaneCount="7"/>)"), "its OME-XML names more planes than there are");
  EXPECT_EQ(problem_of_xml(R"(><Channel SamplesPerPixel="3"/>)"),
            "its OME-XML has 2 channels, 3 of each page");
  EXPECT_EQ(problem_of_xml(R"(><TiffData><UUID FileName="../b">v</UUID></TiffData>)"),
            "its OME-XML has '../b' for FileName");
  EXPECT_EQ(problem_of_xml(">", "<Image/>"), "its OME-XML has an Image without Pixels");
  EXPECT_EQ(problem_of_xml(">", R"(<Image><Pixels SizeC="3000" SizeZ="3000" SizeT="9"/></Image>)"),
            "its OME-XML claims too many planes");
  std::string again;
  for (int i = 0; i < 3; ++i) again += R"(<TiffData IFD="0" PlaneCount="2000000"/>)";
  EXPECT_EQ(problem_of_xml(
                ">", R"(<Image><Pixels SizeC="1" SizeZ="2000000" SizeT="1">)" + again + "</Pixels></Image>"),
            "its OME-XML names too many planes");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "<a b='/>'>";
  EXPECT_EQ(problem_of_xml(">", deep), "its OME-XML is damaged: elements are nested too deeply");
  EXPECT_TRUE(parse_ome_xml("<OME><BinaryOnly MetadataFile='b'/></OME>", "a").empty());
}

// By recursion so many elements would end the process, whatever hides quotes before them.
TEST(OmeXml, QuotesHideNoDepth) {
  std::string deep;
  for (int i = 0; i < 300000; ++i) deep += "<a>";
  for (const std::string before : {"<OME></x'><OME>", "<OME><a'>", "<!DOCTYPE OME '><OME>"}) {
    std::string problem;
    try {
      parse_ome_xml(before + deep, "a.ome.tif");
    } catch (const OmeProblem& found) {
      problem = found.what();
    }
    const bool is_type = before.starts_with("<!");
    EXPECT_EQ(problem, is_type ? "its OME-XML is damaged: it declares a type of document"
                               : "its OME-XML is damaged: elements are nested too deeply")
        << before;
  }
}

}  // namespace
}  // namespace cohort::data_prep

// What conversions make of contradictions, links, and leftovers of others.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cohort/core/printable.h"
#include "cohort/data/dataset.h"
#include "cohort/data/image_codec.h"

#include "data/files_of_others.h"
#include "data/tar_file.h"
#include "data_prep/tar.h"

namespace cohort::data_prep {
namespace {

using testing::tar_end;
using testing::tar_file;
using testing::tar_header;

using Ids = std::vector<std::string>;

TEST_F(Others, OfSeveralImagesInASampleTheShortestEndingCounts) {
  write("a.tar",
        tar_file("0.mask.png", png(7)) + tar_file("0.PNG", png(40)) + tar_file("0.cls", "1") + tar_end());
  EXPECT_EQ(in_folder("convert webdataset {0}/a.tar --label CLS=grade --out {0}/d"), ExitCode::done);
  EXPECT_EQ(first_value("d", 0), 40.0F);
  EXPECT_EQ(in_folder("convert webdataset {0}/a.tar --image mask.png --out {0}/m"), ExitCode::done);
  EXPECT_EQ(first_value("m", 0), 7.0F);

  write("b.tar", tar_file("0.left.png", png(1)) + tar_file("0.right.png", png(2)) + tar_end());
  const std::string message = refused("convert webdataset {0}/b.tar --out {0}/e");
  EXPECT_NE(message.find("the sample has 2 images: left.png, right.png"), std::string::npos) << message;
  EXPECT_NE(message.find("--image left.png"), std::string::npos) << message;
}

TEST_F(Others, SamplesOfOneNameAreRefusedWithBothPlaces) {
  const std::string a = tar_file("a.png", png(1)) + tar_file("a.cls", "0"),
                    b = tar_file("b.png", png(2)) + tar_file("b.cls", "0");
  const std::string line = "convert webdataset {0}/x.tar --label cls=grade --out {0}/d";
  write("x.tar", a + a + b + tar_end());
  EXPECT_NE(refused(line).find("x.tar: a.png at byte 512 and a.png at byte"), std::string::npos)
      << refused(line);
  write("x.tar", a + b + a + tar_end());
  EXPECT_NE(refused(line).find("called 'a'"), std::string::npos);
  write("x.tar", tar_file("a.png", png(1)) + tar_file("a.PNG", png(2)) + tar_file("a.cls", "0") + tar_end());
  EXPECT_NE(refused(line).find("a.png at byte 512 and a.PNG at byte"), std::string::npos);

  write("x.tar", a + tar_end());
  write("y.tar", b + a + tar_end());
  const std::string message = refused("convert webdataset {0}/x.tar {0}/y.tar --out {0}/d");
  EXPECT_NE(message.find("two images have the id 'a'"), std::string::npos) << message;
  EXPECT_NE(message.find("x.tar: a and "), std::string::npos) << message;
  EXPECT_FALSE(std::filesystem::exists(path("d")));
}

TEST_F(Others, KeysThatDifferInCaseAreSamplesOfTheirOwn) {
  write("x.tar", tar_file("a.png", png(1)) + tar_file("A.png", png(2)) + tar_end());
  EXPECT_EQ(in_folder("convert webdataset {0}/x.tar --out {0}/d"), ExitCode::done);
  EXPECT_EQ(ids("d"), (Ids{"A", "a"}));
}

TEST_F(Others, AJsonKeyThatStandsTwiceIsRefused) {
  write("x.tar", tar_file("a.png", png(1)) +
                     tar_file("a.json", R"({"site": 1, "of": {"site": 2}, "site": 3})") + tar_end());
  EXPECT_NE(refused("convert webdataset {0}/x.tar --context json:site=site --out {0}/d")
                .find("has the key 'site' twice"),
            std::string::npos);
}

TEST_F(Others, LinksInArchivesAreFollowedOrListed) {
  write("x.tar", tar_file("./p/a.png", png(5)) + tar_header("b.png", '1', 0, "./p/a.png") +
                     tar_header("p/c.png", '2', 0, "../b.png") + tar_header("d.png", '2', 0, "/etc/passwd") +
                     tar_header("e.png", '6', 0) + tar_header("p", '5', 0) +
                     tar_file("p/._a.png", "resources") + tar_file("notes.txt", "none") + tar_end());
  const std::string text = printed("convert webdataset {0}/x.tar --out {0}/d");
  EXPECT_EQ(ids("d"), (Ids{"./p/a", "b", "p/c"}));
  for (std::int64_t row = 0; row < 3; ++row) EXPECT_EQ(first_value("d", row), 5.0F);
  if (world_.rank() != 0) return;
  EXPECT_NE(text.find("left out:\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  1 links in archives to what is not there: x.tar: d.png -> /etc/passwd\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("  1 members of archives that are no files: x.tar: e.png\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("  1 hidden: x.tar: p/._a.png\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  1 samples without an image: "), std::string::npos) << text;
}

TEST_F(Others, AnArchiveThatIsCutOrGoesOnBehindItsEndIsRefused) {
  const std::string a = tar_file("a.png", png(1)), b = tar_file("b.png", png(2));
  const std::string line = "convert webdataset {0}/x.tar --out {0}/d";
  write("x.tar", a);
  EXPECT_NE(refused(line).find("it has no end"), std::string::npos);
  write("x.tar", a + tar_end() + b + tar_end());
  EXPECT_NE(refused(line).find("it goes on behind its end, at byte 2048"), std::string::npos)
      << refused(line);
  write("x.tar", a + b + tar_end() + std::string(8192, '\0'));
  EXPECT_EQ(in_folder(line), ExitCode::done);
}

TEST_F(Others, LinkedFoldersAreFollowedAndWhatIsLeftOutIsCounted) {
  make_photos();
  alone([&] {
    std::filesystem::create_directories(path("elsewhere"));
    std::filesystem::rename(path("photos/north/dog"), path("elsewhere/dog"));
    std::filesystem::create_directory_symlink(path("elsewhere/dog"), path("photos/north/dog"));
    std::filesystem::create_directory_symlink(path("photos"), path("photos/south/again"));
    std::filesystem::create_symlink(path("nowhere.png"), path("photos/north/cat/9.png"));
    for (const char* name :
         {"photos/.git/x.png", "photos/north/.ipynb_checkpoints/x.png", "photos/__MACOSX/x.png",
          "photos/north/cat/._0.png", "photos/north/cat/x.webp"}) {
      std::filesystem::create_directories(path(name).parent_path());
      write_file_atomically(path(name), "no image");
    }
    ::mkfifo(path("photos/north/cat/pipe.png").c_str(), 0600);
  });
  const std::string text = printed("convert images {0}/photos --layout context:site/label:kind --out {0}/d");

  EXPECT_EQ(data::Dataset::open(path("d"), "train").rows(), 12);
  EXPECT_EQ(data::Description::read(path("d")).label("kind").classes, (Ids{"cat", "dog"}));
  if (world_.rank() != 0) return;
  const std::string block = text.substr(text.find("left out:\n"));
  EXPECT_NE(block.find("  4 hidden: "), std::string::npos) << text;
  EXPECT_NE(block.find("  1 links to folders that they lie in: south/again\n"), std::string::npos) << text;
  EXPECT_NE(block.find("  1 links to what is not there: north/cat/9.png\n"), std::string::npos) << text;
  EXPECT_NE(block.find("  1 neither files nor folders: north/cat/pipe.png\n"), std::string::npos) << text;
  EXPECT_NE(
      block.find("  1 images of other formats: north/cat/x.webp\n    turn them into PNG, for example with "
                 "mogrify -format png"),
      std::string::npos)
      << text;
}

TEST_F(Others, AFolderWithoutImagesIsRefusedWithWhatWouldWork) {
  for (const char* name :
       {"s/1.svs", "s/2.SVS", "s/a.npz", "s/b.tar", "s/c.zarr/0.0", "s/c.zarr/0.png", "s/notes.txt"})
    write(name, "no image");
  const std::string message = refused("convert images {0}/s --layout none --out {0}/d");
  EXPECT_NE(message.find("there are no images in the folder"), std::string::npos) << message;
  EXPECT_NE(message.find("2 whole-slide images: convert slides cuts them into tiles"), std::string::npos)
      << message;
  EXPECT_NE(message.find("1 NumPy archives: convert npz reads them"), std::string::npos) << message;
  EXPECT_NE(message.find("1 tar archives: convert webdataset reads them"), std::string::npos) << message;
  EXPECT_NE(message.find("1 zarr stores: convert zarr reads them"), std::string::npos)
      << "a folder that is one image: " << message;
  write("empty/notes.txt", "none");
  EXPECT_NE(refused("convert images {0}/empty --out {0}/d").find("check the path"), std::string::npos);
}

TEST_F(Others, AnImageThatChangedBehindItsSizeIsNoticed) {
  write("f/a/0.npy", std::string("\x93NUMPY\x01\x00\x76\x00", 10) +
                         "{'descr': '|u1', 'fortran_order': False, 'shape': (64, 64), }" +
                         std::string(56, ' ') + "\n" + std::string(4096, '\x01'));
  const std::string line = "convert images {0}/f --layout context --out {0}/d";
  ASSERT_EQ(in_folder(line), ExitCode::done);
  EXPECT_EQ(in_folder(line + " --recheck"), ExitCode::done);
  const auto change = [&](std::size_t byte, bool keeps_time) {
    alone([&] {
      const auto time = std::filesystem::last_write_time(path("f/a/0.npy"));
      std::string content = read_file(path("f/a/0.npy"));
      content[byte] = '\x02';
      write_file_atomically(path("f/a/0.npy"), content);
      if (keeps_time) std::filesystem::last_write_time(path("f/a/0.npy"), time);
    });
  };
  change(4200, true);  // in the last block
  EXPECT_NE(refused(line).find("the folder already holds another dataset"), std::string::npos);
  ASSERT_EQ(in_folder(line + " --overwrite"), ExitCode::done);
  change(1000, false);
  EXPECT_NE(refused(line).find("the folder already holds another dataset"), std::string::npos);
}

TEST_F(Others, RecheckReadsAllOfThem) {
  const std::string header = std::string("\x93NUMPY\x01\x00\x76\x00", 10) +
                             "{'descr': '|u1', 'fortran_order': False, 'shape': (256, 64), }" +
                             std::string(55, ' ') + "\n";
  write("f/a/0.npy", header + std::string(16384, '\x01'));
  write("f/a/1.npy", header + std::string(16384, '\x01'));
  for (const char* codec : {"raw", "png", "jpeg"}) {
    const std::string line =
        fmt::format("convert images {{0}}/f --layout context --codec {0} --out {{0}}/{0}", codec);
    ASSERT_EQ(in_folder(line), ExitCode::done);
    ASSERT_EQ(in_folder(line + " --recheck"), ExitCode::done);
    alone([&] {
      const auto time = std::filesystem::last_write_time(path("f/a/1.npy"));
      const int file = ::open(path("f/a/1.npy").c_str(), O_WRONLY);
      for (int i = 0; i < 2; ++i)
        ASSERT_EQ(::pwrite(file, std::string(512, codec[0]).data(), 512, 6000 + 512 * i), 512);
      ::close(file);
      std::filesystem::last_write_time(path("f/a/1.npy"), time);
    });
    EXPECT_EQ(in_folder(line), ExitCode::done) << "neither size, time nor the sample changed";
    const std::string message = refused(line + " --recheck");
    EXPECT_NE(message.find("image 'a/1.npy' has changed since it was converted"), std::string::npos)
        << message;
  }
}

TEST_F(Others, JpegFilesThatAreKeptStayWithTheirIdsWhereOthersAreSkipped) {
  write("j/a/0.jpg", "no image");
  alone([&] {
    for (int i = 1; i < 4; ++i) {
      const std::vector<std::byte> image(64, static_cast<std::byte>(60 * i));
      const auto file = data::encode_image(data::Codec::jpeg, {data::PixelType::u8, 1, 8, 8}, 90, image);
      write_file_atomically(path(fmt::format("j/a/{}.jpg", i)),
                            {reinterpret_cast<const char*>(file.data()), file.size()});
    }
  });
  ASSERT_EQ(in_folder("convert images {0}/j --layout context --codec jpeg --on-error skip --out {0}/d"),
            ExitCode::done);
  EXPECT_EQ(ids("d"), (Ids{"a/1.jpg", "a/2.jpg", "a/3.jpg"}));
  for (std::int64_t row = 0; row < 3; ++row)
    EXPECT_NEAR(first_value("d", row), 60.0F * static_cast<float>(row + 1), 2.0F);
}

TEST_F(Others, TablesAreJoinedInAnyOrder) {
  make_photos();
  std::string table = "kind,name,site\n";
  for (int i = 11; i >= 0; --i)
    table += fmt::format("k{},{}/{}/{}.png,s{}\n", i % 5, i < 6 ? "north" : "south",
                         i % 6 < 3 ? "cat" : "dog", i % 3, i / 4);
  const std::string again = "k0,north/cat/0.png,s0\n";
  write("t.csv", table + "k1,zebra.png,s9\n" + again + "k2,ant.png,s8\n");
  const std::string join =
      "convert images {0}/photos --layout none --table {0}/t.csv --key name --label kind --context site ";
  const std::string text = printed(join + "--out {0}/d");
  if (world_.rank() == 0) {
    EXPECT_NE(text.find("2 lines of the table without a file: ant.png, zebra.png\n"), std::string::npos)
        << text;
  }
  const data::Dataset dataset = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(dataset.description().context("site").values, (std::vector<std::string>{"s0", "s1", "s2"}));
  for (int i = 0; i < 12; ++i) {  // in order of contexts, then of ids: as they were numbered
    EXPECT_EQ(dataset.description()
                  .labels[0]
                  .classes[static_cast<std::size_t>(dataset.labels("kind")[static_cast<std::size_t>(i)])],
              fmt::format("k{}", i % 5));
    EXPECT_EQ(dataset.contexts("site")[static_cast<std::size_t>(i)], i / 4);
  }
  write("t.csv", table + again + "k3,north/cat/1.png,s0\nk4,north/cat/0.png,s0\n");
  const std::string message = refused(join + "--out {0}/e");
  EXPECT_NE(message.find("two lines contradict each other about 'north/cat/1.png' in column 'kind'"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("t.csv:12 and "), std::string::npos) << message;
  EXPECT_NE(message.find("t.csv:15"), std::string::npos) << message;
  write("t.csv", "name,kind,site\nnorth/cat/0.png,a,b\n");
  EXPECT_NE(refused(join + "--out {0}/e").find("the table has no line for 'north/cat/1.png'"),
            std::string::npos);
}

TEST_F(Others, ALineThatContradictsAnotherIsRefusedWithBoth) {
  make_photos();
  write("list.csv",
        "path,kind,split\nphotos/north/cat/0.png,cat,train\nphotos/north/cat/1.png,cat,train\n./photos/north/"
        "cat/0.png,dog,train\n");
  const std::string message = refused("convert manifest {0}/list.csv --label kind --split split --out {0}/d");
  EXPECT_NE(message.find("two lines contradict each other about './photos/north/cat/0.png'"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("list.csv:2 and "), std::string::npos) << message;
  EXPECT_NE(message.find("list.csv:4"), std::string::npos) << message;

  write("list.csv", "id,path,kind\n0,photos/north/cat/0.png,cat\n1,photos/north/cat/0.png,dog\n");
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(in_folder("convert manifest {0}/list.csv --id id --label kind --out {0}/ids"), ExitCode::done);
  const std::string warning = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(warning.find("list.csv:2 and ") != std::string::npos, world_.rank() == 0) << warning;

  write("list.csv", "path,kind\nphotos/north/cat/0.png,cat\nphotos/north/cat/0.png,cat\n");
  const std::string twice = refused("convert manifest {0}/list.csv --label kind --out {0}/d");
  EXPECT_NE(twice.find("two images have the id 'photos/north/cat/0.png'"), std::string::npos) << twice;
  EXPECT_NE(twice.find("list.csv:3"), std::string::npos) << twice;
}

TEST_F(Others, LeftoversOfAKilledConversionGo) {
  const std::string line = "synth --contexts 2 --images-per-context 4 --size 4 --channels 1 --out {0}/d";
  ASSERT_EQ(in_folder(line), ExitCode::done);
  const auto files = [&] {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path("d")))
      names.insert(entry.path().filename().string());
    world_.barrier();
    return names;
  };
  const std::set<std::string> complete = files();
  const auto leave = [&] {
    for (const char* name : {"train-00000.h5.done", "train-00000.h5.done.13311.partial",
                             "train-00001.h5.partial", "train-00007.h5.encoded", "dataset.json.77.partial"})
      write(fmt::format("d/{}", name), "left");
  };
  leave();
  write("d/notes.done", "mine");
  ASSERT_EQ(in_folder(line), ExitCode::done);
  std::set<std::string> expected = complete;
  expected.insert("notes.done");
  EXPECT_EQ(files(), expected);

  leave();
  ASSERT_EQ(in_folder(line + " --seed 2 --overwrite"), ExitCode::done);
  EXPECT_EQ(files(), expected);

  alone([&] { std::filesystem::remove(path("d/dataset.json")); });
  leave();
  ASSERT_EQ(in_folder(line), ExitCode::done);
  EXPECT_EQ(files(), expected);
}

TEST_F(Others, StatisticsAreOfTheSplitThatIsTrainedOn) {
  const auto constant = [&](const char* name, std::uint8_t value) {
    alone([&] {
      testing::write_png(path("s") / name, 2, 2, 1,
                         {value, value, value, static_cast<std::uint8_t>(value + 4)});
    });
  };
  constant("dev/0.png", 10), constant("fit/0.png", 100), constant("fit/1.png", 120);
  ASSERT_EQ(in_folder("convert images {0}/s --layout split --out {0}/first"), ExitCode::done);
  ASSERT_EQ(in_folder("convert images {0}/s --layout split --statistics-split fit --out {0}/fit"),
            ExitCode::done);
  const auto first = data::Description::read(path("first")), fit = data::Description::read(path("fit"));
  EXPECT_EQ(first.statistics, "dev");
  EXPECT_DOUBLE_EQ(first.mean[0], 11.0);
  EXPECT_EQ(fit.statistics, "fit");
  EXPECT_DOUBLE_EQ(fit.mean[0], 111.0);
  EXPECT_DOUBLE_EQ(fit.deviation[0], std::sqrt(103.0));  // 100 of the means, 3 within

  ASSERT_EQ(in_folder("split {0}/first --statistics-split fit --out {0}/again"), ExitCode::done);
  EXPECT_DOUBLE_EQ(data::Description::read(path("again")).mean[0], 111.0);
  ASSERT_EQ(in_folder("split {0}/fit --out {0}/kept"), ExitCode::done);
  EXPECT_EQ(data::Description::read(path("kept")).statistics, "fit");
  ASSERT_EQ(in_folder("merge {0}/fit {0}/first --prefix-ids --statistics-split fit --out {0}/both"),
            ExitCode::done);
  EXPECT_DOUBLE_EQ(data::Description::read(path("both")).mean[0], 111.0);
  EXPECT_NE(refused("split {0}/fit --split dev --statistics-split fit --out {0}/none").find("no split 'fit'"),
            std::string::npos);
}

TEST_F(Others, OfMergedDatasetsChannelsAgreeAndWhatIsLeftOutIsCounted) {
  const std::string line = "synth --contexts 2 --images-per-context 2 --size 4 --channels 2 --out {0}/";
  ASSERT_EQ(in_folder(line + "a"), ExitCode::done);
  ASSERT_EQ(in_folder(line + "b"), ExitCode::done);
  const auto rename = [&](const auto& edit) {
    alone([&] {
      data::Description description = data::Description::read(path("b"));
      edit(description);
      description.write(path("b"));
    });
  };
  rename([](data::Description& d) { std::swap(d.channels[0], d.channels[1]); });
  const std::string message = refused("merge {0}/a {0}/b --prefix-ids --out {0}/c");
  EXPECT_NE(message.find("the channels are called channel_1, channel_0, those of "), std::string::npos)
      << message;
  rename([](data::Description& d) {
    std::swap(d.channels[0], d.channels[1]);
    d.license = "CC0";
  });
  const std::string text = printed("merge {0}/a {0}/b --prefix-ids --out {0}/c");
  EXPECT_EQ(text.find("left out:\n  1 licences unlike that of the first dataset: 'CC0' of b\n") !=
                std::string::npos,
            world_.rank() == 0)
      << text;
  const std::string twice = refused("merge {0}/a {0}/b --out {0}/d");
  EXPECT_NE(twice.find("a, split train and "), std::string::npos) << twice;
  EXPECT_NE(twice.find("b, split train"), std::string::npos) << twice;
}

}  // namespace
}  // namespace cohort::data_prep

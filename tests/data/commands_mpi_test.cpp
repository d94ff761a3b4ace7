// The sub-commands of cohort-data, as they are typed, on several ranks.
#include <cmath>
#include <map>
#include <numeric>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/dataset.h"

#include "data/command_line.h"
#include "support/even.h"
#include "support/tiny_dataset.h"

namespace cohort::data_prep {
namespace {

TEST_F(Commands, ImagesTakesColumnsFromFolderNames) {
  make_photos();

  EXPECT_EQ(in_folder("convert images {0}/photos --layout context:site/label:kind --hold-out-contexts 2 "
                      "--hold-out-images 3 "
                      "--resize 2 --out {0}/d"),
            ExitCode::done);

  const data::Dataset train = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(train.rows(), 4);
  EXPECT_EQ(train.description().images, (data::ImageLayout{data::PixelType::u8, 1, 2, 2}));
  EXPECT_EQ(train.description().context("site").values, (std::vector<std::string>{"north", "south"}));
  EXPECT_EQ(train.ids()[2], "south/dog/1.png");
  EXPECT_EQ(train.labels("kind")[2], 1);
  const at::Tensor image = train.images(std::vector<std::int64_t>{2});
  EXPECT_EQ(image.data_ptr<float>()[3], 110.0F);
  EXPECT_EQ(data::Dataset::open(path("d"), "seen_test").ids(),
            (std::vector<std::string>{"south/cat/0.png", "south/dog/0.png"}));
  EXPECT_EQ(data::Dataset::open(path("d"), "unseen_test").rows(), 6);
}

TEST_F(Commands, Camelyon17HasTheOfficialSplits) {
  const std::string header = ",patient,node,x_coord,y_coord,tumor,slide,center,split\n";
  std::string rows;
  int number = 0;
  // center and split of each patch
  for (const auto& [center, split] :
       std::vector<std::pair<int, int>>{{0, 0}, {0, 1}, {3, 0}, {1, 0}, {2, 1}, {4, 0}}) {
    rows += fmt::format("{0},{1:03},4,{0}0,{0}1,{2},{3},{4},{5}\n", number, number * 7, number % 2,
                        10 + number, center, split);
    if (world_.rank() == 0) {
      const std::string place = fmt::format("patient_{:03}_node_4", number * 7);
      testing::write_png(
          path("c") / "patches" / place / fmt::format("patch_{}_x_{}0_y_{}1.png", place, number, number), 2,
          2, 3, std::vector<std::uint8_t>(12, static_cast<std::uint8_t>(number)));
    }
    ++number;
  }
  write("c/metadata.csv", header + rows);

  EXPECT_EQ(in_folder("convert wilds-camelyon17 --root {0}/c --out {0}/d"), ExitCode::done);

  const auto rows_of = [&](const char* split) { return data::Dataset::open(path("d"), split).rows(); };
  EXPECT_EQ(rows_of("train"), 3);
  EXPECT_EQ(rows_of("id_val"), 1);
  EXPECT_EQ(rows_of("val"), 1);
  EXPECT_EQ(rows_of("test"), 1);
  const data::Dataset test = data::Dataset::open(path("d"), "test");
  EXPECT_EQ(test.description().context("hospital").values,
            (std::vector<std::string>{"0", "1", "2", "3", "4"}));
  EXPECT_EQ(test.contexts("hospital")[0], 2);
  EXPECT_EQ(test.labels("tumor")[0], 0);
  EXPECT_EQ(test.ids()[0], "patches/patient_028_node_4/patch_patient_028_node_4_x_40_y_41.png");
  EXPECT_EQ(test.images(std::vector<std::int64_t>{0}).data_ptr<float>()[0], 4.0F);
}

TEST_F(Commands, Camelyon17WithoutLabelsHasSplitsByHospital) {
  write("c/metadata.csv",
        "patient,node,x_coord,y_coord,slide,center\n1,0,2,3,7,4\n2,0,2,3,8,1\n3,0,2,3,9,2\n");
  if (world_.rank() == 0) {
    for (int patient = 1; patient <= 3; ++patient) {
      const std::string place = fmt::format("patient_{:03}_node_0", patient);
      testing::write_png(path("c") / "patches" / place / fmt::format("patch_{}_x_2_y_3.png", place), 2, 2, 3,
                         std::vector<std::uint8_t>(12, 9));
    }
  }
  world_.barrier();

  EXPECT_EQ(in_folder("convert wilds-camelyon17 --root {0}/c --out {0}/d"), ExitCode::done);

  for (const char* split : {"train_unlabeled", "val_unlabeled", "test_unlabeled"})
    EXPECT_EQ(data::Dataset::open(path("d"), split).rows(), 1) << split;
  EXPECT_TRUE(data::Description::read(path("d")).labels.empty());
}

TEST_F(Commands, Camelyon17NamesWhatIsMissing) {
  write("c/metadata.csv", "patient,node,x_coord,y_coord,slide,centre\n1,0,2,3,7,4\n");
  EXPECT_NE(refused("convert wilds-camelyon17 --root {0}/c --out {0}/d").find("did you mean 'centre'"),
            std::string::npos);
  write("c/metadata.csv", "patient,node,x_coord,y_coord,slide,center\n1,0,2,3,7,4\n");
  EXPECT_NE(refused("convert wilds-camelyon17 --root {0}/c --out {0}/d")
                .find("patch_patient_001_node_0_x_2_y_3.png"),
            std::string::npos);
}

// Without shift and signal a value is 0.45 … 0.55, uniform; with signal alone the sign of the first pixel
// tells the half that the phase of the stripes lies in.
TEST_F(Commands, SynthDrawsEveryPixelImageAndPhaseByItself) {
  const std::string line =
      "synth --contexts 2 --images-per-context 200 --channels 2 --size 6 --shift 0 --type f32 --out {0}/";
  EXPECT_EQ(in_folder(line + "noise --signal 0"), ExitCode::done);
  EXPECT_EQ(in_folder(line + "stripes --signal 5 --classes 1"), ExitCode::done);
  const auto images_of = [&](const char* name) {
    const data::Dataset dataset = data::Dataset::open(path(name), "train");
    std::vector<std::int64_t> rows(400);
    std::iota(rows.begin(), rows.end(), 0);
    return dataset.images(rows).flatten(2).contiguous();  // [400, 2, 36]
  };
  const at::Tensor noise = images_of("noise"), stripes = images_of("stripes");
  const auto value = [&](std::int64_t image, std::int64_t channel, std::int64_t pixel) {
    const float drawn = noise.const_data_ptr<float>()[(image * 2 + channel) * 36 + pixel];
    return testing::part_of(static_cast<double>(drawn), 0.45, 0.55, 5);
  };
  testing::Counts pixels({5, 5}), channels({5, 5}), images({5, 5}), contexts({5, 5}), phases({2, 2});
  for (std::int64_t image = 0; image + 1 < 400; ++image) {
    for (std::int64_t pixel = 0; pixel + 1 < 36; ++pixel) {
      pixels.add(value(image, 0, pixel), value(image, 0, pixel + 1));
      channels.add(value(image, 0, pixel), value(image, 1, pixel));
      images.add(value(image, 0, pixel), value(image + 1, 0, pixel));
      if (image < 200) contexts.add(value(image, 0, pixel), value(image + 200, 0, pixel));
    }
    const auto is_bright = [&](std::int64_t of) { return stripes.const_data_ptr<float>()[of * 72] > 0.5F; };
    phases.add(is_bright(image), is_bright(image + 1));
  }
  for (const testing::Counts& counts : {pixels, channels, images, contexts, phases})
    testing::expect_even(counts);
}

TEST_F(Commands, SynthIsAFunctionOfItsSeedAndShiftMovesContexts) {
  const std::string line = "synth --contexts 3 --images-per-context 4 --channels 2 --size 8x6 --out {0}/";
  EXPECT_EQ(in_folder(line + "d --shift 2"), ExitCode::done);
  EXPECT_EQ(in_folder(line + "e --shift 2 --type f32 --seed 2"), ExitCode::done);
  EXPECT_EQ(in_folder(line + "f --shift 0 --type f32"), ExitCode::done);
  EXPECT_EQ(in_folder("verify {0}/d"), ExitCode::done);

  const data::Dataset made = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(made.rows(), 12);
  EXPECT_EQ(made.description().images, (data::ImageLayout{data::PixelType::u8, 2, 8, 6}));
  const auto means = [&](const char* name) {  // of each context
    const data::Dataset dataset = data::Dataset::open(path(name), "train");
    std::vector<double> all;
    for (std::int64_t context = 0; context < 3; ++context) {
      std::vector<std::int64_t> rows{context * 4, context * 4 + 1, context * 4 + 2, context * 4 + 3};
      all.push_back(dataset.images(rows).mean().item<double>());
    }
    return all;
  };
  const auto shifted = means("e"), alike = means("f");
  EXPECT_GT(std::abs(shifted[0] - shifted[1]) + std::abs(shifted[1] - shifted[2]), 0.1);
  for (const double mean : alike) EXPECT_NEAR(mean, 0.5, 0.03);
  EXPECT_NE(refused(line + "g --type u9").find("'u9' is not a pixel type"), std::string::npos);
}

TEST_F(Commands, TheSameConversionTwiceDoesNothingAnotherIsRefused) {
  make_photos();
  const std::string line = "convert images {0}/photos --out {0}/d";
  in_folder(line);
  const auto written = std::filesystem::last_write_time(path("d") / "train-00000.h5");

  EXPECT_EQ(in_folder(line), ExitCode::done);
  EXPECT_EQ(std::filesystem::last_write_time(path("d") / "train-00000.h5"), written);
  EXPECT_NE(refused(line + " --resize 2").find("already holds another dataset"), std::string::npos);
  world_.barrier();
  EXPECT_EQ(in_folder(line + " --resize 2 --overwrite"), ExitCode::done);
  EXPECT_EQ(data::Description::read(path("d")).images.height, 2);
}

TEST_F(Commands, ADryRunWritesNothing) {
  make_photos();
  EXPECT_EQ(in_folder("convert images {0}/photos --dry-run --out {0}/d"), ExitCode::done);
  EXPECT_FALSE(std::filesystem::exists(path("d")));
}

TEST_F(Commands, ImagesNamesWhatDoesNotFit) {
  make_photos();
  EXPECT_NE(refused("convert images {0}/photos --layout label --out {0}/d")
                .find("lies 2 folders deep, the layout label has 1"),
            std::string::npos);
  EXPECT_NE(refused("convert images {0}/photos --layout site/label --out {0}/d").find("'site' is no level"),
            std::string::npos);
  EXPECT_NE(refused("convert images {0}/none --out {0}/d").find("there is no such folder"),
            std::string::npos);
  EXPECT_NE(refused("convert images {0}/photos --channels \xff --out {0}/d")
                .find("the name of a channel is not valid UTF-8: '\\xff'"),
            std::string::npos);
  for (const char* layout : {"context/context", "label:a/label:a", "split:a/split:b"}) {
    EXPECT_NE(refused(fmt::format("convert images {{0}}/photos --layout {} --out {{0}}/d", layout))
                  .find("two levels of the layout say the "),
              std::string::npos)
        << layout;
  }
  for (const std::string kind : {"context", "label"}) {
    const std::string line =
        fmt::format("convert images {{0}}/photos --layout {0}:site/- --{0} file=site --out {{0}}/d", kind);
    EXPECT_NE(refused(line).find(fmt::format("folders and an option both say the {} 'site'", kind)),
              std::string::npos);
  }
  EXPECT_EQ(in_folder("convert images {0}/photos --layout none --out {0}/all"), ExitCode::done);
  EXPECT_TRUE(data::Description::read(path("all")).contexts.empty());
  write("photos/north/cat/9.png", "no image");
  EXPECT_NE(refused("convert images {0}/photos --out {0}/d").find("north/cat/9.png"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path("d") / "dataset.json"));
}

TEST_F(Commands, LayoutsThatWouldFitAreTold) {
  make_photos();
  const auto asked = [&](const char* folder) {
    return refused(std::string("convert images {0}/") + folder + " --out {0}/d");
  };
  EXPECT_NE(asked("photos/north")
                .find("for example of cat/0.png: --layout label (label 'cat') or --layout context "
                      "(context 'cat'); --layout none"),
            std::string::npos)
      << asked("photos/north");
  if (world_.rank() == 0) {
    std::filesystem::create_directories(path("parts"));
    std::filesystem::copy(path("photos/north"), path("parts/Train"),
                          std::filesystem::copy_options::recursive);
  }
  world_.barrier();
  EXPECT_NE(asked("parts").find("--layout split/label (split 'Train', label 'cat')"), std::string::npos)
      << asked("parts");
  if (world_.rank() == 0) std::filesystem::rename(path("photos/south"), path("parts/Extra"));
  world_.barrier();
  EXPECT_NE(asked("parts").find("--layout split/label (split 'Train', label 'cat')"), std::string::npos)
      << "any folder may be a split: " << asked("parts");
  if (world_.rank() == 0) std::filesystem::copy(path("photos/north/cat/0.png"), path("photos/north/1.png"));
  world_.barrier();
  EXPECT_NE(asked("photos").find("images lie at several depths: north/1.png and north/cat/0.png"),
            std::string::npos)
      << asked("photos");
}

TEST_F(Commands, ImagesOfAnotherSizeAreNamed) {
  make_photos();
  if (world_.rank() == 0)
    testing::write_png(path("photos/south/dog/8.png"), 5, 5, 1, std::vector<std::uint8_t>(25, 1));
  world_.barrier();
  const std::string message = refused("convert images {0}/photos --out {0}/d");
  EXPECT_NE(message.find("'south/dog/8.png' has another layout (1 channel, 5 x 5, u8) than the first one (1 "
                         "channel, 4 x 6, u8)"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("--resize"), std::string::npos);
}

TEST_F(Commands, ManifestTakesColumnsFromATable) {
  make_photos();
  write("list.csv",
        "file,site,kind,part\nphotos/north/cat/0.png,N,cat,test\nphotos/north/dog/1.png,N,,train\nphotos/"
        "south/dog/0.png,S,dog,train\n");

  EXPECT_EQ(in_folder("convert manifest {0}/list.csv --path file --label kind=animal --context site --split "
                      "part --out {0}/d"),
            ExitCode::done);

  const data::Dataset train = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(train.labels("animal"), (std::vector<std::int32_t>{-1, 1}));
  EXPECT_EQ(train.contexts("site"), (std::vector<std::int32_t>{0, 1}));
  EXPECT_NE(refused("convert manifest {0}/list.csv --path file --context sit --out {0}/e")
                .find("did you mean 'site'?"),
            std::string::npos);
  EXPECT_NE(refused("convert manifest {0}/list.csv --path file --root {0}/x --out {0}/e")
                .find("the image file is missing"),
            std::string::npos);
}

TEST_F(Commands, NpzOfNuclei) {
  const std::string file = (std::filesystem::path(COHORT_TEST_DATA) / "data" / "arrays.npz").string();
  EXPECT_EQ(in_folder("convert npz " + file +
                      " --images images_u2 --labels flags=flag --contexts i4=number --out {0}/d"),
            ExitCode::done);

  const data::Dataset train = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(train.description().images, (data::ImageLayout{data::PixelType::u16, 1, 3, 5}));
  EXPECT_EQ(train.labels("flag"), (std::vector<std::int32_t>{1, 0, 1, 1}));
  EXPECT_EQ(train.images(std::vector<std::int64_t>{3}).data_ptr<float>()[14], 59000.0F);
  EXPECT_NE(
      refused("convert npz " + file + " --images images_u2 --axes NCHW --out {0}/e").find("3 dimensions"),
      std::string::npos);
}

TEST_F(Commands, ElpvDerivesModulesFromTheOrderOfRows) {
  std::string labels;
  for (int i = 1; i <= 2624; ++i)
    labels +=
        fmt::format("images/cell{:04}.png  {}  mono  train\n", i, i % 3 == 0 ? "0.6666666666666666" : "0.0");
  write("wheel/elpv_dataset/data/labels.csv", labels);
  if (world_.rank() == 0) {
    for (int i = 1; i <= 2624; ++i) {
      testing::write_png(path(fmt::format("wheel/elpv_dataset/data/images/cell{:04}.png", i)), 2, 2, 1,
                         {1, 2, 3, 4});
    }
  }
  world_.barrier();

  EXPECT_EQ(in_folder("convert elpv {0}/wheel --size 1 --out {0}/d"), ExitCode::done);

  const data::Dataset unseen = data::Dataset::open(path("d"), "unseen_test");
  EXPECT_EQ(unseen.description().context("module").values.size(), 44U);
  EXPECT_EQ(unseen.description().label("condition").classes,
            (std::vector<std::string>{"functional", "defective"}));
  EXPECT_EQ(unseen.ids()[0], "images/cell0001.png");
  EXPECT_EQ(unseen.labels("condition")[2], 1);
  for (const std::int32_t module : unseen.contexts("module")) EXPECT_EQ(module % 4, 0);
  EXPECT_EQ(unseen.ids().back(), "images/cell2444.png");
  EXPECT_EQ(unseen.contexts("module").back(), 40);

  write("wheel/elpv_dataset/data/labels.csv", labels.substr(0, labels.size() / 2));
  EXPECT_NE(refused("convert elpv {0}/wheel --out {0}/e").find("labels.csv"), std::string::npos);
}

TEST_F(Commands, VerifyFindsNoDamageInTheFixture) {
  EXPECT_EQ(run("verify " + kNuclei.string(), world_), ExitCode::done);
  EXPECT_EQ(run("inspect " + kNuclei.string(), world_), ExitCode::done);
}

/// A copy of the fixture with `edit` applied; what verify prints on rank 0, and its exit code everywhere.
class Damage : public Commands {
 protected:
  Damage() {
    if (world_.rank() == 0) std::filesystem::copy(kNuclei, path("d"));
    world_.barrier();
  }
  std::pair<ExitCode, std::string> verify() {
    world_.barrier();
    ::testing::internal::CaptureStdout();
    const ExitCode code = in_folder("verify {0}/d");
    std::fflush(stdout);
    return {code, ::testing::internal::GetCapturedStdout()};
  }
  void edit(const std::string& file, const std::function<void(std::string&)>& change) {
    if (world_.rank() != 0) return;
    std::string content = read_file(path("d") / file);
    change(content);
    write_file_atomically(path("d") / file, content);
  }
};

TEST_F(Damage, EveryDamagedRowIsNamed) {
  const data::Dataset train = data::Dataset::open(kNuclei, "train");
  for (const std::int64_t row : {2, 11}) {
    const at::Tensor image = train.images(std::vector<std::int64_t>{row}).to(at::kByte);
    edit("train-00000.h5", [&](std::string& content) {
      const void* pixels = image.data_ptr();
      const std::size_t at = content.find(std::string_view(static_cast<const char*>(pixels), 4096));
      ASSERT_NE(at, std::string::npos);
      ++content[at + 100];
    });
  }

  const auto [code, output] = verify();

  EXPECT_EQ(code, ExitCode::data);
  if (world_.rank() != 0) return;
  EXPECT_NE(output.find("train-00000.h5: row 2 ('"), std::string::npos) << output;
  EXPECT_NE(output.find("train-00000.h5: row 11 ('"), std::string::npos) << output;
  EXPECT_NE(output.find("3 problems"), std::string::npos) << output;  // two rows and the file itself
}

TEST_F(Damage, MissingAndTruncatedShardsAreNamed) {
  if (world_.rank() == 0) std::filesystem::remove(path("d") / "test-00000.h5");
  edit("train-00001.h5", [](std::string& content) { content.resize(content.size() - 1); });

  const auto [code, output] = verify();

  EXPECT_EQ(code, ExitCode::data);
  if (world_.rank() != 0) return;
  EXPECT_NE(output.find("test-00000.h5: the shard cannot be opened"), std::string::npos) << output;
  EXPECT_NE(output.find("train-00001.h5: the shard is truncated"), std::string::npos) << output;
}

TEST_F(Damage, ValuesOutsideTheVocabularyAreNamed) {
  edit("dataset.json", [](std::string& content) {
    const std::size_t start = content.find("\"classes\""), end = content.find(']', start);
    content.replace(start, end - start + 1, "\"classes\": [\"0\"]");
  });

  const auto [code, output] = verify();

  EXPECT_EQ(code, ExitCode::data);
  if (world_.rank() == 0) {
    EXPECT_NE(output.find("label micronucleus is 1, outside -1 … 0"), std::string::npos) << output;
  }
}

TEST_F(Damage, IdsThatOccurTwiceAreNamed) {
  edit("dataset.json", [](std::string& content) {
    // The shards of test a second time, as a split of their own and under other file names.
    const std::size_t at = content.find("\"name\": \"test\"");
    const std::size_t start = content.rfind('{', at), end = content.find(']', at);
    std::string again = content.substr(start, content.find('}', end) - start + 1);
    again.replace(again.find("\"test\""), 6, "\"more\"");
    for (std::size_t file = 0; (file = again.find("\"test-", file)) != std::string::npos;)
      again.replace(file, 6, "\"more-");
    content.insert(start, again + ",\n");
  });
  if (world_.rank() == 0) {
    std::vector<std::filesystem::path> shards;
    for (const auto& entry : std::filesystem::directory_iterator(path("d"))) shards.push_back(entry.path());
    for (const auto& shard : shards) {
      const std::string name = shard.filename().string();
      if (name.starts_with("test-")) std::filesystem::copy(shard, path("d") / ("more-" + name.substr(5)));
    }
  }

  const auto [code, output] = verify();

  EXPECT_EQ(code, ExitCode::data);
  if (world_.rank() == 0) {
    EXPECT_NE(output.find("the id occurs more than once"), std::string::npos) << output;
  }
}

}  // namespace
}  // namespace cohort::data_prep

#include <csignal>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <sys/resource.h>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/random.h"
#include "cohort/data/dataset.h"
#include "cohort/data/dataset_writer.h"
#include "cohort/data/image_codec.h"

#include "support/faults.h"
#include "support/ranks.h"
#include "support/tiny_dataset.h"

namespace cohort::data {
namespace {

constexpr std::int64_t kRows = 211;
// Two splits of 16 x 16 u16 images: several shards of 64 KiB.
const WriterConfig kConfig{{std::uint64_t{64} << 10}};

Description description() {
  Description description;
  description.name = "noise";
  description.images = {PixelType::u16, 1, 16, 16};
  description.channels = {"gray"};
  description.labels = {{"kind", {"a", "b"}}};
  description.contexts = {{"site", {"x", "y", "z"}}};
  description.splits = {{"train", {}}, {"test", {}}};
  return description;
}

std::vector<Row> rows() {
  std::vector<Row> rows;
  for (std::int32_t i = 0; i < kRows; ++i)
    rows.push_back({fmt::format("{}", i * 7 % 211), i % 4 == 3, {i % 3 - 1}, {i % 3}});
  return rows;
}

void noise(std::int64_t index, std::span<std::byte> out) {
  RandomStream random({.seed = 1, .purpose = Purpose::synthetic, .sample = index});
  for (std::byte& value : out) value = static_cast<std::byte>(random.below(256));
}

std::map<std::string, std::string> files_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files.emplace(entry.path().filename().string(), read_file(entry.path()));
  }
  return files;
}

TEST(WriteDataset, FilesDoNotDependOnTheNumberOfRanks) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  comm::Communicator alone = world.split(world.rank(), "alone");

  write_dataset(folder.path() / "together", description(), rows(), noise, kConfig, world);
  if (world.rank() == 0) write_dataset(folder.path() / "alone", description(), rows(), noise, kConfig, alone);
  world.barrier();

  const auto together = files_of(folder.path() / "together"), by_one = files_of(folder.path() / "alone");
  EXPECT_EQ(together.size(), 4U);  // train: 2 shards, test: 1, dataset.json
  EXPECT_TRUE(together == by_one);
}

TEST(WriteDataset, EncodedFilesDoNotDependOnTheNumberOfRanksEither) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  comm::Communicator alone = world.split(world.rank(), "alone");
  Description encoded = description();
  encoded.codec = Codec::png;

  const Description written =
      write_dataset(folder.path() / "together", encoded, rows(), noise, kConfig, world);
  if (world.rank() == 0) write_dataset(folder.path() / "alone", encoded, rows(), noise, kConfig, alone);
  write_dataset(folder.path() / "raw", description(), rows(), noise, kConfig, world);
  world.barrier();

  EXPECT_TRUE(files_of(folder.path() / "together") == files_of(folder.path() / "alone"));
  const Dataset png = Dataset::open(folder.path() / "together", "test");
  const Dataset raw = Dataset::open(folder.path() / "raw", "test");
  const std::vector<std::int64_t> all{0, 17, 51};
  EXPECT_TRUE(at::equal(png.images(all), raw.images(all)));
  EXPECT_EQ(png.description().mean, raw.description().mean);
  EXPECT_EQ(png.description().version(), 2);
  EXPECT_EQ(raw.description().version(), 1);
}

TEST(WriteDataset, IsReadBackAsItWasGiven) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  const std::vector<Row> given = rows();

  const Description written = write_dataset(folder.path() / "d", description(), given, noise, kConfig, world);

  const Dataset test = Dataset::open(folder.path() / "d", "test");
  ASSERT_EQ(test.rows(), 52);
  EXPECT_EQ(test.description().mean, written.mean);
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < given.size(); ++i) index[given[i].id] = i;
  for (std::size_t i = 0; i < test.ids().size(); ++i) {
    const std::size_t source = index.at(test.ids()[i]);
    EXPECT_EQ(test.labels("kind")[i], given[source].labels[0]);
    EXPECT_EQ(test.contexts("site")[i], given[source].contexts[0]);
    std::vector<std::byte> pixels(512);
    noise(static_cast<std::int64_t>(source), pixels);
    const at::Tensor image = test.images(std::vector<std::int64_t>{static_cast<std::int64_t>(i)});
    const auto* values = image.data_ptr<float>();
    for (std::size_t p = 0; p < 256; ++p) {
      const int expected = static_cast<int>(pixels[2 * p]) + 256 * static_cast<int>(pixels[2 * p + 1]);
      ASSERT_EQ(values[p], static_cast<float>(expected));
    }
  }
}

/// Noise that is brighter in the test split, and by the number of its row.
void bright_noise(std::int64_t index, std::span<std::byte> out) {
  noise(index, out);
  const bool is_test = index % 4 == 3;             // as in rows()
  for (std::size_t i = 1; i < out.size(); i += 2)  // the high bytes of u16
    out[i] = static_cast<std::byte>(static_cast<int>(out[i]) % 64 + (is_test ? 192 : index / 4));
}

// A normalisation that has seen the test images is wrong, and no score would show it.
TEST(WriteDataset, StatisticsAreThoseOfAllShardsOfTheTrainingSplitAndOfNoOther) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  for (const Codec codec : {Codec::raw, Codec::png}) {
    Description wanted = description();
    wanted.codec = codec;
    const auto target = folder.path() / std::string(codec_name(codec));
    const Description written = write_dataset(target, wanted, rows(), bright_noise, kConfig, world);
    ASSERT_GT(written.split("train").shards.size(), 1U);
    ASSERT_GT(written.split("test").shards.size(), 0U);

    const Dataset train = Dataset::open(target, "train");
    std::vector<std::int64_t> all(static_cast<std::size_t>(train.rows()));
    std::iota(all.begin(), all.end(), 0);
    const at::Tensor pixels = train.images(all).to(at::kDouble);
    EXPECT_NEAR(written.mean.front(), pixels.mean().item<double>(), 1e-6);
    EXPECT_NEAR(written.deviation.front(), pixels.std(false).item<double>(), 1e-6);
  }
}

// The same of a shard that was finished by an earlier, interrupted conversion and of one that was not.
TEST(WriteDataset, StatisticsOfAResumedConversionAreThoseOfAllItsShards) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  Description named = description();
  named.source = 77;
  const auto failing = [](std::int64_t index, std::span<std::byte> out) {
    if (index % 4 == 3) throw DataError({"the image cannot be read", "an image of the test split", ""});
    bright_noise(index, out);
  };
  EXPECT_THROW(write_dataset(folder.path() / "d", named, rows(), failing, kConfig, world), DataError);
  world.barrier();

  const Description resumed = write_dataset(folder.path() / "d", named, rows(), bright_noise, kConfig, world),
                    whole = write_dataset(folder.path() / "w", named, rows(), bright_noise, kConfig, world);

  EXPECT_EQ(resumed.mean, whole.mean);
  EXPECT_EQ(resumed.deviation, whole.deviation);
}

// Encoded images of a shard are kept beside and copied in parts of 4 MiB.
TEST(WriteDataset, AShardOfMoreThanOnePartOfEncodedImagesIsReadBack) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  Description large = description();
  large.images = {PixelType::u8, 1, 1024, 1024};
  large.codec = Codec::zstd;
  std::vector<Row> few;
  for (int i = 0; i < 5; ++i) few.push_back({fmt::format("{}", i), 0, {0}, {0}});
  const auto pixels = [](std::int64_t index, std::span<std::byte> out) {
    std::uint32_t state = 1 + static_cast<std::uint32_t>(index);
    for (std::byte& value : out)
      value = static_cast<std::byte>((state = state * 1664525U + 1013904223U) >> 24);
  };

  const Description written = write_dataset(folder.path() / "d", large, few, pixels, {}, world);

  ASSERT_EQ(written.split("train").shards.size(), 1U);
  ASSERT_GT(written.split("train").shards.front().bytes, std::uint64_t{9} << 19);
  const Dataset dataset = Dataset::open(folder.path() / "d", "train");
  std::vector<std::byte> expected(1024 * 1024), image(expected.size());
  for (std::int64_t row = 0; row < 5; ++row) {
    pixels(row, expected);
    dataset.read(row, image);
    EXPECT_TRUE(image == expected) << row;
  }
}

TEST(WriteDataset, AnUnreadableImageEndsAllRanksAndLeavesNothing) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  const auto failing = [](std::int64_t index, std::span<std::byte> out) {
    if (index == 200) throw DataError({"the image cannot be read", "image 200", ""});
    noise(index, out);
  };

  try {
    write_dataset(folder.path() / "d", description(), rows(), failing, kConfig, world);
    ADD_FAILURE() << "the failure of one rank did not reach this one";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("image 200"), std::string::npos);
  }
  world.barrier();

  EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "d"));
}

TEST(WriteDataset, AFullDiskIsNamedAndLeavesNothing) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  {
    const testing::FileSizeLimit limit(20000);  // found before the first image is read
    EXPECT_THROW(write_dataset(folder.path() / "d", description(), rows(), noise, kConfig, world), DataError);
  }
  world.barrier();
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "d"));
  world.barrier();

  write_dataset(folder.path() / "d", description(), rows(), noise, kConfig, world);

  EXPECT_EQ(Dataset::open(folder.path() / "d", "train").rows(), 159);
}

TEST(WriteDataset, ADiskThatFillsUpMeanwhileIsNamedAndLeavesNothing) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  std::optional<testing::FileSizeLimit> limit;
  const auto filling = [&](std::int64_t index, std::span<std::byte> out) {
    if (!limit) limit.emplace(20000);
    noise(index, out);
  };
  try {
    write_dataset(folder.path() / "d", description(), rows(), filling, kConfig, world);
    ADD_FAILURE() << "the full disk went unnoticed";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("the shard cannot be written: File too large"),
              std::string::npos)
        << error.what();
  }
  limit.reset();
  world.barrier();
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "d"));
}

TEST(WriteDataset, RefusesAFolderThatHoldsOne) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  write_dataset(folder.path() / "d", description(), rows(), noise, kConfig, world);
  const auto before = files_of(folder.path() / "d");

  EXPECT_THROW(write_dataset(folder.path() / "d", description(), rows(), noise, kConfig, world), DataError);

  EXPECT_TRUE(files_of(folder.path() / "d") == before);
}

TEST(WriteDataset, GoesOnWhereItWasInterrupted) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  Description named = description();
  named.source = 77;
  const auto failing = [](std::int64_t index, std::span<std::byte> out) {
    if (rows()[static_cast<std::size_t>(index)].split == 1)  // its shard comes last
      throw DataError({"the image cannot be read", "an image of the test split", ""});
    noise(index, out);
  };
  EXPECT_THROW(write_dataset(folder.path() / "d", named, rows(), failing, kConfig, world), DataError);
  world.barrier();

  std::int64_t read = 0;
  const auto counting = [&](std::int64_t index, std::span<std::byte> out) {
    ++read;
    noise(index, out);
  };
  write_dataset(folder.path() / "d", named, rows(), counting, kConfig, world);
  write_dataset(folder.path() / "fresh", named, rows(), noise, kConfig, world);
  world.barrier();

  EXPECT_EQ(world.sum(read), 52) << "both shards of the training split had been finished";
  EXPECT_TRUE(files_of(folder.path() / "d") == files_of(folder.path() / "fresh"));
}

TEST(WriteDataset, WritesAShardOfADamagedReceiptOrContentAgain) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  Description named = description();
  named.source = 77;
  write_dataset(folder.path() / "fresh", named, rows(), noise, kConfig, world);
  if (world.rank() == 0) {
    std::filesystem::create_directories(folder.path() / "d");
    for (const char* name : {"train-00000.h5", "train-00001.h5"})
      std::filesystem::copy(folder.path() / "fresh" / name, folder.path() / "d" / name);
    write_file_atomically(folder.path() / "d/train-00000.h5.done", "{not JSON");
    const auto bytes = std::filesystem::file_size(folder.path() / "d/train-00001.h5");
    write_file_atomically(
        folder.path() / "d/train-00001.h5.done",
        fmt::format(R"({{"source":77,"rows":1,"bytes":{},"checksum":1,"channels":[[1,1,1]]}})", bytes));
  }
  world.barrier();

  write_dataset(folder.path() / "d", named, rows(), noise, kConfig, world);
  world.barrier();

  EXPECT_TRUE(files_of(folder.path() / "d") == files_of(folder.path() / "fresh"));
}

TEST(WriteDataset, RemovesWhatAnInterruptedConversionLeft) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  const std::filesystem::path target = folder.path() / "d";
  if (world.rank() == 0) {
    std::filesystem::create_directories(target);
    for (const char* name : {"train-00000.h5.partial", "train-00077.h5", "notes-00001.h5", "train-x.h5"}) {
      write_file_atomically(target / name, "left over");
    }
  }
  world.barrier();

  write_dataset(target, description(), rows(), noise, kConfig, world);

  const auto files = files_of(target);
  EXPECT_FALSE(files.contains("train-00077.h5"));
  EXPECT_FALSE(files.contains("train-00000.h5.partial"));
  EXPECT_TRUE(files.contains("notes-00001.h5"));
  EXPECT_TRUE(files.contains("train-x.h5"));
}

TEST(OpenTogether, HasTheColumnsThatEveryRankWouldReadAlone) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  write_dataset(folder.path(), description(), rows(), noise, {{std::uint64_t{1} << 16}}, world);
  const auto labels = [](const Description& found) {
    return std::vector<std::string>{found.labels.front().name};
  };

  for (const char* split : {"train", "test"}) {
    const Dataset alone = Dataset::open(folder.path(), split);
    const Dataset together = Dataset::open(folder.path(), split, labels, world);

    EXPECT_EQ(together.rows(), alone.rows());
    EXPECT_EQ(together.context_runs("site").runs(), alone.context_runs("site").runs());
    EXPECT_EQ(together.contexts("site"), alone.contexts("site"));
    EXPECT_EQ(together.labels("kind"), alone.labels("kind"));
    EXPECT_TRUE(at::equal(together.images(std::vector<std::int64_t>{0, 50}),
                          alone.images(std::vector<std::int64_t>{0, 50})));
  }
}

TEST(OpenTogether, RanksOpenNoShardOfAnother) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  const Description written =
      write_dataset(folder.path(), description(), rows(), noise, {{std::uint64_t{1} << 16}}, world);
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_files();

  const Dataset dataset = Dataset::open(
      folder.path(), "train", [](const Description&) { return std::vector<std::string>(); }, world);

  const auto shards = std::ssize(written.split("train").shards);
  ASSERT_GE(shards, 2);
  EXPECT_EQ(world.sum(static_cast<std::int64_t>(open_files() - before)), shards);
}

TEST(OpenTogether, AMissingShardIsNamedOnAllRanks) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  write_dataset(folder.path(), description(), rows(), noise, {{std::uint64_t{1} << 16}}, world);
  if (world.rank() == 0) std::filesystem::remove(folder.path() / "train-00001.h5");
  world.barrier();
  const auto open = [&](const char* label) {
    try {
      const auto labels = [&](const Description& found) {
        return std::vector<std::string>{found.label(label).name};
      };
      (void)Dataset::open(folder.path(), "train", labels, world);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("opened");
  };

  EXPECT_NE(open("kind").find("train-00001.h5"), std::string::npos);
  EXPECT_NE(open("kinds").find("did you mean 'kind'"), std::string::npos);
}

TEST(WriteDataset, RefusesTwoImagesOfOneIdAndNamesThatAreNoFiles) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  std::vector<Row> twice = rows();
  twice[5].id = twice[100].id;
  EXPECT_THROW(write_dataset(folder.path() / "d", description(), twice, noise, kConfig, world), DataError);

  Description bad = description();
  bad.splits[1].name = "a/b";
  EXPECT_THROW(write_dataset(folder.path() / "d", bad, rows(), noise, kConfig, world), DataError);
}

TEST(WriteDataset, MeanAndDeviationAreOfTheSplitThatIsNamed) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  const auto by_split = [](std::int64_t index, std::span<std::byte> out) {
    auto* values = static_cast<std::uint16_t*>(static_cast<void*>(out.data()));
    const bool is_test = rows()[static_cast<std::size_t>(index)].split == 1;
    for (std::size_t i = 0; i < out.size() / 2; ++i)
      values[i] = static_cast<std::uint16_t>(is_test ? 500 + i % 2 : 100);
  };
  const auto written = [&](const char* name) {
    Description named = description();
    named.statistics = name;
    return write_dataset(folder.path() / fmt::format("of {}", name), named, rows(), by_split, kConfig, world);
  };
  const Description first = written(""), test = written("test");
  EXPECT_EQ(first.statistics, "train");
  EXPECT_DOUBLE_EQ(first.mean[0], 100.0) << "no image of another split counts";
  EXPECT_DOUBLE_EQ(first.deviation[0], 1.0);
  EXPECT_EQ(test.statistics, "test");
  EXPECT_DOUBLE_EQ(test.mean[0], 500.5);
  EXPECT_DOUBLE_EQ(test.deviation[0], 0.5);
  EXPECT_THROW(written("valid"), UsageError);

  Description empty = description();
  empty.splits.push_back({"valid", {}});
  empty.statistics = "valid";
  EXPECT_THROW(write_dataset(folder.path() / "e", empty, rows(), by_split, kConfig, world), DataError);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "e"));
}

TEST(RemoveDataset, RemovesItsFilesAndNoOthers) {
  comm::Communicator world = test::world();
  testing::SharedFolder folder(world);
  write_dataset(folder.path(), description(), rows(), noise, kConfig, world);
  if (world.rank() == 0) {
    write_file_atomically(folder.path() / "README.md", "mine");
    remove_dataset(folder.path());
    EXPECT_EQ(files_of(folder.path()).size(), 1U);
  }
}

/// By this process, from files and pipes, since it began.
std::int64_t bytes_read() {
  std::ifstream file("/proc/self/io");
  std::string key;
  std::int64_t bytes = 0;
  file >> key >> bytes;
  EXPECT_EQ(key, "rchar:");
  return bytes;
}

class DescriptionForRanks : public ::testing::Test {
 protected:
  /// A folder for each rank: where its host has a copy of its own.
  [[nodiscard]] std::filesystem::path mine() const {
    return folder_.path() / fmt::format("of-{}", world_.rank());
  }
  [[nodiscard]] bool is_last() const { return world_.rank() == world_.size() - 1; }
  [[nodiscard]] static Description complete_description() {
    Description description = testing::tiny_description();
    description.mean = {100.0};
    description.deviation = {40.0};
    return description;
  }
  void write(const Description& description) const {
    std::filesystem::create_directory(mine());
    description.write(mine());
  }
  /// What Description::read() throws, on all ranks alike.
  template <class AnError>
  std::string refusal() {
    std::string text;
    try {
      (void)Description::read(mine(), world_);
    } catch (const AnError& error) {
      text = error.what();
    }
    return text;
  }
  comm::Communicator world_ = test::world();
  testing::SharedFolder folder_{world_};
};

TEST_F(DescriptionForRanks, CopiesThatSayTheSameAreOneDataset) {
  write(complete_description());
  EXPECT_EQ(Description::read(mine(), world_).name, "tiny");
}

TEST_F(DescriptionForRanks, AnotherDatasetOnOneRankIsRefused) {
  Description description = complete_description();
  if (is_last() && world_.size() > 1) description.contexts[0].values[0] = "z";  // as long as before
  write(description);
  const std::string text = refusal<UsageError>();
  EXPECT_EQ(text.starts_with("ranks see different datasets: 'tiny "), world_.size() > 1) << text;
  EXPECT_EQ(
      text.find(fmt::format("where: rank {} of {}: ", world_.size() - 1, world_.size())) != std::string::npos,
      world_.size() > 1)
      << text;
}

TEST_F(DescriptionForRanks, ARankThatDoesNotSeeItIsNamed) {
  if (!is_last()) write(complete_description());
  const std::string text = refusal<DataError>();
  EXPECT_TRUE(text.starts_with("there is no such dataset")) << text;
  EXPECT_EQ(
      text.find(fmt::format("where: rank {} of {}: ", world_.size() - 1, world_.size())) != std::string::npos,
      world_.size() > 1)
      << text;
}

// One rank reads what all ranks see: with 1,000 ranks a file of 10⁵ names would be read 1,000 times.
TEST_F(DescriptionForRanks, ASharedFileIsReadByRankZeroAlone) {
  constexpr std::int64_t kBytes = 1 << 20;
  Description description = complete_description();
  description.license = std::string(kBytes, 'x');
  if (world_.rank() == 0) description.write(folder_.path());
  world_.barrier();
  const std::int64_t before = bytes_read();
  EXPECT_EQ(Description::read(folder_.path(), world_).license.size(), static_cast<std::size_t>(kBytes));
  EXPECT_EQ(bytes_read() - before >= kBytes, world_.rank() == 0);
}

}  // namespace
}  // namespace cohort::data

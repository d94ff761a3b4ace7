// The committed dataset tests/data/nuclei: real images, 12 contexts, several shards.
#include "cohort/data/dataset.h"

#include <array>
#include <cstring>
#include <numeric>
#include <set>

#include <gtest/gtest.h>
#include <torch/types.h>

#include "cohort/core/error.h"
#include "cohort/data/batch.h"
#include "cohort/data/column_reader.h"
#include "cohort/data/shard_reader.h"

#include "support/temporary_folder.h"

namespace cohort::data {
namespace {

const std::filesystem::path kNuclei = std::filesystem::path(COHORT_TEST_DATA) / "data" / "nuclei";

std::vector<std::int64_t> all_rows(const Dataset& dataset) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(dataset.rows()));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

TEST(Nuclei, StatisticsAreThoseOfTheTrainingImages) {
  const Dataset train = Dataset::open(kNuclei, "train");

  const at::Tensor images = train.images(all_rows(train)).to(at::kDouble);  // [N, 1, 64, 64]

  ASSERT_GT(train.description().split("train").shards.size(), 1U);
  EXPECT_NEAR(images.mean().item<double>(), train.description().mean[0], 1e-9);
  EXPECT_NEAR(images.std(false).item<double>(), train.description().deviation[0], 1e-9);
}

TEST(Nuclei, RowsAreSortedByContextAndIdThroughTheShards) {
  const Dataset train = Dataset::open(kNuclei, "train");
  const auto& contexts = train.contexts("context");
  const auto& ids = train.ids();

  ASSERT_EQ(static_cast<std::int64_t>(ids.size()), train.rows());
  for (std::size_t i = 1; i < ids.size(); ++i) {
    EXPECT_LT(std::tie(contexts[i - 1], ids[i - 1]), std::tie(contexts[i], ids[i]));
  }
  EXPECT_EQ(std::set<std::int32_t>(contexts.begin(), contexts.end()).size(), 7U);
  EXPECT_EQ(train.description().context("context").values.size(), 12U);
}

TEST(Nuclei, ImagesOfAnyRowsAreThoseOfTheShards) {
  const Dataset train = Dataset::open(kNuclei, "train");
  const ShardEntry& second = train.description().split("train").shards[1];
  const ShardReader reader = ShardReader::open(kNuclei, second, train.description().images, Codec::raw);
  std::vector<std::byte> stored(64 * 64);
  reader.read(3, stored);

  const std::int64_t row = train.description().split("train").shards[0].rows + 3;
  const at::Tensor images = train.images(std::vector<std::int64_t>{0, row});  // [2, 1, 64, 64]

  const auto* values = images[1].data_ptr<float>();
  for (std::size_t i = 0; i < stored.size(); ++i) ASSERT_EQ(values[i], static_cast<float>(stored[i]));
  EXPECT_FALSE(images[0].equal(images[1]));
}

TEST(Nuclei, UnknownNamesAreUsageErrors) {
  const Dataset train = Dataset::open(kNuclei, "train");
  EXPECT_THROW(Dataset::open(kNuclei, "dev"), UsageError);
  EXPECT_THROW(static_cast<void>(train.labels("contxt")), UsageError);
  EXPECT_THROW(static_cast<void>(train.contexts("micronucleus")), UsageError);
}

/// Two views: the image as it is, and twice its values.
class Doubled final : public ViewMaker {
 public:
  explicit Doubled(const ImageLayout& layout) : layout_(layout) {}
  [[nodiscard]] std::vector<ViewShape> shapes() const override {
    return {2, {layout_.channels, layout_.height, layout_.width}};
  }
  void make(std::span<const std::byte> image, ViewKey /*key*/,
            std::span<const std::span<float>> views) const override {
    for (std::size_t i = 0; i < image.size(); ++i) {
      views[0][i] = static_cast<float>(std::to_integer<int>(image[i]));
      views[1][i] = 2 * views[0][i];
    }
  }

 private:
  ImageLayout layout_;
};

TEST(MakeBatch, HasRowsOfTheGroupsInOrderOnAnyNumberOfThreads) {
  const Dataset train = Dataset::open(kNuclei, "train");
  const std::vector<Group> groups{{train.contexts("context")[4], 6, {4, 2}},
                                  {train.contexts("context")[9], 7, {9}}};
  const std::vector<std::int64_t> rows{4, 2, 9};
  const Doubled views(train.description().images);
  for (const std::int64_t threads : {1, 2, 5}) {
    Workers workers(threads);

    const Batch batch = make_batch(train, groups, {{"context"}, "micronucleus"}, views, workers);

    ASSERT_EQ(batch.views.size(), 2U);
    EXPECT_TRUE(batch.views[0].equal(train.images(rows)));
    EXPECT_TRUE(batch.views[1].equal(train.images(rows) * 2));
    EXPECT_GT(batch.read_seconds, 0.0);
    EXPECT_GT(batch.view_seconds, 0.0);
    EXPECT_TRUE(batch.sample.equal(at::tensor(rows, at::kLong)));
    EXPECT_TRUE(batch.group.equal(at::tensor({6, 6, 7}, at::kLong)));
    ASSERT_EQ(batch.context.sizes(), (std::vector<std::int64_t>{3, 1}));
    for (std::int64_t i = 0; i < 3; ++i) {
      const auto row = static_cast<std::size_t>(rows[static_cast<std::size_t>(i)]);
      EXPECT_EQ(batch.context[i][0].item<std::int64_t>(), train.contexts("context")[row]);
      EXPECT_EQ(batch.label[i].item<std::int64_t>(), train.labels("micronucleus")[row]);
    }
  }
}

TEST(MakeBatch, WithoutKeysAndLabel) {
  const Dataset train = Dataset::open(kNuclei, "train");
  const std::vector<Group> groups{{0, 0, {1, 2}}};
  Workers workers(1);

  const Batch batch = make_batch(train, groups, {}, Doubled(train.description().images), workers);

  EXPECT_EQ(batch.context.sizes(), (std::vector<std::int64_t>{2, 0}));
  EXPECT_FALSE(batch.label.defined());
}

/// Its decisions are the row, three times.
class Numbered final : public ViewMaker {
 public:
  [[nodiscard]] std::vector<ViewShape> shapes() const override { return {{1, 1, 1}}; }
  void make(std::span<const std::byte>, ViewKey, std::span<const std::span<float>>) const override {}
  [[nodiscard]] std::int64_t recipe_bytes() const override { return 3 * sizeof(std::int64_t); }
  void draw(ViewKey key, std::span<std::byte> recipe) const override {
    const std::array<std::int64_t, 3> rows{key.row, key.row, key.row};
    std::memcpy(recipe.data(), rows.data(), recipe.size());
  }
};

TEST(MakeBatch, LeavesPixelsAndDecisionsForViewsThatAreMadeLater) {
  const Dataset train = Dataset::open(kNuclei, "train");
  const std::vector<Group> groups{{0, 0, {4, 2}}, {0, 1, {9, 1}}};
  Workers workers(2);

  const Batch batch =
      groups_of(make_batch(train, groups, {{}, "", false, true}, Numbered(), workers), 2, 1, 2);

  EXPECT_TRUE(batch.views.empty());
  EXPECT_TRUE(batch.recipes.view(at::kLong).equal(at::tensor({9, 9, 9, 1, 1, 1}, at::kLong).view({2, 3})));
  const at::Tensor pixels = train.images(std::vector<std::int64_t>{9, 1});
  EXPECT_TRUE(batch.stored.view(pixels.sizes()).to(at::kFloat).equal(pixels));
  EXPECT_THROW(make_batch(train, groups, {{}, "", false, true}, Doubled(train.description().images), workers),
               Bug);
}

TEST(MakeBatch, AnImageThatComesAgainHasAKeyOfItsOwn) {
  const Dataset train = Dataset::open(kNuclei, "train");
  const std::vector<Group> groups{{0, 0, {4, 2, 4}, {0, 0, 2}}};
  Workers workers(1);

  const Batch batch = make_batch(train, groups, {{}, "", false, true}, Numbered(), workers);

  const at::Tensor keys = at::tensor({std::int64_t{4}, std::int64_t{2}, 4 + 2 * train.rows()}, at::kLong);
  EXPECT_TRUE(batch.sample.equal(keys));
  EXPECT_TRUE(batch.recipes.view(at::kLong).select(1, 0).equal(keys));
  EXPECT_TRUE(batch.stored[0].equal(batch.stored[2]));
}

TEST(ContextRunsOfADataset, AgreeWithTheColumn) {
  const Dataset train = Dataset::open(kNuclei, "train");
  const auto& column = train.contexts("context");
  const ContextRuns& runs = train.context_runs("context");
  for (std::int64_t row = 0; row < train.rows(); ++row)
    EXPECT_EQ(runs.at(row), column[static_cast<std::size_t>(row)]);
  EXPECT_LE(runs.runs().size(), train.description().context("context").values.size());
  EXPECT_THROW((void)train.context_runs("contxt"), UsageError);
}

class ReadColumns : public ::testing::Test {
 protected:
  ReadColumns() { std::filesystem::copy(kNuclei, copy_); }

  testing::TemporaryFolder folder_;
  std::filesystem::path copy_ = folder_.path() / "nuclei";
  Dataset train_ = Dataset::open(kNuclei, "train");
  Description description_ = Description::read(kNuclei);
};

TEST_F(ReadColumns, AreThoseOfTheDatasetInAnyOrder) {
  for (const std::int64_t most_held : {std::int64_t{1}, ColumnReader::kMostHeld}) {
    ColumnReader reader(copy_, description_, "train", most_held);
    for (std::int64_t i = 0; i < train_.rows(); ++i) {
      const std::int64_t row = i * 113 % train_.rows();  // the next one is of another shard
      const auto place = static_cast<std::size_t>(row);
      ASSERT_EQ(reader.labels("micronucleus", row, 1).front(), train_.labels("micronucleus")[place]);
      ASSERT_EQ(reader.column("context", row, 1).front(), train_.contexts("context")[place]);
    }
    EXPECT_EQ(reader.labels("micronucleus", 0, train_.rows()), train_.labels("micronucleus"));
    EXPECT_EQ(reader.ids(0, train_.rows()), train_.ids());
  }
}

// Rows of a value of another context than the first one are of all shards: none is read again for each value.
TEST_F(ReadColumns, StayWithoutTheirShards) {
  ColumnReader reader(copy_, description_, "train");
  (void)reader.labels("micronucleus", 0, train_.rows());
  for (const ShardEntry& entry : description_.split("train").shards)
    std::filesystem::remove(copy_ / entry.file);

  EXPECT_EQ(reader.labels("micronucleus", 0, train_.rows()), train_.labels("micronucleus"));
  EXPECT_THROW((void)reader.contexts("context", 0, 1), DataError);
}

TEST_F(ReadColumns, AreHeldOfTheShardsUsedLast) {
  const std::vector<ShardEntry>& shards = description_.split("train").shards;
  const std::int64_t second = shards[0].rows, third = second + shards[1].rows;
  ColumnReader reader(copy_, description_, "train", third);  // of two shards
  for (const std::int64_t row : {std::int64_t{0}, second, std::int64_t{0}, third})
    (void)reader.labels("micronucleus", row, 1);
  for (const ShardEntry& entry : shards) std::filesystem::remove(copy_ / entry.file);

  EXPECT_EQ(reader.labels("micronucleus", 0, 1).front(), train_.labels("micronucleus").front());
  EXPECT_NO_THROW((void)reader.labels("micronucleus", third, 1));
  EXPECT_THROW((void)reader.labels("micronucleus", second, 1), DataError);
}

// dataset.json and shards of somebody else need not agree: values are indices into its lists.
TEST(DatasetOfOthers, ValuesBeyondTheListsAreRefused) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path copy = folder.path() / "nuclei";
  std::filesystem::copy(kNuclei, copy);
  Description fewer = Description::read(kNuclei);
  fewer.labels.front().classes.pop_back();
  fewer.contexts.front().values.resize(1);
  std::filesystem::remove(copy / "dataset.json");
  fewer.write(copy);
  const Dataset train = Dataset::open(copy, "train");

  EXPECT_THROW((void)train.labels("micronucleus"), DataError);
  EXPECT_THROW((void)train.contexts("context"), DataError);
  EXPECT_THROW((void)train.context_runs("context"), DataError);
}

}  // namespace
}  // namespace cohort::data

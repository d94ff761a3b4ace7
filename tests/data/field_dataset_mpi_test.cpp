// Datasets with fields: written, read back, into batches, and damaged.
#include <cstring>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/data/batch.h"
#include "cohort/data/dataset.h"
#include "cohort/data/image_codec.h"

#include "data/field_codec.h"
#include "support/field_rows.h"
#include "support/ranks.h"
#include "support/temporary_folder.h"
#include "support/tiny_dataset.h"

namespace cohort::data {
namespace {

using testing::bytes_of;

/// A dataset with all fields, whose images are in a codec, of each rank alone.
class FieldDataset : public ::testing::TestWithParam<Codec> {
 protected:
  FieldDataset() {
    testing::write_dataset_with_fields(folder_.path() / "d", testing::fields_in_all_codecs(), GetParam(),
                                       alone_);
  }

  [[nodiscard]] Dataset open() const { return Dataset::open(folder_.path() / "d", "train"); }

  comm::Communicator world_ = test::world(), alone_ = world_.split(world_.rank(), "alone");
  testing::TemporaryFolder folder_;
};

TEST_P(FieldDataset, GivesEveryRowOfEveryFieldBack) {
  const Dataset dataset = open();
  ASSERT_EQ(dataset.description().version(), 3);
  ASSERT_GT(dataset.description().splits.front().shards.size(), 1U);
  EXPECT_EQ(dataset.description().fields, testing::fields_in_all_codecs());
  std::vector<std::byte> values;
  for (const Field& field : testing::fields_in_all_codecs()) {
    for (std::int64_t row = 0; row < dataset.rows(); ++row) {
      dataset.read_field(row, field.name, values);
      EXPECT_TRUE(values == testing::row_of(field, testing::source_row(dataset.id(row))))
          << field.name << ", row " << row;
    }
  }
  EXPECT_THROW(dataset.read_field(0, "mask-pgn", values), UsageError);
}

/// A column is called "boxes/0" where it moves with views, which PlainViews leave in place. Their masks have
/// the size of the image.
void expect_stored(const Column& column, const std::string& name, const Dataset& dataset,
                   std::span<const std::int64_t> rows) {
  const Field& field = dataset.description().field(name.substr(0, name.find('/')));
  if (field.kind != FieldKind::mask) return testing::expect_rows(column, field, dataset, rows);
  EXPECT_EQ(column.values.sizes(), (std::vector<std::int64_t>{std::ssize(rows), 64, 64}));
}

TEST_P(FieldDataset, BatchesHaveTheColumnsThatAreAskedFor) {
  const Dataset dataset = open();
  const testing::PlainViews views(dataset.description().images);
  const std::vector<Group> groups{{0, 0, {7, 2}}, {0, 1, {3, 9}}};
  const std::vector<std::int64_t> rows{7, 2, 3, 9};
  for (const std::int64_t threads : {1, 3}) {
    Workers workers(threads);
    const Batch none = make_batch(dataset, groups, {}, views, workers);
    EXPECT_TRUE(none.columns.empty());
    BatchColumns columns;
    for (const Field& field : testing::fields_in_all_codecs()) columns.fields.push_back(field.name);
    const Batch batch = make_batch(dataset, groups, columns, views, workers);
    EXPECT_TRUE(batch.views[0].equal(none.views[0]));
    ASSERT_EQ(batch.columns.size(), testing::fields_in_all_codecs().size());
    for (const auto& [name, column] : batch.columns) expect_stored(column, name, dataset, rows);

    const Batch second = groups_of(batch, 2, 1, 2);
    EXPECT_TRUE(second.sample.equal(at::tensor({3, 9}, at::kLong)));
    for (const auto& [name, column] : second.columns)
      expect_stored(column, name, dataset, std::span(rows).subspan(2));
    EXPECT_TRUE(
        second.columns.at("mask-raw/0").values.equal(batch.columns.at("mask-raw/0").values.slice(0, 2)));
  }
}

/// The image of 64 x 64 pixels, and its left half mirrored.
class HalfViews final : public ViewMaker {
 public:
  [[nodiscard]] std::vector<ViewShape> shapes() const override { return {{1, 64, 64}, {1, 64, 32}}; }
  void make(std::span<const std::byte>, ViewKey, std::span<const std::span<float>>) const override {}
  [[nodiscard]] ViewGeometry geometry(std::span<const std::byte>, std::size_t view) const override {
    if (view == 0) return {{}, {{0, 0}, {64, 0}, {64, 64}, {0, 64}}};
    return {{-1, 0, 32, 0, 1, 0}, {{0, 0}, {32, 0}, {32, 64}, {0, 64}}};
  }
};

TEST_P(FieldDataset, WhatMarksPlacesMovesWithTheViews) {
  const Dataset dataset = open();
  Workers workers(2);
  BatchColumns columns;
  columns.fields = {"mask-raw", "boxes-raw", "points-raw", "numbers-raw"};
  columns.geometry = true;
  const std::vector<Group> groups{{0, 0, {3, 4}}};
  const Batch batch = make_batch(dataset, groups, columns, HalfViews(), workers);

  ASSERT_EQ(batch.columns.size(), 7U);
  const at::Tensor mask = batch.columns.at("mask-raw/0").values;
  std::vector<std::byte> stored;
  dataset.read_field(3, "mask-raw", stored);
  for (std::int64_t y = 0; y < 64; ++y) {
    for (std::int64_t x = 0; x < 64; ++x) {
      const std::int64_t row = (2 * y + 1) * 6 / 128, column = (2 * x + 1) * 5 / 128;  // of its 6 x 5
      ASSERT_EQ(mask[0][y][x].item<int>(),
                std::to_integer<int>(stored[static_cast<std::size_t>(row * 5 + column)]))
          << y << ", " << x;
    }
  }
  EXPECT_TRUE(batch.columns.at("mask-raw/1").values.equal(mask.narrow(2, 0, 32).flip(2)));
  const auto& [boxes, offsets] = batch.columns.at("boxes-raw/0");
  const auto& [moved, moved_offsets] = batch.columns.at("boxes-raw/1");
  ASSERT_GT(boxes.size(0), 0);
  EXPECT_TRUE(moved_offsets.equal(offsets));
  EXPECT_TRUE(at::allclose(moved.select(1, 0), 32 - boxes.select(1, 2)));
  EXPECT_TRUE(at::allclose(moved.select(1, 2), 32 - boxes.select(1, 0)));
  EXPECT_TRUE(moved.narrow(1, 3, 2).equal(boxes.narrow(1, 3, 2)));
  const at::Tensor points = batch.columns.at("points-raw/0").values;
  EXPECT_TRUE(at::allclose(batch.columns.at("points-raw/1").values.select(1, 0), 32 - points.select(1, 0)));
  const at::Tensor mirrored = at::tensor({-1.0, 0.0, 32.0, 0.0, 1.0, 0.0}, at::kDouble).view({2, 3});
  EXPECT_TRUE(batch.geometry[1].equal(mirrored.expand({2, 2, 3})));
}

TEST_P(FieldDataset, TensorsOfColumnsAreVisited) {
  const Dataset dataset = open();
  const testing::PlainViews views(dataset.description().images);
  Workers workers(1);
  const std::vector<Group> groups{{0, 0, {0, 1}}};
  const auto bytes = [&](const std::vector<std::string>& fields) {
    std::size_t sum = 0;
    BatchColumns columns;
    columns.fields = fields;
    make_batch(dataset, groups, columns, views, workers)
        .for_each_tensor([&](const at::Tensor& tensor, Batch::Use use) {
          if (use == Batch::Use::model) sum += tensor.nbytes();
        });
    return sum;
  };
  EXPECT_EQ(bytes({"mask-raw"}) - bytes({}), 2U * 64 * 64);
  EXPECT_EQ(bytes({"numbers-raw"}) - bytes({}), 2U * 4 * 3);
  EXPECT_GE(bytes({"tokens-raw"}) - bytes({}), 3U * 8) << "offsets too";
}

// A bit that flips in any field is found when its row is read, and only then.
TEST_P(FieldDataset, ADamagedRowNamesFileRowIdAndField) {
  for (const Field& field : testing::fields_in_all_codecs()) {
    const Dataset whole = open();
    const std::filesystem::path file =
        folder_.path() / "d" / whole.description().splits.front().shards.front().file;
    const std::vector<std::byte> stored =
        encode_field(field, testing::row_of(field, testing::source_row(whole.id(2))));
    if (stored.size() < 8) continue;  // stands elsewhere in the file as well
    const std::string content = read_file(file);
    std::string damaged = content;
    const void* start = stored.data();
    const std::size_t at = content.find(std::string_view(static_cast<const char*>(start), stored.size()));
    ASSERT_NE(at, std::string::npos) << field.name;
    damaged[at + stored.size() / 2] = static_cast<char>(damaged[at + stored.size() / 2] ^ 1);
    write_file_atomically(file, damaged);
    std::string message = "nothing was refused";
    int refusals = 0;
    const Dataset dataset = open();
    for (std::int64_t row = 0; row < dataset.rows(); ++row) {
      for (const Field& any : testing::fields_in_all_codecs()) {
        std::vector<std::byte> values;
        try {
          dataset.read_field(row, any.name, values);
        } catch (const DataError& error) {
          message = error.what();
          ++refusals;
        }
      }
    }
    EXPECT_GE(refusals, 1) << field.name;
    EXPECT_NE(message.find("-00000.h5"), std::string::npos) << message;
    EXPECT_NE(message.find(fmt::format("row 2 ('{}') of field", whole.id(2))), std::string::npos) << message;
    write_file_atomically(file, content);
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, FieldDataset, ::testing::Values(Codec::raw, Codec::zstd),
                         [](const auto& codec) { return std::string(codec_name(codec.param)); });

TEST(FieldDatasets, FilesDoNotDependOnTheNumberOfRanks) {
  comm::Communicator world = test::world(), alone = world.split(world.rank(), "alone");
  testing::SharedFolder folder(world);
  const auto fields = testing::fields_in_all_codecs();
  testing::write_dataset_with_fields(folder.path() / "together", fields, Codec::png, world);
  if (world.rank() == 0)
    testing::write_dataset_with_fields(folder.path() / "alone", fields, Codec::png, alone);
  world.barrier();

  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "alone")) {
    ++files;
    EXPECT_EQ(read_file(entry.path()), read_file(folder.path() / "together" / entry.path().filename()))
        << entry.path();
  }
  EXPECT_GT(files, 3U);
}

TEST(FieldDatasets, ARowThatDoesNotFitIsNamedAndNothingIsLeft) {
  testing::TemporaryFolder folder;
  comm::Communicator world = test::world(), alone = world.split(world.rank(), "alone");
  std::string message = "nothing was refused";
  const Field flags{"flags", FieldKind::flags, ValueType::u8, {2}, Codec::raw, "", {"a", "b"}};
  try {
    testing::write_dataset_with_fields(folder.path() / "d", {flags}, Codec::raw, alone,
                                       [](std::size_t, std::int64_t row) {
                                         return bytes_of<std::uint8_t>({static_cast<std::uint8_t>(row)});
                                       });
  } catch (const DataError& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("field 'flags' of image '"), std::string::npos) << message;
  EXPECT_NE(message.find("has 1 bytes, not 2"), std::string::npos) << message;
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "d" / "dataset.json"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "d"));
}

TEST(FieldDatasets, RowsWithoutEntriesAndShardsOfThemAreKept) {
  testing::TemporaryFolder folder;
  comm::Communicator world = test::world(), alone = world.split(world.rank(), "alone");
  std::vector<Field> fields;
  for (const Codec codec : {Codec::raw, Codec::zstd}) {
    fields.push_back(
        {fmt::format("boxes-{}", codec_name(codec)), FieldKind::boxes, ValueType::f32, {-1, 5}, codec});
    fields.push_back(
        {fmt::format("text-{}", codec_name(codec)), FieldKind::text, ValueType::u8, {-1}, codec});
  }
  testing::write_dataset_with_fields(folder.path() / "d", fields, Codec::raw, alone,
                                     [](std::size_t, std::int64_t) { return std::vector<std::byte>{}; });
  const Dataset dataset = Dataset::open(folder.path() / "d", "train");
  for (const Field& field : fields) {
    std::vector<std::byte> values{std::byte{3}};
    dataset.read_field(5, field.name, values);
    EXPECT_TRUE(values.empty()) << field.name;
  }
}

}  // namespace
}  // namespace cohort::data

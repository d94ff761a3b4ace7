// Volumes with masks from files to batches: the same on any number of ranks.
#include <cstring>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/augment/multi_crop.h"
#include "cohort/core/file.h"
#include "cohort/data/batch.h"
#include "cohort/data/dataset.h"
#include "cohort/data/dataset_writer.h"

#include "support/ranks.h"
#include "support/tiny_dataset.h"

namespace cohort::augment {
namespace {

constexpr std::int64_t kRows = 12, kDepth = 6, kHeight = 7, kWidth = 8;

/// Value of a voxel: its number, and the row's; the mask is 1 where it is odd and in the upper half.
std::vector<std::byte> volume_of(std::int64_t row) {
  std::vector<std::byte> values;
  for (std::int64_t i = 0; i < 2 * kDepth * kHeight * kWidth; ++i)
    values.push_back(static_cast<std::byte>((i * 7 + row * 11) % 251));
  return values;
}
std::vector<std::byte> mask_of(std::int64_t row) {
  std::vector<std::byte> values = volume_of(row);
  values.resize(values.size() / 2);  // of the first channel
  for (std::byte& value : values) value = static_cast<std::byte>(std::to_integer<int>(value) > 200);
  return values;
}

void write_volumes(const std::filesystem::path& folder, data::Codec codec, comm::Communicator& ranks) {
  data::Description description;
  description.name = "volumes";
  description.images = {data::PixelType::u8, 2, kHeight, kWidth, kDepth};
  description.codec = codec;
  description.channels = {"a", "b"};
  description.contexts = {{"site", {"x", "y"}}};
  description.fields = {
      {"organs", data::FieldKind::mask, data::ValueType::u8, {kDepth, kHeight, kWidth}, data::Codec::zstd}};
  description.splits = {{"train", {}}};
  std::vector<data::Row> rows;
  for (std::int32_t i = 0; i < kRows; ++i) rows.push_back({fmt::format("{:02}", i), 0, {}, {i % 2}});
  data::PixelSource source([](std::int64_t index, std::span<std::byte> out) {
    const std::vector<std::byte> values = volume_of(index);
    std::copy(values.begin(), values.end(), out.begin());
  });
  source.field = [](std::size_t, std::int64_t index) { return mask_of(index); };
  (void)data::write_dataset(folder, description, rows, source, {{std::uint64_t{1} << 16}}, ranks);
}

class VolumeBatches : public ::testing::TestWithParam<data::Codec> {
 protected:
  comm::Communicator world_ = test::world(), alone_ = world_.split(world_.rank(), "alone");
  testing::SharedFolder folder_{world_};
  testing::TemporaryFolder own_;
};

TEST_P(VolumeBatches, AreWrittenAndReadBackTheSameOnAnyRanks) {
  const std::filesystem::path shared = folder_.path() / "d", own = own_.path() / "d";
  write_volumes(shared, GetParam(), world_);
  write_volumes(own, GetParam(), alone_);
  for (const auto& entry : std::filesystem::directory_iterator(own))
    EXPECT_EQ(read_file(entry.path()), read_file(shared / entry.path().filename())) << entry.path();
  const data::Dataset dataset = data::Dataset::open(own, "train");
  EXPECT_EQ(dataset.description().version(), 3);
  EXPECT_EQ(dataset.description().images.sizes(), (std::vector<std::int64_t>{2, kDepth, kHeight, kWidth}));
  std::vector<std::byte> volume(static_cast<std::size_t>(dataset.description().images.bytes())), mask;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const std::int64_t source = std::stoll(dataset.id(row));
    dataset.read(row, volume);
    dataset.read_field(row, "organs", mask);
    EXPECT_EQ(volume, volume_of(source));
    EXPECT_EQ(mask, mask_of(source));
  }
  const std::vector<std::int64_t> rows{3, 1};
  EXPECT_EQ(dataset.images(rows).sizes(), (std::vector<std::int64_t>{2, 2, kDepth, kHeight, kWidth}));
}

/// Each rank makes some groups; together they are the batch of one rank.
TEST_P(VolumeBatches, ViewsAndMasksAreTheSameOnAnyRanks) {
  write_volumes(own_.path() / "d", GetParam(), alone_);
  const data::Dataset dataset = data::Dataset::open(own_.path() / "d", "train");
  ViewConfig config;
  config.preset = "table";
  config.policy.global = {"volume_crop", "flip", "flip_depth", "axial_affine degrees=10 scale=[0.9,1.1]",
                          "shift_intensity"};
  config.multi_crop.global_size = 4;
  const auto views = training_views(config, dataset.description(), Normalisation::dataset, 5, 2, 2);
  std::vector<data::Group> groups;
  for (std::int64_t group = 0; group < 4; ++group) groups.push_back({0, group, {group, 11 - group, 5}});
  data::BatchColumns columns;
  columns.fields = {"organs"};
  columns.geometry = true;
  Workers workers(2);
  const data::Batch whole = make_batch(dataset, groups, columns, *views, workers);
  ASSERT_EQ(whole.views[0].sizes(), (std::vector<std::int64_t>{12, 2, 4, 4, 4}));
  ASSERT_EQ(whole.columns.at("organs/1").values.sizes(), (std::vector<std::int64_t>{12, 4, 4, 4}));
  ASSERT_EQ(whole.geometry[0].sizes(), (std::vector<std::int64_t>{12, 3, 4}));
  const std::int64_t size = world_.size(), first = 4 * world_.rank() / size,
                     last = 4 * (world_.rank() + 1) / size;
  Workers single(1);
  const data::Batch part = make_batch(
      dataset,
      std::span(groups).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first)),
      columns, *views, single);
  const auto rows = [&](const at::Tensor& all) { return all.narrow(0, 3 * first, 3 * (last - first)); };
  for (std::size_t v = 0; v < 2; ++v) {
    EXPECT_TRUE(part.views[v].equal(rows(whole.views[v])));
    EXPECT_TRUE(part.geometry[v].equal(rows(whole.geometry[v])));
    const std::string name = fmt::format("organs/{}", v);
    EXPECT_TRUE(part.columns.at(name).values.equal(rows(whole.columns.at(name).values)));
  }
}

/// Where geometry says that a voxel of the view lies in the volume, there is its label.
TEST_P(VolumeBatches, MasksOfViewsLieWhereTheGeometrySays) {
  write_volumes(own_.path() / "d", GetParam(), alone_);
  const data::Dataset dataset = data::Dataset::open(own_.path() / "d", "train");
  ViewConfig config;
  config.preset = "table";
  config.policy.global = {"volume_crop", "flip", "flip_depth", "axial_affine degrees=30"};
  config.multi_crop.global_size = 7;  // deeper than the volume
  const auto views = training_views(config, dataset.description(), Normalisation::dataset, 5, 0, 1);
  data::BatchColumns columns;
  columns.fields = {"organs"};
  columns.geometry = true;
  Workers workers(2);
  const std::vector<data::Group> groups{{0, 0, {0, 1, 2, 3}}};
  const data::Batch batch = make_batch(dataset, groups, columns, *views, workers);
  std::int64_t outside = 0, marked = 0;
  for (std::int64_t i = 0; i < 4; ++i) {
    std::vector<std::byte> mask;
    dataset.read_field(i, "organs", mask);
    const at::Tensor to_volume = batch.geometry[0][i], labels = batch.columns.at("organs/0").values[i];
    for (std::int64_t at = 0; at < 7 * 7 * 7; ++at) {
      const std::int64_t z = at / 49, y = at / 7 % 7, x = at % 7;
      const at::Tensor place = to_volume.mv(at::tensor(
          {static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5, static_cast<double>(z) + 0.5, 1.0},
          at::kDouble));
      const auto along = [&](std::int64_t axis) {
        return static_cast<std::int64_t>(std::floor(place[axis].item<double>()));
      };
      const bool inside = along(0) >= 0 && along(0) < kWidth && along(1) >= 0 && along(1) < kHeight &&
                          along(2) >= 0 && along(2) < kDepth;
      const int expected =
          inside ? std::to_integer<int>(
                       mask[static_cast<std::size_t>((along(2) * kHeight + along(1)) * kWidth + along(0))])
                 : 255;
      ASSERT_EQ(labels[z][y][x].item<int>(), expected) << i << ": " << z << ", " << y << ", " << x;
      outside += inside ? 0 : 1;
      marked += expected == 1 ? 1 : 0;
    }
  }
  EXPECT_GT(outside, 4 * 49);
  EXPECT_GT(marked, 20);
}

INSTANTIATE_TEST_SUITE_P(Codecs, VolumeBatches, ::testing::Values(data::Codec::raw, data::Codec::zstd),
                         [](const auto& tested) {
                           return std::string(tested.param == data::Codec::raw ? "raw" : "zstd");
                         });

}  // namespace
}  // namespace cohort::augment

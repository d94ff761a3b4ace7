#pragma once
// Datasets with fields of every kind, whose values tell their row.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/random.h"
#include "cohort/data/batch.h"
#include "cohort/data/dataset.h"
#include "cohort/data/dataset_writer.h"
#include "cohort/data/image_codec.h"
#include "cohort/data/view_maker.h"

namespace cohort::testing {

template <class Value>
std::vector<std::byte> bytes_of(std::span<const Value> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}
template <class Value>
std::vector<std::byte> bytes_of(std::initializer_list<Value> values) {
  return bytes_of(std::span<const Value>(values.begin(), values.size()));
}

/// Raw, each called like its kind.
inline std::vector<data::Field> one_of_every_kind() {
  using enum data::FieldKind;
  using enum data::ValueType;
  const auto raw = data::Codec::raw;
  return {{"image", image, u16, {2, 6, 5}},
          {"mask", mask, u8, {6, 5}, raw, "", {"background", "cell", "nucleus"}},
          {"boxes", boxes, f32, {-1, 5}, raw, "", {"cat", "dog"}},
          {"points", points, f32, {-1, 3}},
          {"tokens", tokens, i32, {-1}},
          {"text", text, u8, {-1}},
          {"numbers", numbers, f32, {3}, raw, "", {"age", "height", "weight"}},
          {"flags", flags, u8, {9}, raw, "", {"a", "b", "c", "d", "e", "f", "g", "h", "i"}},
          {"vector", vector, f32, {8}}};
}

/// Every kind in every codec that can keep it: "mask-png" …
inline std::vector<data::Field> fields_in_all_codecs() {
  std::vector<data::Field> fields;
  for (data::Field field : one_of_every_kind()) {
    const std::string kind = field.name;
    for (const data::Codec codec :
         {data::Codec::raw, data::Codec::png, data::Codec::jpeg, data::Codec::zstd}) {
      field.codec = codec;
      field.name = fmt::format("{}-{}", kind, data::codec_name(codec));
      if (problem_of(field).empty()) fields.push_back(field);
    }
  }
  return fields;
}

/// Values of the field's kind that depend on `row` alone, the same in every codec. Rows that differ have 0 …
/// 4 entries.
inline std::vector<std::byte> row_of(const data::Field& field, std::int64_t row) {
  RandomStream random(
      {.seed = static_cast<std::uint64_t>(field.kind) + 3, .purpose = Purpose::synthetic, .sample = row});
  const std::int64_t entries = field.differs() ? row % 5 : 1;
  std::vector<std::byte> bytes;
  const auto put = [&](auto value) {
    for (const std::byte byte : std::as_bytes(std::span(&value, 1))) bytes.push_back(byte);
  };
  const std::int64_t values = entries * field.entry_bytes() / data::value_type_bytes(field.type);
  for (std::int64_t i = 0; i < values; ++i) {
    switch (field.kind) {
      case data::FieldKind::image:
        put(static_cast<std::uint16_t>(random.below(65536)));
        break;
      case data::FieldKind::mask:
        put(static_cast<std::uint8_t>(random.below(4) == 3 ? 255 : random.below(3)));
        break;
      case data::FieldKind::boxes:  // left and top below 2, right and bottom above 3
        put(i % 5 == 4 ? static_cast<float>(random.below(3)) - 1.0F
                       : static_cast<float>(random.below(200)) / 100.0F + (i % 5 < 2 ? 0.0F : 3.01F));
        break;
      case data::FieldKind::points:
        put(i % field.shape.back() == field.shape.back() - 1
                ? static_cast<float>(random.below(3)) - 1.0F
                : static_cast<float>(random.below(500)) / 100.0F);
        break;
      case data::FieldKind::tokens:
        put(static_cast<std::int32_t>(random.below(30000)));
        break;
      case data::FieldKind::text:
        put(static_cast<char>('a' + random.below(26)));
        break;
      case data::FieldKind::flags:
        put(static_cast<std::uint8_t>(random.below(3) == 2 ? 255 : random.below(2)));
        break;
      case data::FieldKind::numbers:
        put(random.below(4) == 0 ? NAN : static_cast<float>(random.normal()));
        break;
      case data::FieldKind::vector:
        put(static_cast<float>(random.normal()));
        break;
    }
  }
  return bytes;
}

constexpr std::int64_t kFieldRows = 23;

/// The row given to write_dataset() that has the id.
inline std::int64_t source_row(const std::string& id) {
  return std::stoll(id);
}

/// Collective. kFieldRows rows of two contexts in several shards, half of them in the split test.
template <class Values>
void write_dataset_with_fields(const std::filesystem::path& folder, const std::vector<data::Field>& fields,
                               data::Codec codec, comm::Communicator& ranks, const Values& values) {
  data::Description description;
  description.name = "fields";
  description.images = {data::PixelType::u8, 1, 64, 64};
  description.codec = codec;
  description.channels = {"gray"};
  description.contexts = {{"site", {"x", "y"}}};
  description.fields = fields;
  description.splits = {{"train", {}}, {"test", {}}};
  std::vector<data::Row> rows;
  for (std::int32_t i = 0; i < kFieldRows; ++i)
    rows.push_back({fmt::format("{:02}", i), i % 4 == 3, {}, {i % 2}});
  data::PixelSource source([](std::int64_t index, std::span<std::byte> out) {
    RandomStream random({.seed = 1, .purpose = Purpose::synthetic, .sample = index});
    for (std::byte& value : out) value = static_cast<std::byte>(random.below(256));
  });
  source.field = values;
  (void)data::write_dataset(folder, description, rows, source, {{std::uint64_t{1} << 17}}, ranks);
}

inline void write_dataset_with_fields(const std::filesystem::path& folder,
                                      const std::vector<data::Field>& fields, data::Codec codec,
                                      comm::Communicator& ranks) {
  write_dataset_with_fields(folder, fields, codec, ranks,
                            [&](std::size_t field, std::int64_t row) { return row_of(fields[field], row); });
}

/// One view: the pixels of u8 images as they are.
class PlainViews final : public data::ViewMaker {
 public:
  explicit PlainViews(const data::ImageLayout& layout) : layout_(layout) {}
  [[nodiscard]] std::vector<data::ViewShape> shapes() const override {
    return {{layout_.channels, layout_.height, layout_.width}};
  }
  void make(std::span<const std::byte> image, data::ViewKey /*key*/,
            std::span<const std::span<float>> views) const override {
    for (std::size_t i = 0; i < image.size(); ++i)
      views[0][i] = static_cast<float>(std::to_integer<int>(image[i]));
  }
  [[nodiscard]] data::ViewGeometry geometry(std::span<const std::byte> /*recipe*/,
                                            std::size_t /*view*/) const override {
    const auto height = static_cast<double>(layout_.height), width = static_cast<double>(layout_.width);
    return {{}, {{0, 0}, {width, 0}, {width, height}, {0, height}}};
  }

 private:
  data::ImageLayout layout_;
};

/// Whether a column has these rows of the dataset, one after the other.
inline void expect_rows(const data::Column& column, const data::Field& field, const data::Dataset& dataset,
                        std::span<const std::int64_t> rows) {
  std::vector<std::byte> expected, row;
  std::vector<std::int64_t> offsets{0};
  for (const std::int64_t number : rows) {
    dataset.read_field(number, field.name, row);
    expected.insert(expected.end(), row.begin(), row.end());
    offsets.push_back(offsets.back() + std::ssize(row) / field.entry_bytes());
  }
  if (field.type == data::ValueType::u16) {  // wider in batches
    const at::Tensor values = column.values.contiguous();
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      std::uint16_t value = 0;
      std::memcpy(&value, expected.data() + 2 * i, 2);
      ASSERT_EQ(values.const_data_ptr<std::int32_t>()[i], value);
    }
    return;
  }
  const at::Tensor values = column.values.contiguous();
  ASSERT_EQ(values.nbytes(), expected.size()) << field.name;
  EXPECT_EQ(std::memcmp(values.const_data_ptr(), expected.data(), expected.size()), 0) << field.name;
  ASSERT_EQ(column.offsets.defined(), field.differs());
  if (field.differs()) {
    EXPECT_TRUE(column.offsets.equal(at::tensor(offsets, at::kLong))) << field.name;
    EXPECT_EQ(values.size(0), offsets.back());
  } else {
    EXPECT_EQ(values.size(0), std::ssize(rows));
  }
}

}  // namespace cohort::testing

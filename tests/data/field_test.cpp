// Fields: what a row has beside its image, through every codec.
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "cohort/data/image_codec.h"

#include "data/field_codec.h"
#include "support/field_rows.h"

namespace cohort::data {
namespace {

using testing::bytes_of;

TEST(Field, EveryKindIsKeptRawAndByZstdAndPicturesAsPng) {
  std::map<FieldKind, std::string> codecs;
  for (const Field& field : testing::fields_in_all_codecs())
    codecs[field.kind] += std::string(codec_name(field.codec)) + " ";
  ASSERT_EQ(codecs.size(), field_kind_names().size());
  for (const auto& [kind, names] : codecs) {
    const bool is_picture = kind == FieldKind::image || kind == FieldKind::mask;
    EXPECT_EQ(names, is_picture ? "raw png zstd " : "raw zstd ") << field_kind_name(kind);
  }
}

TEST(Field, EveryCodecGivesTheValuesBack) {
  for (const Field& field : testing::fields_in_all_codecs()) {
    for (std::int64_t row = 0; row < 7; ++row) {
      const std::vector<std::byte> values = testing::row_of(field, row);
      ASSERT_EQ(problem_of_values(field, values), "") << field.name;
      std::vector<std::byte> read{std::byte{1}};
      decode_field(field, encode_field(field, values), read);
      EXPECT_TRUE(read == values) << field.name << ", row " << row;
    }
  }
}

TEST(Field, SaysWhatContradicts) {
  const auto problem = [](Field field) { return problem_of(field); };
  EXPECT_EQ(problem({"m", FieldKind::mask, ValueType::u8, {4, 5}}), "");
  EXPECT_EQ(problem({"m", FieldKind::mask, ValueType::f32, {4, 5}}),
            "has type f32, which no field of kind mask has");
  EXPECT_EQ(problem({"m", FieldKind::mask, ValueType::u8, {4}}),
            "has a shape that no field of kind mask has");
  EXPECT_EQ(problem({"m", FieldKind::mask, ValueType::u8, {-1, 5}}),
            "has a shape that no field of kind mask has");
  EXPECT_EQ(problem({"m", FieldKind::mask, ValueType::i32, {3, 4, 5}, Codec::zstd}), "");
  EXPECT_EQ(problem({"m", FieldKind::mask, ValueType::u8, {3, 4, 5}, Codec::png}),
            "has codec png, which cannot keep kind mask of type u8");
  EXPECT_EQ(problem({"m", FieldKind::mask, ValueType::i32, {4, 5}, Codec::png}),
            "has codec png, which cannot keep kind mask of type i32");
  EXPECT_EQ(problem({"b", FieldKind::boxes, ValueType::f32, {-1, 4}}),
            "has a shape that no field of kind boxes has");
  EXPECT_EQ(problem({"n", FieldKind::numbers, ValueType::f32, {2}, Codec::raw, "", {"a"}}),
            "has 1 names for 2 values");
  EXPECT_EQ(problem({"t", FieldKind::text, ValueType::u8, {-1}, Codec::raw, "", {"a"}}),
            "has names, which no field of kind text has");
  EXPECT_EQ(problem({"n", FieldKind::numbers, ValueType::f32, {1}, Codec::raw, "i", {"a"}}),
            "is of another field, which no field of kind numbers is");
  EXPECT_EQ(problem({"m", FieldKind::mask, ValueType::u8, {4, 5}, Codec::raw, "i"}), "");
  EXPECT_EQ(problem({"i", FieldKind::image, ValueType::u8, {1 << 20, 1 << 20, 1 << 20}}),
            "asks for rows of more than 4294967296 bytes");
  const Tokenization made{"byte-pair", 1, 9, 4};
  EXPECT_EQ(problem({"w", FieldKind::tokens, ValueType::i32, {-1}, Codec::raw, "t", {}, made}), "");
  EXPECT_EQ(problem({"t", FieldKind::text, ValueType::u8, {-1}, Codec::raw, "", {}, made}),
            "has a tokenization, which no field of kind text has");
}

TEST(Field, SaysWhatIsWrongWithValues) {
  const Field boxes{"b", FieldKind::boxes, ValueType::f32, {-1, 5}, Codec::raw, "", {"cat"}};
  EXPECT_EQ(problem_of_values(boxes, bytes_of<float>({0, 0, 1, 1, 0})), "");
  EXPECT_EQ(problem_of_values(boxes, bytes_of<float>({0, 0, 1, 1, -1})), "");
  EXPECT_EQ(problem_of_values(boxes, bytes_of<float>({0, 0, 1, 1, 1})), "holds class 1, of 1 that are named");
  EXPECT_EQ(problem_of_values(boxes, bytes_of<float>({0, 0, 1, 1, 0.5})),
            "holds class 0.5, of 1 that are named");
  EXPECT_EQ(problem_of_values(boxes, bytes_of<float>({0, NAN, 1, 1, 0})), "holds a value that is not finite");
  EXPECT_EQ(problem_of_values(boxes, bytes_of<float>({0, 0, 1, 1})), "has 16 bytes, not a multiple of 20");
  const Field mask{"m", FieldKind::mask, ValueType::u8, {1, 2}, Codec::raw, "", {"a", "b"}};
  EXPECT_EQ(problem_of_values(mask, bytes_of<std::uint8_t>({1, 255})), "");
  EXPECT_EQ(problem_of_values(mask, bytes_of<std::uint8_t>({0, 2})), "holds class 2, of 2 that are named");
  EXPECT_EQ(problem_of_values(mask, bytes_of<std::uint8_t>({0})), "has 1 bytes, not 2");
  const Field text{"t", FieldKind::text, ValueType::u8, {-1}};
  EXPECT_EQ(problem_of_values(text, {}), "");
  EXPECT_EQ(problem_of_values(text, bytes_of<std::uint8_t>({0xC3})), "is not UTF-8");
  const Field flags{"f", FieldKind::flags, ValueType::u8, {1}, Codec::raw, "", {"x"}};
  EXPECT_EQ(problem_of_values(flags, bytes_of<std::uint8_t>({2})), "holds the flag 2, none of 0, 1, 255");
  const Tokenization made{"byte-pair", 1, 9, 4};
  const Field tokens{"w", FieldKind::tokens, ValueType::i32, {-1}, Codec::raw, "t", {}, made};
  EXPECT_EQ(problem_of_values(tokens, bytes_of<std::int32_t>({0, 8, 8, 8})), "");
  EXPECT_EQ(problem_of_values(tokens, bytes_of<std::int32_t>({0, 8, 8, 8, 0})), "has 5 tokens, of at most 4");
  EXPECT_EQ(problem_of_values(tokens, bytes_of<std::int32_t>({0, 9})), "holds token 9, of 9");
  EXPECT_EQ(problem_of_values(tokens, bytes_of<std::int32_t>({-1})), "holds token -1, of 9");
}

}  // namespace
}  // namespace cohort::data

#include "data/field_codec.h"
#include "fuzz.h"

// The first byte chooses the field, the rest is a row of it as a shard keeps it.
void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  using namespace data;
  static const std::vector<Field> fields{
      {"mask", FieldKind::mask, ValueType::u8, {6, 5}, Codec::png},
      {"image", FieldKind::image, ValueType::u16, {2, 6, 5}, Codec::png},
      {"instances", FieldKind::mask, ValueType::i32, {6, 5}, Codec::zstd, "", {"a", "b"}},
      {"boxes", FieldKind::boxes, ValueType::f32, {-1, 5}, Codec::zstd, "", {"a"}},
      {"points", FieldKind::points, ValueType::f32, {-1, 3}},
      {"text", FieldKind::text, ValueType::u8, {-1}, Codec::zstd},
      {"flags", FieldKind::flags, ValueType::u8, {4}, Codec::raw, "", {"a", "b", "c", "d"}}};
  if (content.empty()) return;
  const Field& field = fields[content.front() % fields.size()];
  std::vector<std::byte> values;
  decode_field(field, std::as_bytes(content.subspan(1)), values);
  static_cast<void>(problem_of_values(field, values));
}

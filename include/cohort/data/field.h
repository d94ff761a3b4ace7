#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::data {

/// How the values of an image or field are kept in a shard; see image_codec.h.
enum class Codec { raw, png, jpeg, zstd };

/// Of the values of a field.
enum class ValueType { u8, u16, i32, i64, f32 };

/// "u8", "u16", "i32", "i64", "f32".
std::string_view value_type_name(ValueType type) noexcept;
std::optional<ValueType> value_type_of(std::string_view name) noexcept;
/// Bytes of one value.
std::int64_t value_type_bytes(ValueType type) noexcept;

/// What the values of a field are; the shape is that of a row, -1 a length that differs by row.
///
/// kind     type          shape      values
/// image    u8, u16, f32  [C, H, W]  another image, or a volume [C, D, H, W]
/// mask     u8, i32       [H, W]     class or instance of every pixel, of a volume [D, H, W]; 255 (u8) and
///                                   -1 (i32): not known
/// boxes    f32           [-1, 5]    x0, y0, x1, y1 in pixels of the stored image from its upper left corner,
///                                   class, -1: not known
/// points   f32           [-1, 3]    x, y, class
/// tokens   i32           [-1], [L]  numbers of a vocabulary; where `of` names tokens: of how many of
///                                   them each sentence consists
/// text     u8            [-1]       UTF-8
/// numbers  f32           [L]        measurements; NaN: not known
/// flags    u8            [L]        0: no, 1: yes, 255: not known, of labels that do not exclude each other
/// vector   f32           [L]        features
enum class FieldKind { image, mask, boxes, points, tokens, text, numbers, flags, vector };

/// "image", "mask" …
std::string_view field_kind_name(FieldKind kind) noexcept;
std::optional<FieldKind> field_kind_of(std::string_view name) noexcept;
std::vector<std::string> field_kind_names();

/// How texts became the numbers of a field of kind tokens: those that read them can tell whether they have
/// the same vocabulary.
struct Tokenization {
  std::string tokenizer;            ///< text::TokenizerOptions::tokenizer
  std::uint64_t vocabulary = 0;     ///< text::vocabulary_checksum()
  std::int64_t size = 0;            ///< text::Tokenizer::size(): all numbers are below it
  std::int64_t maximal_length = 0;  ///< numbers of a text, at most, begin and end included
  friend bool operator==(const Tokenization&, const Tokenization&) = default;
};

/// Something that every row of a dataset has beside its image, labels and contexts.
struct Field {
  std::string name;
  FieldKind kind = FieldKind::numbers;
  ValueType type = ValueType::f32;
  std::vector<std::int64_t> shape;  ///< of a row; the first may be -1: its length differs by row
  Codec codec = Codec::raw;
  std::string of{};  ///< mask, boxes, points: field whose pixels they tell of; empty: the image of the
                     ///< dataset. tokens: the text that they were made of
  std::vector<std::string> names{};  ///< of classes of masks, boxes and points, of numbers and of flags
  std::optional<Tokenization> tokenization{};  ///< of tokens that a conversion made of a text

  /// Whether rows have different lengths.
  [[nodiscard]] bool differs() const noexcept { return !shape.empty() && shape.front() < 0; }
  /// Bytes of a whole row; of one that differs, of an entry of it: a box, a token.
  [[nodiscard]] std::int64_t entry_bytes() const noexcept;
  friend bool operator==(const Field&, const Field&) = default;
};

/// What the classes of a mask, of boxes or points, or the values of measurements or flags are called: their
/// names, or their numbers where measurements and flags have none. Of other fields: nothing.
std::vector<std::string> value_names(const Field& field);

/// What contradicts in `field` itself: a type or shape that its kind does not have, a codec that cannot keep
/// it, names of another number. Empty: nothing does.
std::string problem_of(const Field& field);

/// What is wrong with the values of a row, [bytes]: another length, a class without a name, a text that is
/// not UTF-8. Empty: nothing is.
std::string problem_of_values(const Field& field, std::span<const std::byte> values);

}  // namespace cohort::data

#include "cohort/data/field.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include <fmt/format.h>

#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/data/image_codec.h"

#include "data/field_codec.h"

namespace cohort::data {
namespace {

constexpr std::array<std::string_view, 5> kTypeNames{"u8", "u16", "i32", "i64", "f32"};
constexpr std::array<std::int64_t, 5> kTypeBytes{1, 2, 4, 8, 4};
constexpr std::array<std::string_view, 9> kKindNames{"image", "mask",    "boxes", "points", "tokens",
                                                     "text",  "numbers", "flags", "vector"};
constexpr std::int64_t kMostRowBytes = std::int64_t{1} << 32;

template <class Enum, std::size_t kSize>
std::optional<Enum> enum_of(const std::array<std::string_view, kSize>& names,
                            std::string_view name) noexcept {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

/// What a kind can be of; `shapes`: -1 a length that differs, 0 any other length.
struct Form {
  std::vector<ValueType> types;
  std::vector<std::vector<std::int64_t>> shapes;
};

Form form_of(FieldKind kind) {
  using enum ValueType;
  switch (kind) {
    case FieldKind::image:
      return {{u8, u16, f32}, {{0, 0, 0}, {0, 0, 0, 0}}};
    case FieldKind::mask:
      return {{u8, i32}, {{0, 0}, {0, 0, 0}}};
    case FieldKind::boxes:
      return {{f32}, {{-1, 5}}};
    case FieldKind::points:
      return {{f32}, {{-1, 3}}};
    case FieldKind::tokens:
      return {{i32}, {{-1}, {0}}};
    case FieldKind::text:
      return {{u8}, {{-1}}};
    case FieldKind::flags:
      return {{u8}, {{0}}};
    case FieldKind::numbers:
    case FieldKind::vector:
      break;
  }
  return {{f32}, {{0}}};
}

bool has_form(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& form) {
  return std::equal(
      shape.begin(), shape.end(), form.begin(), form.end(),
      [](std::int64_t size, std::int64_t wanted) { return wanted == 0 ? size > 0 : size == wanted; });
}

/// As far as a row may be large: products do not overflow.
bool is_too_large(const Field& field) {
  auto bytes = static_cast<double>(value_type_bytes(field.type));
  for (const std::int64_t size : field.shape) bytes *= static_cast<double>(std::max<std::int64_t>(size, 1));
  return bytes > static_cast<double>(kMostRowBytes);
}

bool can_keep(Codec codec, const Field& field) {
  if (codec == Codec::raw || codec == Codec::zstd) return true;
  const bool is_picture = (field.kind == FieldKind::image && field.shape.size() == 3) ||
                          (field.kind == FieldKind::mask && field.shape.size() == 2);
  return codec == Codec::png && is_picture && (field.type == ValueType::u8 || field.type == ValueType::u16);
}

std::string problem_of_names(const Field& field) {
  const auto names = std::ssize(field.names);
  const bool one_each = field.kind == FieldKind::numbers || field.kind == FieldKind::flags;
  if (one_each && names != field.shape.front())
    return fmt::format("has {} names for {} values", names, field.shape.front());
  const bool classes = one_each || field.kind == FieldKind::mask || field.kind == FieldKind::boxes ||
                       field.kind == FieldKind::points;
  if (!classes && names > 0)
    return fmt::format("has names, which no field of kind {} has", field_kind_name(field.kind));
  return "";
}

std::string problem_of_reference(const Field& field) {
  const bool has_one = field.kind == FieldKind::mask || field.kind == FieldKind::boxes ||
                       field.kind == FieldKind::points || field.kind == FieldKind::tokens;
  if (field.of.empty() || has_one) return "";
  return fmt::format("is of another field, which no field of kind {} is", field_kind_name(field.kind));
}

std::string problem_of_tokenization(const Field& field) {
  if (!field.tokenization) return "";
  if (field.kind != FieldKind::tokens)
    return fmt::format("has a tokenization, which no field of kind {} has", field_kind_name(field.kind));
  const bool fits = field.tokenization->size > 0 && field.tokenization->maximal_length > 0;
  return fits ? "" : "has a tokenization without a size or a maximal length";
}

template <class Value, class Check>
std::string first_problem(std::span<const std::byte> bytes, const Check& check) {
  for (std::size_t at = 0; at + sizeof(Value) <= bytes.size(); at += sizeof(Value)) {
    Value value;
    std::memcpy(&value, bytes.data() + at, sizeof(Value));
    if (std::string problem = check(value, at / sizeof(Value)); !problem.empty()) return problem;
  }
  return "";
}

std::string problem_of_class(const Field& field, double value) {
  const auto classes = static_cast<double>(field.names.size());
  const bool known = value >= -1 && value == std::floor(value) && (field.names.empty() || value < classes);
  return known ? "" : fmt::format("holds class {}, of {} that are named", value, field.names.size());
}

std::string problem_of_mask(const Field& field, std::span<const std::byte> values) {
  if (field.names.empty()) return "";
  if (field.type == ValueType::u8)
    return first_problem<std::uint8_t>(values, [&](std::uint8_t value, std::size_t) {
      return value == 255 ? "" : problem_of_class(field, value);
    });
  return first_problem<std::int32_t>(
      values, [&](std::int32_t value, std::size_t) { return problem_of_class(field, value); });
}

/// Rows of places in an image, the last value of which is a class.
std::string problem_of_places(const Field& field, std::span<const std::byte> values) {
  const auto width = static_cast<std::size_t>(field.shape.back());
  return first_problem<float>(values, [&](float value, std::size_t at) -> std::string {
    if (!std::isfinite(value)) return "holds a value that is not finite";
    return at % width + 1 == width ? problem_of_class(field, static_cast<double>(value)) : "";
  });
}

std::string problem_of_flags(std::span<const std::byte> values) {
  return first_problem<std::uint8_t>(values, [](std::uint8_t value, std::size_t) -> std::string {
    return value <= 1 || value == 255 ? "" : fmt::format("holds the flag {}, none of 0, 1, 255", value);
  });
}

std::string problem_of_tokens(const Field& field, std::span<const std::byte> values) {
  if (!field.tokenization) return "";
  const auto& [tokenizer, vocabulary, size, most] = *field.tokenization;
  const std::int64_t count = std::ssize(values) / value_type_bytes(field.type);
  if (count > most) return fmt::format("has {} tokens, of at most {}", count, most);
  return first_problem<std::int32_t>(values, [size = size](std::int32_t token, std::size_t) -> std::string {
    return token >= 0 && token < size ? "" : fmt::format("holds token {}, of {}", token, size);
  });
}

std::string problem_of_length(const Field& field, std::int64_t bytes) {
  const std::int64_t entry = field.entry_bytes();
  const bool fits = field.differs()
                        ? bytes % entry == 0 && bytes <= static_cast<std::int64_t>(kMostDifferingBytes)
                        : bytes == entry;
  return fits ? ""
              : fmt::format("has {} bytes, {}{}", bytes, field.differs() ? "not a multiple of " : "not ",
                            entry);
}

}  // namespace

std::string_view value_type_name(ValueType type) noexcept {
  return kTypeNames.at(static_cast<std::size_t>(type));
}
std::optional<ValueType> value_type_of(std::string_view name) noexcept {
  return enum_of<ValueType>(kTypeNames, name);
}
std::int64_t value_type_bytes(ValueType type) noexcept {
  return kTypeBytes.at(static_cast<std::size_t>(type));
}

std::string_view field_kind_name(FieldKind kind) noexcept {
  return kKindNames.at(static_cast<std::size_t>(kind));
}
std::optional<FieldKind> field_kind_of(std::string_view name) noexcept {
  return enum_of<FieldKind>(kKindNames, name);
}
std::vector<std::string> field_kind_names() {
  return {kKindNames.begin(), kKindNames.end()};
}

std::int64_t Field::entry_bytes() const noexcept {
  const auto first = shape.begin() + (differs() ? 1 : 0);
  return std::accumulate(first, shape.end(), value_type_bytes(type), std::multiplies<>());
}

std::vector<std::string> value_names(const Field& field) {
  const bool is_counted = field.kind == FieldKind::numbers || field.kind == FieldKind::flags;
  if (!field.names.empty() || !is_counted) return field.names;
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < field.shape.front(); ++i) names.push_back(std::to_string(i));
  return names;
}

std::string problem_of(const Field& field) {
  const Form form = form_of(field.kind);
  const std::string_view kind = field_kind_name(field.kind);
  if (std::find(form.types.begin(), form.types.end(), field.type) == form.types.end())
    return fmt::format("has type {}, which no field of kind {} has", value_type_name(field.type), kind);
  const bool fits = std::any_of(form.shapes.begin(), form.shapes.end(),
                                [&](const auto& shape) { return has_form(field.shape, shape); });
  if (!fits) return fmt::format("has a shape that no field of kind {} has", kind);
  if (is_too_large(field)) return fmt::format("asks for rows of more than {} bytes", kMostRowBytes);
  if (!can_keep(field.codec, field))
    return fmt::format("has codec {}, which cannot keep kind {} of type {}", codec_name(field.codec), kind,
                       value_type_name(field.type));
  if (std::string problem = problem_of_names(field); !problem.empty()) return problem;
  if (std::string problem = problem_of_reference(field); !problem.empty()) return problem;
  return problem_of_tokenization(field);
}

std::string problem_of_values(const Field& field, std::span<const std::byte> values) {
  if (std::string problem = problem_of_length(field, std::ssize(values)); !problem.empty()) return problem;
  const void* start = values.data();
  switch (field.kind) {
    case FieldKind::mask:
      return problem_of_mask(field, values);
    case FieldKind::boxes:
    case FieldKind::points:
      return problem_of_places(field, values);
    case FieldKind::text:
      return is_utf8({static_cast<const char*>(start), values.size()}) ? "" : "is not UTF-8";
    case FieldKind::flags:
      return problem_of_flags(values);
    case FieldKind::tokens:
      return problem_of_tokens(field, values);
    default:
      return "";
  }
}

}  // namespace cohort::data

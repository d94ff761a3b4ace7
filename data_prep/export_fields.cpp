#include "data_prep/export_fields.h"

#include <array>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "cohort/core/text.h"
#include "cohort/data/image_codec.h"
#include "cohort/data/pixel_type.h"

#include "support/json.h"

namespace cohort::data_prep {
namespace {

using data::FieldKind;

template <class Value>
std::vector<Value> values_in(std::span<const std::byte> bytes) {
  std::vector<Value> values(bytes.size() / sizeof(Value));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(Value));
  return values;
}

/// JSON, each place with its class by name where it has one.
std::string places_text(const data::Field& field, std::span<const std::byte> bytes) {
  const std::vector<float> values = values_in<float>(bytes);
  const auto width = static_cast<std::size_t>(field.shape.back());
  std::vector<std::string> places;
  for (std::size_t at = 0; at < values.size(); at += width) {
    std::string place;
    for (std::size_t i = 0; i + 1 < width; ++i) place += fmt::format("{},", values[at + i]);
    const auto number = static_cast<std::int64_t>(values[at + width - 1]);
    const bool is_named = number >= 0 && number < std::ssize(field.names);
    place +=
        is_named ? Json(field.names[static_cast<std::size_t>(number)]).dump() : fmt::format("{}", number);
    places.push_back("[" + place + "]");
  }
  return "[" + join(places, ",") + "]";
}

std::vector<std::string> flag_cells(std::span<const std::byte> bytes) {
  std::vector<std::string> cells;
  for (const std::byte flag : bytes)
    cells.emplace_back(flag == std::byte{255} ? "" : (flag == std::byte{1} ? "1" : "0"));
  return cells;
}

std::vector<std::string> number_cells(std::span<const std::byte> bytes) {
  std::vector<std::string> cells;
  for (const float value : values_in<float>(bytes))
    cells.push_back(std::isnan(value) ? "" : fmt::format("{}", value));
  return cells;
}

std::vector<std::string> token_words(std::span<const std::byte> bytes) {
  std::vector<std::string> words;
  for (const std::int32_t token : values_in<std::int32_t>(bytes)) words.push_back(fmt::format("{}", token));
  return words;
}

/// A mask is an image of one channel.
data::ImageLayout picture_layout(const data::Field& field) {
  const data::PixelType type = *data::pixel_type_of(data::value_type_name(field.type));
  if (field.kind == FieldKind::mask) return {type, 1, field.shape[0], field.shape[1]};
  return {type, field.shape[0], field.shape[1], field.shape[2]};
}

}  // namespace

bool is_exported_as_files(const data::Field& field) {
  return field.kind == FieldKind::image || field.kind == FieldKind::mask;
}

std::string file_format_of(const data::Field& field) {
  const bool is_mask = field.kind == FieldKind::mask;
  const bool is_viewable = is_mask ? field.shape.size() == 2
                                   : field.shape.size() == 3 && (field.shape[0] == 1 || field.shape[0] == 3);
  const bool is_small = field.type == data::ValueType::u8 || field.type == data::ValueType::u16;
  return is_viewable && is_small ? "png" : "npy";
}

std::string file_content(const data::Field& field, std::span<const std::byte> values) {
  if (file_format_of(field) == "png") {
    const auto png = data::encode_image(data::Codec::png, picture_layout(field), 0, values);
    const void* start = png.data();
    return {static_cast<const char*>(start), png.size()};
  }
  constexpr std::array kTypes{"|u1", "<u2", "<i4", "<i8", "<f4"};
  return npy_file(kTypes.at(static_cast<std::size_t>(field.type)), field.shape, values);
}

std::vector<std::string> field_columns(const data::Field& field, std::set<std::string>& taken) {
  const bool one_each = field.kind == FieldKind::numbers || field.kind == FieldKind::flags;
  std::vector<std::string> columns = one_each ? field.names : std::vector<std::string>{field.name};
  for (std::string& column : columns) {
    if (!taken.insert(column).second) taken.insert(column = field.name + "." + column);
  }
  return columns;
}

std::vector<std::string> field_cells(const data::Field& field, std::span<const std::byte> values) {
  if (field.kind == FieldKind::flags) return flag_cells(values);
  if (field.kind == FieldKind::numbers) return number_cells(values);
  if (field.kind == FieldKind::vector) return {join(number_cells(values), " ")};
  if (field.kind == FieldKind::tokens) return {join(token_words(values), " ")};
  if (field.kind != FieldKind::text) return {places_text(field, values)};
  const void* start = values.data();
  return {std::string(static_cast<const char*>(start), values.size())};
}

std::string npy_file(const std::string& type, const std::vector<std::int64_t>& shape,
                     std::span<const std::byte> values) {
  std::string sizes;
  for (const std::int64_t size : shape) sizes += fmt::format("{}, ", size);
  sizes.resize(sizes.size() - 2);
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, sizes);
  constexpr std::size_t kBefore = 10, kAlignment = 64;
  const std::size_t whole = (kBefore + header.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  header.resize(whole - kBefore - 1, ' ');
  header += '\n';
  std::string text = "\x93NUMPY";
  text += {'\x01', '\x00', static_cast<char>(header.size() & 0xFFU), static_cast<char>(header.size() >> 8U)};
  const void* start = values.data();
  return text + header + std::string(static_cast<const char*>(start), values.size());
}

}  // namespace cohort::data_prep

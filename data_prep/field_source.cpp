#include "data_prep/field_source.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"
#include "cohort/data/image_codec.h"
#include "cohort/data/pixel_type.h"

#include "data_prep/field_cells.h"
#include "data_prep/image_file.h"
#include "data_prep/npz.h"
#include "data_prep/options.h"

namespace cohort::data_prep {
namespace {

using data::FieldKind;
using data::ValueType;

template <class Value>
std::vector<std::byte> stored_bytes(std::span<const Value> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

template <class Value>
void append(const std::string& bytes, std::vector<std::int32_t>& values, const std::string& where) {
  for (std::size_t at = 0; at + sizeof(Value) <= bytes.size(); at += sizeof(Value)) {
    Value value;
    std::memcpy(&value, bytes.data() + at, sizeof(Value));
    if (std::cmp_greater(value, INT32_MAX) || std::cmp_less(value, INT32_MIN))
      fail_decoding(fmt::format("the mask holds {}, which does not fit in 32 bits", value), where);
    values.push_back(static_cast<std::int32_t>(value));
  }
}

Mask mask_of_array(const std::string& content, const std::string& where) {
  const Array array = parse_npy(content, where, where);
  const std::size_t dimensions = array.shape.size();
  if (dimensions != 2 && dimensions != 3)
    fail_decoding(
        fmt::format("an array of {} dimensions is no mask: [H, W] is, or [D, H, W] of a volume", dimensions),
        where);
  const bool is_small = array.type == "u1" || array.type == "b1";
  Mask mask{array.shape[dimensions - 2], array.shape.back(), is_small ? ValueType::u8 : ValueType::i32, {}};
  if (dimensions == 3) mask.depth = array.shape.front();
  if (is_small)
    append<std::uint8_t>(array.bytes, mask.values, where);
  else if (array.type == "u2")
    append<std::uint16_t>(array.bytes, mask.values, where);
  else if (array.type == "i4")
    append<std::int32_t>(array.bytes, mask.values, where);
  else if (array.type == "i8")
    append<std::int64_t>(array.bytes, mask.values, where);
  else
    fail_decoding(fmt::format("an array of type {} is no mask: integers are", array.type), where);
  if (mask.values.empty()) fail_decoding("the array is empty", where);
  return mask;
}

/// A gray mask that was saved in colour would have numbers of 65,793 and more.
void refuse_gray_colours(const Image& image, const std::string& where) {
  const auto plane = static_cast<std::ptrdiff_t>(image.layout.height * image.layout.width);
  const auto begin = image.pixels.begin(), end = image.pixels.end();
  const bool is_empty = std::all_of(begin, end, [](std::byte value) { return value == std::byte{0}; });
  const bool is_gray = std::equal(begin, end - plane, begin + plane);
  if (is_gray && !is_empty)
    throw DataError({"the mask is gray, saved in colour: its three channels are equal everywhere", where,
                     "save it with one channel"});
}

/// Instances as colours, as the masks of panoptic COCO are (github.com/cocodataset/panopticapi).
Mask mask_of_colours(const Image& image, const std::string& where) {
  refuse_gray_colours(image, where);
  const auto plane = static_cast<std::size_t>(image.layout.height * image.layout.width);
  Mask mask{image.layout.height, image.layout.width, ValueType::i32, std::vector<std::int32_t>(plane)};
  const auto value = [&](std::size_t channel, std::size_t i) {
    return static_cast<std::int32_t>(image.pixels[channel * plane + i]);
  };
  for (std::size_t i = 0; i < plane; ++i)
    mask.values[i] = value(0, i) + 256 * value(1, i) + 65536 * value(2, i);
  return mask;
}

/// `is_lossy`: colours are not those of instances any more.
Mask mask_of_image(const Image& image, bool is_lossy, const std::string& where) {
  const data::ImageLayout& layout = image.layout;
  const bool is_8_bit = layout.type == data::PixelType::u8;
  if (layout.channels == 3 && is_8_bit && !is_lossy) return mask_of_colours(image, where);
  if (layout.channels != 1 || layout.type == data::PixelType::f32)
    fail_decoding(
        fmt::format("{} channels of {} are no mask: one of u8 or u16 is, the number of a class or "
                    "of an instance in each pixel, or 8-bit RGB of PNG or TIFF, a colour for each instance",
                    layout.channels, data::pixel_type_name(layout.type)),
        where);
  Mask mask{layout.height, layout.width, is_8_bit ? ValueType::u8 : ValueType::i32, {}};
  data::visit_pixels(layout.type, image.pixels.data(), [&](const auto* values) {
    for (std::int64_t i = 0; i < layout.values(); ++i)
      mask.values.push_back(static_cast<std::int32_t>(values[i]));
  });
  return mask;
}

/// In the type of the field; -1 is 255 in u8.
std::vector<std::byte> stored_mask(const Mask& mask, const data::Field& field, const std::string& where) {
  if (field.type == ValueType::i32) return stored_bytes(std::span<const std::int32_t>(mask.values));
  std::vector<std::byte> bytes;
  for (const std::int32_t value : mask.values) {
    if (value < -1 || value > 255)
      throw DataError({fmt::format("the mask holds {}, that of the first image only 0 to 255", value), where,
                       "give all masks one type: 8 bits, or more"});
    bytes.push_back(static_cast<std::byte>(value));
  }
  return bytes;
}

/// "64 x 48", of volumes "32 x 64 x 48".
std::string text_of(const Extent& extent) {
  const std::string depth = extent.depth > 1 ? fmt::format("{} x ", extent.depth) : "";
  return fmt::format("{}{} x {}", depth, extent.height, extent.width);
}

void check_mask_size(const Mask& mask, const ImageChange& change, const std::string& where) {
  const bool fits = mask.height == change.height && mask.width == change.width && mask.depth == change.depth;
  if (change.height == 0 || fits) return;
  throw DataError(
      {fmt::format("the mask has {} pixels, its image {}", text_of({mask.height, mask.width, mask.depth}),
                   text_of({change.height, change.width, change.depth})),
       where, "give both one size"});
}

/// In the type and shape of the mask of an image.
data::Field shaped_by(const Mask& mask, data::Field field) {
  field.type = mask.type;
  field.shape = {mask.height, mask.width};
  if (mask.depth > 1) field.shape.insert(field.shape.begin(), mask.depth);
  return field;
}

/// Cells and options of one field, on which its functions work.
struct Reader {
  FieldKind kind;
  data::Field field;
  FieldCells cells;

  [[nodiscard]] std::string cell(std::int64_t index) const { return cells.of(index).front(); }
  [[nodiscard]] std::filesystem::path path(std::int64_t index) const { return cells.root / cell(index); }
  [[nodiscard]] bool is_inline(std::int64_t index) const {
    const std::string text = cell(index);
    const std::size_t first = text.find_first_not_of(" \t");
    return !cells.are_files && (first == std::string::npos || text[first] == '[');
  }
  [[nodiscard]] std::string content(std::int64_t index) const { return read_file(path(index)); }
  [[nodiscard]] std::string where(std::int64_t index) const {
    return fmt::format("{}, {}", cells.place(index), join(cells.columns, ", "));
  }

  [[nodiscard]] std::vector<float> places(std::int64_t index, std::size_t width) const {
    const std::string text = is_inline(index) ? cell(index) : content(index);
    return parse_places(text, width - 1, field.names, where(index));
  }

  /// What stays as it is, whatever happens to the image.
  [[nodiscard]] std::vector<std::byte> plain(std::int64_t index) const {
    const std::string place = where(index);
    const std::vector<std::string> all = cells.of(index);
    if (kind == FieldKind::numbers) return stored_bytes(std::span<const float>(parse_numbers(all, place)));
    if (kind == FieldKind::flags) return stored_bytes(std::span<const std::uint8_t>(parse_flags(all, place)));
    if (kind == FieldKind::tokens)
      return stored_bytes(std::span<const std::int32_t>(parse_tokens(all.front(), place)));
    if (kind == FieldKind::vector)
      return stored_bytes(std::span<const float>(parse_vector(all.front(), place)));
    return stored_bytes(std::span<const char>(cells.are_files ? content(index) : all.front()));
  }

  [[nodiscard]] std::vector<std::byte> values(std::int64_t index, const ImageChange& change) const {
    if (kind == FieldKind::image) return picture(index, change).pixels;
    if (kind == FieldKind::boxes || kind == FieldKind::points) {
      const auto width = static_cast<std::size_t>(field.shape.back());
      return stored_bytes(std::span<const float>(moved(places(index, width), width, change)));
    }
    return plain(index);
  }

  [[nodiscard]] Image picture(std::int64_t index, const ImageChange& change) const {
    return prepared(read_image(path(index)), change.preparation);
  }

  [[nodiscard]] data::Field shaped(std::int64_t index, const ImageChange& change) const {
    data::Field known = field;
    if (kind == FieldKind::image) {
      const data::ImageLayout layout = picture(index, change).layout;
      known.type = *data::value_type_of(data::pixel_type_name(layout.type));
      known.shape = layout.sizes();
    } else {
      known.shape = {std::ssize(plain(index)) / 4};
    }
    return known;
  }
};

/// As far as it is known without an image.
data::Field field_of(FieldKind kind, const std::string& name, std::vector<std::string> classes,
                     const FieldCells& cells) {
  const auto columns = std::ssize(cells.columns);
  if (kind == FieldKind::numbers || kind == FieldKind::flags) {
    const ValueType type = kind == FieldKind::flags ? ValueType::u8 : ValueType::f32;
    return {name, kind, type, {columns}, data::Codec::raw, "", cells.columns};
  }
  if (kind == FieldKind::text) return {name, kind, ValueType::u8, {-1}};
  if (kind == FieldKind::tokens) return {name, kind, ValueType::i32, {-1}};
  if (kind == FieldKind::image || kind == FieldKind::vector) return {name, kind, ValueType::f32, {}};
  const std::int64_t width = kind == FieldKind::boxes ? 5 : 3;
  return {name, kind, ValueType::f32, {-1, width}, data::Codec::raw, "", std::move(classes)};
}

std::uint64_t checksum_of(const FieldCells& cells) {
  Checksum sum;
  for (std::int64_t i = 0; i < cells.images; ++i) {
    for (const std::string& cell : cells.of(i)) {
      sum.update(std::as_bytes(std::span(cell)));
      sum.update(std::as_bytes(std::span("\n", 1)));
    }
  }
  return sum.value();
}

struct KindOption {
  FieldKind kind;
  const char *name, *in_column, *in_folder;  ///< null: no such option
};

constexpr std::array kKindOptions{
    KindOption{FieldKind::mask, "--mask", "with files of masks: a class or instance in each pixel",
               "with masks: files named like the images, a class or instance in each pixel"},
    KindOption{FieldKind::boxes, "--boxes", "with boxes: [[x0, y0, x1, y1, class], …] or a file with it",
               "with boxes: files a.json for a.png, [[x0, y0, x1, y1, class], …]"},
    KindOption{FieldKind::points, "--points", "with points: [[x, y, class], …] or a file with it",
               "with points: files a.json for a.png, [[x, y, class], …]"},
    KindOption{FieldKind::text, "--text", "with texts", "with texts: files a.txt for a.png"},
    KindOption{FieldKind::numbers, "--numbers", "with numbers, one or several: age,weight=body", nullptr},
    KindOption{FieldKind::flags, "--flags", "with flags (0, 1), one or several: oedema,mass=findings",
               nullptr},
    KindOption{FieldKind::tokens, "--tokens", "with integers, blanks between them", nullptr},
    KindOption{FieldKind::vector, "--vector", "with as many numbers in each line, blanks between them",
               nullptr},
    KindOption{FieldKind::image, "--second-image", "with files of other images of the same thing",
               "with other images of the same thing, named like the images"},
};

/// What is asked for where along an axis a pixel of a moved mask comes from.
struct MovedAxis {
  std::int64_t from, scaled, corner, size;  ///< as Scaling has them
};

/// Of each pixel of the result the nearest one of the mask; -1: none.
std::vector<std::int64_t> nearest(const MovedAxis& axis) {
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < axis.size; ++i) {
    const std::int64_t at = i - axis.corner;
    const bool inside = at >= 0 && at < axis.scaled;
    places.push_back(inside ? (2 * at + 1) * axis.from / (2 * axis.scaled) : -1);
  }
  return places;
}

void add_kinds_to(CLI::App& command, const std::string& what, std::span<const KindOption> kinds,
                  FieldOptions& options) {
  const bool in_columns = what == "column";
  const std::string form = in_columns ? "COLUMN or COLUMN=NAME" : "FOLDER or FOLDER=NAME";
  for (const KindOption& option : kinds) {
    const char* text = in_columns ? option.in_column : option.in_folder;
    if (text == nullptr) continue;
    command
        .add_option(option.name, options.sources.at(static_cast<std::size_t>(option.kind)),
                    fmt::format("{} {}; may be repeated", what, text))
        ->allow_extra_args(false)
        ->type_name(form);
  }
}

}  // namespace

Mask read_mask(const std::filesystem::path& file) {
  if (!std::filesystem::is_regular_file(file))
    throw DataError({"the file of a mask is missing", file.string(), "restore it or leave the image out"});
  const std::string content = read_file(file);
  if (content.starts_with("\x93NUMPY")) return mask_of_array(content, file.string());
  using namespace std::string_view_literals;
  const bool is_png = content.starts_with("\x89PNG\r\n"sv), is_jpeg = content.starts_with("\xFF\xD8"sv);
  return mask_of_image(is_png ? decode_png(content, file.string(), PngSamples::as_stored)
                              : decode_image(content, file.string()),
                       is_jpeg, file.string());
}

Mask moved(const Mask& mask, const data::Preparation& preparation) {
  if (preparation.height == 0) return mask;
  const Scaling scaling = scaling_of({mask.height, mask.width, mask.depth}, preparation);
  Mask result{preparation.height, preparation.width, mask.type, {}};
  result.depth = preparation.depth > 0 ? preparation.depth : mask.depth;
  const std::vector<std::int64_t> slices = nearest({mask.depth, scaling.depth, scaling.front, result.depth}),
                                  rows = nearest({mask.height, scaling.height, scaling.top, result.height}),
                                  columns = nearest({mask.width, scaling.width, scaling.left, result.width});
  for (const std::int64_t z : slices) {
    for (const std::int64_t y : rows) {
      for (const std::int64_t x : columns) {
        const bool inside = std::min({z, y, x}) >= 0;
        const std::int64_t from = (z * mask.height + y) * mask.width + x;
        result.values.push_back(inside ? mask.values[static_cast<std::size_t>(from)] : -1);
      }
    }
  }
  return result;
}

std::vector<std::byte> mask_values(const Mask& mask, const data::Field& field, const ImageChange& change,
                                   const std::string& where) {
  check_mask_size(mask, change, where);
  return stored_mask(moved(mask, change.preparation), field, where);
}

std::vector<float> moved(const std::vector<float>& places, std::size_t width, const ImageChange& change) {
  if (change.height == 0) return places;
  const Scaling scaling = scaling_of({change.height, change.width}, change.preparation);
  const auto [height, breadth] = std::pair(static_cast<double>(change.preparation.height),
                                           static_cast<double>(change.preparation.width));
  const double by_y = static_cast<double>(scaling.height) / static_cast<double>(change.height),
               by_x = static_cast<double>(scaling.width) / static_cast<double>(change.width);
  const bool crops = change.preparation.fit == data::Fit::crop;
  std::vector<float> result;
  for (std::size_t at = 0; at < places.size(); at += width) {
    std::vector<double> place;
    for (std::size_t i = 0; i + 1 < width; ++i) {
      const auto value = static_cast<double>(places[at + i]);
      place.push_back(i % 2 == 0 ? value * by_x + static_cast<double>(scaling.left)
                                 : value * by_y + static_cast<double>(scaling.top));
    }
    const std::vector<double> whole = place;
    for (std::size_t i = 0; i < place.size() && crops; ++i)
      place[i] = std::clamp(place[i], 0.0, i % 2 == 0 ? breadth : height);
    const bool is_gone =
        crops && (width == 5 ? place[0] >= place[2] || place[1] >= place[3] : place != whole);
    if (is_gone) continue;
    for (const double value : place) result.push_back(static_cast<float>(value));
    result.push_back(places[at + width - 1]);
  }
  return result;
}

std::pair<std::vector<std::string>, std::string> columns_and_name(FieldKind kind, const std::string& text) {
  const auto [columns, name] = renamed(text);
  const bool several = kind == FieldKind::numbers || kind == FieldKind::flags;
  const std::vector<std::string> all = several ? split_text(columns, ',') : std::vector<std::string>{columns};
  const bool is_named = text.find('=') != std::string::npos || all.size() == 1;
  return {all, is_named ? name : std::string(data::field_kind_name(kind))};
}

FieldSource field_of_masks(data::Field field, const MaskReader& masks) {
  field.kind = FieldKind::mask;
  FieldSource source{std::move(field),
                     [masks](const data::Field& wanted, std::int64_t index, const ImageChange& change) {
                       return mask_values(masks.read(index), wanted, change, masks.file(index).string());
                     }};
  source.shaped = [masks, known = source.field](std::int64_t index, const ImageChange& change) {
    return shaped_by(moved(masks.read(index), change.preparation), known);
  };
  source.path = masks.file;
  return source;
}

FieldSource field_of_cells(FieldKind kind, const std::string& name, std::vector<std::string> classes,
                           const FieldOptions& options, FieldCells cells) {
  data::Field field = field_of(kind, name, std::move(classes), cells);
  field.codec = options.codec_of(name);
  const bool needs_image = kind == FieldKind::image || kind == FieldKind::vector;
  const bool has_files =
      kind == FieldKind::image || cells.are_files || kind == FieldKind::boxes || kind == FieldKind::points;
  const std::uint64_t content = checksum_of(cells);
  const auto reader = std::make_shared<const Reader>(Reader{kind, field, std::move(cells)});
  const auto file = [reader](std::int64_t index) { return reader->path(index); };
  if (kind == FieldKind::mask) {
    FieldSource masks = field_of_masks(
        std::move(field), {[reader](std::int64_t index) { return read_mask(reader->path(index)); }, file});
    masks.content = content;
    return masks;
  }
  FieldSource source{std::move(field),
                     [reader](const data::Field& /*wanted*/, std::int64_t index, const ImageChange& change) {
                       return reader->values(index, change);
                     }};
  source.content = content;
  if (needs_image)
    source.shaped = [reader](std::int64_t index, const ImageChange& change) {
      return reader->shaped(index, change);
    };
  if (has_files) source.path = file;
  return source;
}

data::Codec FieldOptions::codec_of(const std::string& field) const {
  for (const std::string& text : codecs) {
    const auto [name, codec] = renamed(text);
    if (name != field) continue;
    if (const auto found = data::codec_of(codec)) return *found;
    throw UsageError({fmt::format("there is no codec '{}'", codec), "--field-codec",
                      did_you_mean(codec, data::codec_names())});
  }
  return data::Codec::raw;
}

void FieldOptions::add_to(CLI::App& command, const std::string& what) {
  command.option_defaults()->group("Fields");
  add_kinds_to(command, what, kKindOptions, *this);
  command
      .add_option("--boxes-of", boxes_of,
                  "mask whose instances get a box each, and one with their classes: nuclei,types=boxes; may "
                  "be repeated")
      ->allow_extra_args(false)
      ->type_name("MASK or MASK,CLASSES=NAME");
  add_codecs_to(command);
  tokens.add_to(command);
  command.option_defaults()->group("Options");
}

void FieldOptions::add_masks_to(CLI::App& command) {
  command.option_defaults()->group("Fields");
  add_kinds_to(command, "folder", std::span(kKindOptions).first(1), *this);
  add_codecs_to(command);
  command.option_defaults()->group("Options");
}

void FieldOptions::add_codecs_to(CLI::App& command) {
  command
      .add_option(
          "--field-codec", codecs,
          "how the values of a field are kept: raw, or zstd; masks and images also png; may be repeated")
      ->allow_extra_args(false)
      ->type_name("NAME=CODEC");
}

}  // namespace cohort::data_prep

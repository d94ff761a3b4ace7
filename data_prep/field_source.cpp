#include "data_prep/field_source.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"
#include "cohort/data/image_codec.h"

#include "data_prep/field_cells.h"
#include "data_prep/image_file.h"
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

void add_mask_values_to(CLI::App& command, std::vector<std::string>& values) {
  command
      .add_option("--mask-values", values,
                  "values of a mask's files that are its classes, in their order, all others not known: "
                  "lungs=0,255; may be repeated")
      ->allow_extra_args(false)
      ->type_name("NAME=VALUE,…");
}

}  // namespace

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
  const auto read = [masks, known = field](std::int64_t index) {
    return mask_of_classes(masks.read(index), masks.values, known, masks.file(index).string());
  };
  FieldSource source{std::move(field),
                     [masks, read](const data::Field& wanted, std::int64_t index, const ImageChange& change) {
                       return mask_values(read(index), wanted, change, masks.file(index).string());
                     }};
  source.shaped = [read, known = source.field](std::int64_t index, const ImageChange& change) {
    return shaped_by(moved(read(index), change.preparation), known);
  };
  source.path = masks.file;
  if (!masks.values.empty())
    source.content = [values = masks.values] { return checksum(std::as_bytes(std::span(values))); };
  return source;
}

FieldSource field_of_cells(FieldKind kind, const std::string& name, std::vector<std::string> classes,
                           const FieldOptions& options, FieldCells cells) {
  data::Field field = field_of(kind, name, std::move(classes), cells);
  field.codec = options.codec_of(name);
  const bool needs_image = kind == FieldKind::image || kind == FieldKind::vector;
  const bool has_files =
      kind == FieldKind::image || cells.are_files || kind == FieldKind::boxes || kind == FieldKind::points;
  const auto reader = std::make_shared<const Reader>(Reader{kind, field, std::move(cells)});
  const auto content = [reader] { return checksum_of(reader->cells); };
  const auto file = [reader](std::int64_t index) { return reader->path(index); };
  if (kind == FieldKind::mask) {
    FieldSource masks = field_of_masks(
        std::move(field), {[reader](std::int64_t index) { return read_mask(reader->path(index)); }, file,
                           options.mask_values_of(name)});
    masks.content = [content, of_values = masks.content] {
      return of_values ? content() ^ of_values() : content();
    };
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

MaskValues FieldOptions::mask_values_of(const std::string& field) const {
  MaskValues values;
  for (const std::string& text : mask_values) {
    const std::size_t sign = text.find('=');
    const std::string name = text.substr(0, sign);
    if (sign != std::string::npos && name != field) continue;
    for (const std::string& word : split_text(sign == std::string::npos ? "" : text.substr(sign + 1), ',')) {
      std::int32_t value = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
      const bool is_new = std::find(values.begin(), values.end(), value) == values.end();
      if (error != std::errc() || end != word.data() + word.size() || !is_new)
        throw UsageError({fmt::format("'{}' does not name the values of a mask", text), "--mask-values",
                          "for example --mask-values lungs=0,255: 0 is the first class, 255 the second"});
      values.push_back(value);
    }
  }
  return values;
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
  add_mask_values_to(command, mask_values);
  add_codecs_to(command);
  tokens.add_to(command);
  command.option_defaults()->group("Options");
}

void FieldOptions::add_masks_to(CLI::App& command) {
  command.option_defaults()->group("Fields");
  add_kinds_to(command, "folder", std::span(kKindOptions).first(1), *this);
  add_mask_values_to(command, mask_values);
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

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"

#include "data_prep/convert.h"
#include "data_prep/image_file.h"
#include "data_prep/remarks.h"

namespace cohort::data_prep {
namespace {

[[noreturn]] void refuse_layout(const data::ImageLayout& found, const data::ImageLayout& wanted,
                                const std::string& id) {
  std::string fix = "all images need the same number of channels and pixel type";
  if (found.height != wanted.height || found.width != wanted.width)
    fix = "give all images one size with --resize";
  if (found.depth != wanted.depth) fix = "give all volumes one size with --resize DEPTHxHEIGHTxWIDTH";
  if (found.channels != wanted.channels) fix = "mix of gray and colour: add --gray";
  throw DataError({fmt::format("image '{}' has another layout ({}) than the first one ({})", id,
                               layout_text(found), layout_text(wanted)),
                   id, fix});
}

/// A JPEG file that need not be turned. Sets its remarks.
std::optional<std::vector<std::byte>> jpeg_file(const std::string& content, Remarks& remarks) {
  const std::optional<Remarks> upright = upright_jpeg(content);
  if (!upright) return std::nullopt;
  remarks = *upright;
  const auto bytes = std::as_bytes(std::span(content));
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

/// Only then the size of the image before is worth reading it.
bool tells_of_pixels(data::FieldKind kind) {
  return kind == data::FieldKind::mask || kind == data::FieldKind::boxes || kind == data::FieldKind::points;
}

/// Fields are then read behind their image, which is decoded once, and remarks are of one row.
bool needs_rows_whole(const Source& source, const ConvertOptions& options) {
  const bool resizes = options.preparation().height > 0;
  return std::any_of(source.fields.begin(), source.fields.end(), [&](const FieldSource& field) {
    return field.remarks || (resizes && tells_of_pixels(field.field.kind));
  });
}

/// The layout of the image that was read last, before it was prepared: fields are mostly asked for behind it.
struct LastSize {
  std::int64_t index = -1;
  data::ImageLayout layout;

  void know(const Source& source, const ConvertOptions& options, std::int64_t wanted) {
    if (index == wanted || options.preparation().height == 0) return;
    layout = source.image(wanted).layout;
    index = wanted;
  }
};

/// Into `out`, [C, H, W] of `layout`.
Remarks store(const Source& source, const ConvertOptions& options, const data::ImageLayout& layout,
              std::int64_t index, const Image& image, std::span<std::byte> out) {
  const Image stored = prepared(source, options, index, image);
  if (stored.layout != layout)
    refuse_layout(stored.layout, layout, source.ids[static_cast<std::size_t>(index)]);
  std::memcpy(out.data(), stored.pixels.data(), out.size());
  return stored.remarks;
}

}  // namespace

bool keeps_jpeg_files(const Source& source, const ConvertOptions& options) {
  return source.file != nullptr && options.image_codec() == data::Codec::jpeg && options.jpeg_quality == 0 &&
         options.preparation() == data::Preparation{};
}

data::PixelSource pixel_source(const Source& source, const ConvertOptions& options,
                               const data::Description& description, Remarks& remarks) {
  const data::ImageLayout layout = description.images;
  const auto last = std::make_shared<LastSize>();
  data::PixelSource images([=, &source, &options, &remarks](std::int64_t index, std::span<std::byte> out) {
    const Image image = source.image(index);
    *last = {index, image.layout};
    remarks = store(source, options, layout, index, image, out);
  });
  images.field = [=, &source, &options, &remarks, fields = description.fields](std::size_t field,
                                                                               std::int64_t index) {
    const FieldSource& values = source.fields[field];
    if (tells_of_pixels(fields[field].kind)) last->know(source, options, index);
    const std::vector<std::byte> bytes =
        values.values(fields[field], index, change_of(options, last->layout));
    if (values.remarks) {
      remarks.cut_text |= values.remarks->cut_text;
      remarks.no_token |= values.remarks->no_token;
    }
    return bytes;
  };
  images.reads_by_row = needs_rows_whole(source, options);
  if (keeps_jpeg_files(source, options))
    images.encoded = [&](std::int64_t index) { return jpeg_file(source.file(index), remarks); };
  images.place = source.place;
  return images;
}

ImageChange change_of(const ConvertOptions& options, const data::ImageLayout& before) {
  ImageChange change{0, 0, options.preparation()};
  if (change.preparation.height == 0) return change;
  change.height = before.height, change.width = before.width, change.depth = before.depth;
  return change;
}

std::vector<data::Field> shaped_fields(const Source& source, const ImageChange& change, std::int64_t index) {
  std::vector<data::Field> fields;
  for (const FieldSource& each : source.fields) {
    fields.push_back(each.shaped ? each.shaped(index, change) : each.field);
    const std::string problem = data::problem_of(fields.back());
    if (!problem.empty())
      throw UsageError({fmt::format("field '{}' {}", each.field.name, problem), source.where,
                        "choose another kind of field or --field-codec"});
  }
  return fields;
}

Remarks store_prepared(const Source& source, const ConvertOptions& options, const data::ImageLayout& layout,
                       std::int64_t index, std::span<std::byte> out) {
  return store(source, options, layout, index, source.image(index), out);
}

Image prepared(const Source& source, const ConvertOptions& options, std::int64_t index, const Image& image) {
  if (!is_finite(image)) {
    throw DataError({fmt::format("image '{}' has values that are not finite",
                                 source.ids[static_cast<std::size_t>(index)]),
                     source.where, "repair it, or leave it out with --on-error skip"});
  }
  return prepared(image, options.preparation());
}

std::string layout_text(const data::ImageLayout& layout) {
  const std::string depth = layout.is_volume() ? fmt::format("{} x ", layout.depth) : "";
  return fmt::format("{} channel{}, {}{} x {}, {}", layout.channels, layout.channels == 1 ? "" : "s", depth,
                     layout.height, layout.width, data::pixel_type_name(layout.type));
}

}  // namespace cohort::data_prep

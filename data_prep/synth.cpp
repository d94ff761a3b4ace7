// cohort-data synth: images with contexts, for tests and scaling runs.
#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/random.h"
#include "cohort/core/text.h"
#include "cohort/data/pixel_type.h"

#include "data_prep/convert.h"

namespace cohort::data_prep {
namespace {

struct SynthOptions {
  std::int64_t contexts = 12, images = 200, channels = 3, classes = 2, depth = 1;
  double shift = 0.5, signal = 0.2;
  std::uint64_t seed = 1;
  std::string type = "u8";
  std::vector<std::string> fields;  // kinds
  ConvertOptions common;
};

/// What all images of a context share, in each channel.
struct ContextLook {
  double gain = 1, offset = 0;
};

ContextLook look_of(const SynthOptions& options, std::int64_t context, std::int64_t channel) {
  RandomStream stream({options.seed, Purpose::synthetic, 1, context, static_cast<std::uint32_t>(channel)});
  const double gain = std::exp(0.5 * options.shift * stream.normal());
  return {gain, 0.2 * options.shift * stream.normal()};
}

/// Value at (y, x) of the pattern of a class: stripes whose direction and width belong to it. They lean over
/// from slice to slice of a volume.
double pattern(std::int64_t label, std::int64_t classes, double y, double x, double phase) {
  const double angle = std::numbers::pi * static_cast<double>(label) / static_cast<double>(classes);
  return std::sin(0.6 * (std::cos(angle) * x + std::sin(angle) * y) + phase);
}

/// Of slice `z`.
double phase_at(double phase, std::int64_t z) {
  return phase + 0.3 * static_cast<double>(z);
}

/// 0 … 1: gain · (1/2 + signal/2 · pattern + noise) + offset. `copy`: another image of the same class and
/// context, with a phase and noise of its own.
std::vector<double> values_of(const SynthOptions& options, const data::ImageLayout& layout,
                              std::int64_t index, std::uint32_t copy) {
  const std::int64_t context = index / options.images, label = index % options.classes;
  RandomStream stream({options.seed, Purpose::synthetic, 0, index, copy});
  const double phase = stream.uniform(0.0, 2 * std::numbers::pi);
  std::vector<double> values;
  for (std::int64_t c = 0; c < layout.channels; ++c) {
    const ContextLook look = look_of(options, context, c);
    for (std::int64_t line = 0; line < layout.depth * layout.height; ++line) {
      const std::int64_t z = line / layout.height, y = line % layout.height;
      for (std::int64_t x = 0; x < layout.width; ++x) {
        const double noise = 0.1 * (static_cast<double>(stream.uniform()) - 0.5);
        const double signal = pattern(label, options.classes, static_cast<double>(y), static_cast<double>(x),
                                      phase_at(phase, z));
        values.push_back(look.gain * (0.5 + 0.5 * options.signal * signal + noise) + look.offset);
      }
    }
  }
  return values;
}

data::PixelType type_of(const std::string& name) {
  for (const data::PixelType type : {data::PixelType::u8, data::PixelType::u16, data::PixelType::f32}) {
    if (data::pixel_type_name(type) == name) return type;
  }
  throw UsageError({fmt::format("'{}' is not a pixel type", name), "--type", "choose u8, u16 or f32"});
}

template <class T>
void store(const std::vector<double>& values, double highest, std::vector<std::byte>& bytes) {
  bytes.resize(values.size() * sizeof(T));
  auto* out = static_cast<T*>(static_cast<void*>(bytes.data()));
  for (const double value : values) {
    if constexpr (std::is_integral_v<T>) {
      *out++ = static_cast<T>(std::lround(std::clamp(value, 0.0, 1.0) * highest));
    } else {
      *out++ = static_cast<T>(value);
    }
  }
}

Image image_of(const SynthOptions& options, const data::ImageLayout& layout, std::int64_t index,
               std::uint32_t copy = 0) {
  Image image{layout, {}};
  const std::vector<double> values = values_of(options, layout, index, copy);
  if (layout.type == data::PixelType::u8) store<std::uint8_t>(values, 255, image.pixels);
  if (layout.type == data::PixelType::u16) store<std::uint16_t>(values, 65535, image.pixels);
  if (layout.type == data::PixelType::f32) store<float>(values, 1, image.pixels);
  return image;
}

std::vector<std::string> class_names(const char* what, std::int64_t count) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < count; ++i) names.push_back(fmt::format("{}{}", what, i));
  return names;
}

/// The field of a kind, called like it.
data::Field synth_field(data::FieldKind kind, const SynthOptions& options, const data::ImageLayout& layout) {
  const std::string name(data::field_kind_name(kind));
  const std::vector<std::string> classes = class_names("class", options.classes);
  constexpr auto kRaw = data::Codec::raw;
  using data::ValueType;
  switch (kind) {
    case data::FieldKind::image:
      return {name, kind, *data::value_type_of(options.type), layout.sizes()};
    case data::FieldKind::mask: {
      const std::vector<std::int64_t> sizes = layout.sizes();  // without that of channels
      return {name, kind, ValueType::u8,           {sizes.begin() + 1, sizes.end()},
              kRaw, "",   {"background", "stripe"}};
    }
    case data::FieldKind::boxes:
      return {name, kind, ValueType::f32, {-1, 5}, kRaw, "", classes};
    case data::FieldKind::points:
      return {name, kind, ValueType::f32, {-1, 3}, kRaw, "", classes};
    case data::FieldKind::tokens:
      return {name, kind, ValueType::i32, {-1}};
    case data::FieldKind::text:
      return {name, kind, ValueType::u8, {-1}};
    case data::FieldKind::numbers:
      return {name, kind, ValueType::f32, {2}, kRaw, "", {"brightness", "contrast"}};
    case data::FieldKind::flags:
      return {name, kind, ValueType::u8, {options.classes}, kRaw, "", classes};
    case data::FieldKind::vector:
      break;
  }
  return {name, kind, ValueType::f32, {8}};
}

/// Boxes of at least a pixel, or their middles, of one to three places that belong to the image alone.
std::vector<float> synth_places(const SynthOptions& options, const data::ImageLayout& layout,
                                std::int64_t index, bool are_boxes) {
  RandomStream stream({options.seed, Purpose::synthetic, 2, index, 0});
  std::vector<float> values;
  const auto label = static_cast<float>(index % options.classes);
  for (std::uint64_t left = 1 + stream.below(3); left > 0; --left) {
    const double x0 = stream.uniform(0.0, 0.8), y0 = stream.uniform(0.0, 0.8),
                 x1 = stream.uniform(x0 + 0.1, 1.0), y1 = stream.uniform(y0 + 0.1, 1.0);
    const auto x = [&](double part) { return static_cast<float>(part * static_cast<double>(layout.width)); };
    const auto y = [&](double part) { return static_cast<float>(part * static_cast<double>(layout.height)); };
    if (are_boxes)
      values.insert(values.end(), {x(x0), y(y0), x(x1), y(y1), label});
    else
      values.insert(values.end(), {x((x0 + x1) / 2), y((y0 + y1) / 2), label});
  }
  return values;
}

/// Where the stripes of the image's class are bright.
std::vector<std::byte> synth_mask(const SynthOptions& options, const data::ImageLayout& layout,
                                  std::int64_t index) {
  RandomStream stream({options.seed, Purpose::synthetic, 0, index, 0});  // as that of the image
  const double phase = stream.uniform(0.0, 2 * std::numbers::pi);
  std::vector<std::byte> values;
  for (std::int64_t line = 0; line < layout.depth * layout.height; ++line) {
    const std::int64_t z = line / layout.height, y = line % layout.height;
    for (std::int64_t x = 0; x < layout.width; ++x) {
      const double value = pattern(index % options.classes, options.classes, static_cast<double>(y),
                                   static_cast<double>(x), phase_at(phase, z));
      values.push_back(std::byte{value > 0});
    }
  }
  return values;
}

std::vector<std::byte> synth_values(const SynthOptions& options, const data::ImageLayout& layout,
                                    const data::Field& field, std::int64_t index) {
  const auto stored = [](const auto& values) {
    const auto bytes = std::as_bytes(std::span(values));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  const std::int64_t label = index % options.classes, context = index / options.images;
  RandomStream stream({options.seed, Purpose::synthetic, 3, index, static_cast<std::uint32_t>(field.kind)});
  switch (field.kind) {
    case data::FieldKind::image:
      return image_of(options, layout, index, 1).pixels;
    case data::FieldKind::mask:
      return synth_mask(options, layout, index);
    case data::FieldKind::boxes:
    case data::FieldKind::points:
      return stored(synth_places(options, layout, index, field.kind == data::FieldKind::boxes));
    case data::FieldKind::tokens: {
      std::vector<std::int32_t> tokens(4 + stream.below(8), static_cast<std::int32_t>(label));
      for (std::size_t i = 1; i < tokens.size(); ++i)
        tokens[i] = static_cast<std::int32_t>(stream.below(100));
      return stored(tokens);
    }
    case data::FieldKind::text:
      return stored(fmt::format("stripes of class {} in context {:05}", label, context));
    case data::FieldKind::numbers: {
      const ContextLook look = look_of(options, context, 0);
      return stored(std::vector<float>{static_cast<float>(look.offset), static_cast<float>(look.gain)});
    }
    case data::FieldKind::flags: {
      std::vector<std::uint8_t> flags(static_cast<std::size_t>(options.classes), 0);
      flags[static_cast<std::size_t>(label)] = 1;
      return stored(flags);
    }
    case data::FieldKind::vector:
      break;
  }
  std::vector<float> values(8);
  for (float& value : values) value = static_cast<float>(stream.normal());
  return stored(values);
}

void add_fields(const SynthOptions& options, const data::ImageLayout& layout, Source& source) {
  for (const std::string& name : options.fields) {
    const auto kind = data::field_kind_of(name);
    if (!kind)
      throw UsageError({fmt::format("there is no kind of field '{}'", name), "--field",
                        did_you_mean(name, data::field_kind_names())});
    source.fields.push_back(
        {synth_field(*kind, options, layout),
         [&options, layout](const data::Field& field, std::int64_t index, const ImageChange& /*none*/) {
           return synth_values(options, layout, field, index);
         }});
  }
}

Source make_source(const SynthOptions& options, const data::ImageLayout& layout) {
  Source source;
  source.where = "synthetic images";
  const std::int64_t count = options.contexts * options.images;
  source.ids = {count, [](std::int64_t i) { return fmt::format("{:010}", i); }};
  source.labels = {
      {"class", {count, [&options](std::int64_t i) { return fmt::format("{}", i % options.classes); }}}};
  source.contexts = {
      {"context", {count, [&options](std::int64_t i) { return fmt::format("{:05}", i / options.images); }}}};
  const std::string drawn =
      fmt::format("{} {} {} {}", options.seed, options.shift, options.signal, options.classes);
  source.content = checksum(std::as_bytes(std::span(drawn)));
  add_fields(options, layout, source);
  source.image = [&options, layout](std::int64_t index) { return image_of(options, layout, index); };
  return source;
}

ExitCode run(const SynthOptions& options, comm::Communicator& ranks) {
  Source source;
  ConvertOptions common = options.common;
  comm::together(ranks, [&] {
    const data::Preparation size = options.common.preparation();
    if (size.depth > 0)
      throw UsageError({fmt::format("'{}' has three sides", common.resize), "--size",
                        "give height x width, and the slices of a volume with --depth"});
    source = make_source(options,
                         {type_of(options.type), options.channels, size.height, size.width, options.depth});
  });
  common.resize.clear();  // the images are made in this size
  return convert(source, common, ranks);
}

}  // namespace

void add_synth(CLI::App& program, Action& action) {
  auto options = std::make_shared<SynthOptions>();
  ConvertOptions& common = options->common;
  common.license = "none: made by cohort-data synth";
  common.resize = "64";
  CLI::App& command = add_command(
      program, {"synth",
                "Make images whose classes differ little and whose contexts differ as much as asked for",
                {"mpirun -n 4 cohort-data synth --contexts 1000 --images-per-context 500 --size 96 --out "
                 "data/synthetic"},
                endings_on_ranks()});
  command.add_option("--out", common.out, "folder of the new dataset")->required()->type_name("DIR");
  const auto add = [&](const char* name, std::int64_t& value, const char* text) {
    command.add_option(name, value, text)->check(CLI::PositiveNumber)->capture_default_str();
  };
  add("--contexts", options->contexts, "number of contexts");
  add("--images-per-context", options->images, "images of each");
  add("--channels", options->channels, "of an image");
  add("--classes", options->classes, "whose stripes have different directions");
  command.add_option("--size", common.resize, "height x width, or one number for both")
      ->capture_default_str();
  add("--depth", options->depth, "slices of a volume; 1: images");
  command.add_option("--type", options->type, "u8, u16 or f32")->capture_default_str();
  command
      .add_option("--shift", options->shift,
                  "strength of what a context does to brightness and contrast of each channel; 0: nothing")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  command.add_option("--signal", options->signal, "strength of the classes' stripes, beside noise of 0.1")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  command
      .add_option("--field", options->fields,
                  "a field of this kind, called like it: image, mask, boxes, points, tokens, text, numbers, "
                  "flags, vector; may be repeated")
      ->allow_extra_args(false)
      ->type_name("KIND");
  command.add_option("--seed", options->seed, "another seed, other images")->capture_default_str();
  command.add_option("--hold-out-contexts", common.hold_out.contexts,
                     "split 'unseen_test': the first and every N-th context after it");
  command.add_option("--hold-out-images", common.hold_out.images,
                     "split 'seen_test': every N-th image of each other context");
  common.add_shards_to(command);
  common.add_statistics_to(command);
  command.add_flag("--overwrite", common.overwrite, "replace the dataset that is in the folder");
  choose_on<SynthOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep

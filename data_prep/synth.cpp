// cohort-data synth: images with contexts, for tests and scaling runs.
#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/random.h"
#include "cohort/data/pixel_type.h"

#include "data_prep/convert.h"

namespace cohort::data_prep {
namespace {

struct SynthOptions {
  std::int64_t contexts = 12, images = 200, channels = 3, classes = 2;
  double shift = 0.5, signal = 0.2;
  std::uint64_t seed = 1;
  std::string type = "u8";
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

/// Value at (y, x) of the pattern of a class: stripes whose direction and width belong to it.
double pattern(std::int64_t label, std::int64_t classes, double y, double x, double phase) {
  const double angle = std::numbers::pi * static_cast<double>(label) / static_cast<double>(classes);
  return std::sin(0.6 * (std::cos(angle) * x + std::sin(angle) * y) + phase);
}

/// 0 … 1: gain · (1/2 + signal/2 · pattern + noise) + offset.
std::vector<double> values_of(const SynthOptions& options, const data::ImageLayout& layout,
                              std::int64_t index) {
  const std::int64_t context = index / options.images, label = index % options.classes;
  RandomStream stream({options.seed, Purpose::synthetic, 0, index, 0});
  const double phase = stream.uniform(0.0, 2 * std::numbers::pi);
  std::vector<double> values;
  for (std::int64_t c = 0; c < layout.channels; ++c) {
    const ContextLook look = look_of(options, context, c);
    for (std::int64_t y = 0; y < layout.height; ++y) {
      for (std::int64_t x = 0; x < layout.width; ++x) {
        const double noise = 0.1 * (static_cast<double>(stream.uniform()) - 0.5);
        const double signal =
            pattern(label, options.classes, static_cast<double>(y), static_cast<double>(x), phase);
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

Image image_of(const SynthOptions& options, const data::ImageLayout& layout, std::int64_t index) {
  Image image{layout, {}};
  const std::vector<double> values = values_of(options, layout, index);
  if (layout.type == data::PixelType::u8) store<std::uint8_t>(values, 255, image.pixels);
  if (layout.type == data::PixelType::u16) store<std::uint16_t>(values, 65535, image.pixels);
  if (layout.type == data::PixelType::f32) store<float>(values, 1, image.pixels);
  return image;
}

Source make_source(const SynthOptions& options, const data::ImageLayout& layout) {
  Source source;
  source.where = "synthetic images";
  source.labels = {{"class", {}}};
  source.contexts = {{"context", {}}};
  for (std::int64_t i = 0; i < options.contexts * options.images; ++i) {
    source.ids.push_back(fmt::format("{:010}", i));
    source.contexts[0].values.push_back(fmt::format("{:05}", i / options.images));
    source.labels[0].values.push_back(fmt::format("{}", i % options.classes));
  }
  const std::string drawn =
      fmt::format("{} {} {} {}", options.seed, options.shift, options.signal, options.classes);
  source.content = checksum(std::as_bytes(std::span(drawn)));
  source.image = [&options, layout](std::int64_t index) { return image_of(options, layout, index); };
  return source;
}

ExitCode run(const SynthOptions& options, comm::Communicator& ranks) {
  Source source;
  ConvertOptions common = options.common;
  comm::together(ranks, [&] {
    const data::Preparation size = options.common.preparation();
    const std::int64_t height = size.height, width = size.width;
    source = make_source(options, {type_of(options.type), options.channels, height, width});
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
  command.add_option("--type", options->type, "u8, u16 or f32")->capture_default_str();
  command
      .add_option("--shift", options->shift,
                  "strength of what a context does to brightness and contrast of each channel; 0: nothing")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  command.add_option("--signal", options->signal, "strength of the classes' stripes, beside noise of 0.1")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
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

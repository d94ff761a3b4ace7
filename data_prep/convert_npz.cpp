// cohort-data convert npz: arrays of a NumPy archive.
#include <algorithm>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "data_prep/axes.h"
#include "data_prep/convert.h"
#include "data_prep/npz.h"

namespace cohort::data_prep {
namespace {

struct NpzOptions {
  std::filesystem::path file;
  std::string images, axes, id;
  ColumnOptions columns;
  ConvertOptions common;
};

data::PixelType pixel_type(const Array& array) {
  if (array.type == "u1") return data::PixelType::u8;
  if (array.type == "u2") return data::PixelType::u16;
  if (array.type == "f4") return data::PixelType::f32;
  throw DataError({fmt::format("images of type {} are not supported", array.type), array.where,
                   "store them as uint8, uint16 or float32"});
}

/// N images in one array.
struct Stack {
  LargeArray array;
  data::ImageLayout layout;
  bool channels_last = false;

  Stack(LargeArray images, const std::string& axes_wanted) : array(std::move(images)) {
    const Array& facts = array.facts();
    const Axes axes = axes_of(facts.shape, axes_wanted, true, facts.where);
    layout = {pixel_type(facts), axes.channels, axes.height, axes.width, axes.depth};
    channels_last = axes.channels_last();
  }

  [[nodiscard]] std::int64_t count() const { return array.facts().shape.front(); }

  [[nodiscard]] Image image(std::int64_t index) const {
    const auto bytes = static_cast<std::size_t>(layout.bytes());
    Image image{layout, std::vector<std::byte>(bytes)};
    array.read(static_cast<std::uint64_t>(index) * bytes, image.pixels);
    return channels_last ? from_interleaved(layout, image.pixels.data()) : image;
  }
};

template <class AnyTexts>
AnyTexts column(const Npz& npz, const std::string& name, std::int64_t count) {
  const LargeArray array = npz.large_array(name);
  check_texts(array.facts());
  const std::int64_t values = array.facts().shape.front();
  if (values != count)
    throw DataError({fmt::format("array '{}' has {} values for {} images", name, values, count),
                     array.facts().where, "give one value for each image"});
  return {count, [array](std::int64_t index) { return text_of(array, index); }};
}

Texts numbered(std::int64_t count) {
  return {count, [](std::int64_t index) { return fmt::format("{:08}", index); }};
}

Source read_source(const NpzOptions& options, const Npz& npz, std::int64_t count) {
  Source source;
  source.where = options.file.string();
  source.content = npz.crc(options.images);
  source.axes = options.axes;
  source.archives = {options.file};
  source.ids = options.id.empty() ? numbered(count) : column<Texts>(npz, options.id, count);
  const auto read = [&](const std::string& name, const std::string& /*option*/) {
    return column<Categories>(npz, name, count);
  };
  read_columns(source, options.columns, read);
  read_groups(source, options.common, read);
  return source;
}

ExitCode run(const NpzOptions& options, comm::Communicator& ranks) {
  std::optional<Stack> images;
  Source source;
  comm::together(ranks, [&] {
    const Npz npz(options.file, ranks.rank() == 0);
    images.emplace(npz.large_array(options.images), options.axes);
    source = read_source(options, npz, images->count());
  });
  source.image = [&](std::int64_t index) { return images->image(index); };
  source.place = [&](std::int64_t index) {
    return fmt::format("{}: image {}", options.file.string(), index);
  };
  return convert(source, options.common, ranks);
}

}  // namespace

void add_convert_npz(CLI::App& convert, Action& action) {
  auto options = std::make_shared<NpzOptions>();
  CLI::App& command = add_command(
      convert,
      {"npz",
       "Arrays of a NumPy archive; every rank holds those in memory that are packed in it (savez_compressed)",
       {"cohort-data convert npz crops.npz --images X --labels y=micronucleus "
        "--contexts context=experiment --out data/nuclei"},
       endings_on_ranks()});
  command.add_option("file", options->file, "the archive")->required()->type_name("FILE");
  command.add_option("--images", options->images, "array with the images")->required()->type_name("ARRAY");
  add_axes_to(command, options->axes, "the images", true);
  options->columns.add_to(command, "array");
  command.add_option("--id", options->id, "array with the ids of the images (default: their numbers)");
  finish_convert<NpzOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep

// cohort-data shapes: images of shapes at places, and texts that name both, for methods that learn from
// texts.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/random.h"
#include "cohort/core/text.h"
#include "cohort/text/vocabulary.h"
#include "cohort/text/word_piece.h"
#include "cohort/text/words.h"

#include "data_prep/convert.h"
#include "data_prep/token_fields.h"

namespace cohort::data_prep {
namespace {

struct ShapesOptions {
  std::int64_t contexts = 4, images = 200;
  double shift = 0.2;
  std::uint64_t seed = 1;
  ConvertOptions common;
};

constexpr std::array<std::string_view, 3> kShapeKinds{"square", "circle", "cross"};
constexpr std::array<std::string_view, 3> kShapeRows{"upper", "central", "lower"};
constexpr std::array<std::string_view, 3> kShapeColumns{"left", "middle", "right"};
constexpr std::array<std::string_view, 2> kShades{"dark", "bright"};

/// One of an image, in one of nine cells.
struct Shape {
  std::size_t kind, shade, row, column;
  double y, x, radius;  ///< in parts of a side
};

/// One to three, no two of which are in one cell.
std::vector<Shape> shapes_of(const ShapesOptions& options, std::int64_t index) {
  RandomStream stream({options.seed, Purpose::synthetic, 4, index, 0});
  const std::uint64_t count = 1 + stream.below(3);
  const std::vector<std::int64_t> cells =
      permutation(9, RandomStream({options.seed, Purpose::synthetic, 5, index, 0}));
  std::vector<Shape> shapes;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto cell = static_cast<std::size_t>(cells[i]);
    Shape shape{stream.below(kShapeKinds.size()), stream.below(kShades.size()), cell / 3, cell % 3, 0, 0, 0};
    const auto middle = [&](std::size_t place) {
      return (static_cast<double>(place) + 0.5 + stream.uniform(-0.12, 0.12)) / 3;
    };
    shape.y = middle(shape.row);
    shape.x = middle(shape.column);
    shape.radius = stream.uniform(0.08, 0.12);
    shapes.push_back(shape);
  }
  return shapes;
}

std::string sentence_of(const Shape& shape) {
  return fmt::format("There is a {} {} in the {} {}.", kShades[shape.shade], kShapeKinds[shape.kind],
                     kShapeRows[shape.row], kShapeColumns[shape.column]);
}

std::string text_of_shapes(const std::vector<Shape>& shapes) {
  std::vector<std::string> sentences;
  for (const Shape& shape : shapes) sentences.push_back(sentence_of(shape));
  return join(sentences, " ");
}

bool covers(const Shape& shape, double y, double x) {
  const double dy = std::abs(y - shape.y), dx = std::abs(x - shape.x);
  if (kShapeKinds[shape.kind] == "circle") return dy * dy + dx * dx <= shape.radius * shape.radius;
  if (kShapeKinds[shape.kind] == "square") return std::max(dy, dx) <= 0.85 * shape.radius;
  return std::min(dy, dx) <= 0.3 * shape.radius && std::max(dy, dx) <= shape.radius;
}

/// Of a context, whose images are brighter or darker than others.
double brightness_of(const ShapesOptions& options, std::int64_t context) {
  RandomStream stream({options.seed, Purpose::synthetic, 6, context, 0});
  return 0.5 + 0.3 * options.shift * stream.normal();
}

Image picture_of(const ShapesOptions& options, const data::ImageLayout& layout, std::int64_t index) {
  RandomStream stream({options.seed, Purpose::synthetic, 7, index, 0});
  const std::vector<Shape> shapes = shapes_of(options, index);
  const double ground = brightness_of(options, index / options.images);
  Image image{layout, {}};
  for (std::int64_t row = 0; row < layout.height; ++row) {
    for (std::int64_t column = 0; column < layout.width; ++column) {
      const double y = (static_cast<double>(row) + 0.5) / static_cast<double>(layout.height),
                   x = (static_cast<double>(column) + 0.5) / static_cast<double>(layout.width);
      double value = ground + 0.1 * (static_cast<double>(stream.uniform()) - 0.5);
      for (const Shape& shape : shapes) {
        if (covers(shape, y, x)) value += shape.shade == 1 ? 0.3 : -0.3;
      }
      image.pixels.push_back(static_cast<std::byte>(std::lround(std::clamp(value, 0.0, 1.0) * 255)));
    }
  }
  return image;
}

/// Of each shape, in the order of the sentences.
std::vector<float> boxes_of_shapes(const std::vector<Shape>& shapes, const data::ImageLayout& layout) {
  std::vector<float> values;
  for (const Shape& shape : shapes) {
    const auto place = [&](double part, std::int64_t side) {
      return static_cast<float>(part * static_cast<double>(side));
    };
    values.insert(values.end(),
                  {place(shape.x - shape.radius, layout.width), place(shape.y - shape.radius, layout.height),
                   place(shape.x + shape.radius, layout.width), place(shape.y + shape.radius, layout.height),
                   static_cast<float>(shape.kind)});
  }
  return values;
}

template <class Values>
std::vector<std::byte> stored_bytes(const Values& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

void add_text_and_boxes(const ShapesOptions& options, const data::ImageLayout& layout, Source& source) {
  source.fields.push_back({{"text", data::FieldKind::text, data::ValueType::u8, {-1}},
                           [&options](const data::Field&, std::int64_t index, const ImageChange&) {
                             return stored_bytes(text_of_shapes(shapes_of(options, index)));
                           }});
  source.fields.push_back({{"boxes",
                            data::FieldKind::boxes,
                            data::ValueType::f32,
                            {-1, 5},
                            data::Codec::raw,
                            "",
                            {kShapeKinds.begin(), kShapeKinds.end()}},
                           [&options, layout](const data::Field&, std::int64_t index, const ImageChange&) {
                             return stored_bytes(boxes_of_shapes(shapes_of(options, index), layout));
                           }});
}

/// All words that texts can have, as a vocabulary of whole words.
std::vector<std::string> words_of_shapes() {
  text::WordCounts counts;
  const auto count = [&](std::string_view word) { ++counts[std::string(word)]; };
  for (std::size_t i = 0; i < 3; ++i) {
    const Shape shape{i, i % kShades.size(), i, i, 0, 0, 0};
    text::for_each_word(sentence_of(shape), text::Letters::uncased, count);
  }
  return text::word_vocabulary(counts, 1000);
}

std::string lines_of(const std::vector<std::string>& words) {
  return join(words, "\n") + "\n";
}

void add_tokens(Source& source) {
  constexpr std::int64_t kLongest = 64;
  const std::vector<std::string> words = words_of_shapes();
  const auto tokenizer =
      std::make_shared<const text::WordPiece>(words, text::Letters::uncased, "the words of shapes");
  const std::string lines = lines_of(words);
  FieldOptions options;
  options.tokens.by_sentence = true;
  add_token_fields(
      source.fields, options, tokenizer,
      {tokenizer->name(), checksum(std::as_bytes(std::span(lines))), tokenizer->size(), kLongest});
}

Source source_of_shapes(const ShapesOptions& options, const data::ImageLayout& layout) {
  Source source;
  source.where = "shapes";
  const std::int64_t count = options.contexts * options.images;
  source.ids = {count, [](std::int64_t i) { return fmt::format("{:010}", i); }};
  source.labels = {{"shape", {count, [&options](std::int64_t i) {
                                return std::string(kShapeKinds[shapes_of(options, i).front().kind]);
                              }}}};
  source.contexts = {
      {"context", {count, [&options](std::int64_t i) { return fmt::format("{:05}", i / options.images); }}}};
  const std::string drawn = fmt::format("{} {}", options.seed, options.shift);
  source.content = checksum(std::as_bytes(std::span(drawn)));
  add_text_and_boxes(options, layout, source);
  add_tokens(source);
  source.image = [&options, layout](std::int64_t index) { return picture_of(options, layout, index); };
  return source;
}

ExitCode make_shapes(const ShapesOptions& options, comm::Communicator& ranks) {
  Source source;
  ConvertOptions common = options.common;
  comm::together(ranks, [&] {
    const data::Preparation size = options.common.preparation();
    if (size.depth > 0)
      throw UsageError({fmt::format("'{}' has three sides", common.resize), "--size", "give height x width"});
    source = source_of_shapes(options, {data::PixelType::u8, 1, size.height, size.width});
  });
  common.resize.clear();  // the images are made in this size
  return convert(source, common, ranks);
}

}  // namespace

void add_shapes(CLI::App& program, Action& action) {
  auto options = std::make_shared<ShapesOptions>();
  ConvertOptions& common = options->common;
  common.license = "none: made by cohort-data shapes";
  common.resize = "64";
  CLI::App& command = add_command(
      program,
      {"shapes",
       "Make images of shapes at places, with texts and boxes that say which and where",
       {"cohort-data shapes --contexts 4 --images-per-context 500 --hold-out-images 5 --out data/shapes"},
       endings_on_ranks()});
  command.add_option("--out", common.out, "folder of the new dataset")->required()->type_name("DIR");
  command.add_option("--contexts", options->contexts, "number of contexts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--images-per-context", options->images, "images of each")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--size", common.resize, "height x width, or one number for both")
      ->capture_default_str();
  command
      .add_option("--shift", options->shift,
                  "how much brighter or darker contexts are than others; 0: not at all")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--seed", options->seed, "another seed, other images")->capture_default_str();
  command.add_option("--hold-out-contexts", common.hold_out.contexts,
                     "split 'unseen_test': the first and every N-th context after it");
  command.add_option("--hold-out-images", common.hold_out.images,
                     "split 'seen_test': every N-th image of each other context");
  common.add_shards_to(command);
  common.add_statistics_to(command);
  command.add_flag("--overwrite", common.overwrite, "replace the dataset that is in the folder");
  choose_on<ShapesOptions>(command, action, options, make_shapes);
}

}  // namespace cohort::data_prep

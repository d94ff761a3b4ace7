#include "data_prep/contact_sheet.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <unordered_map>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/data/dataset.h"
#include "cohort/data/image_codec.h"
#include "cohort/data/pixel_type.h"

#include "data_prep/font.h"
#include "data_prep/image.h"

namespace cohort::data_prep {
namespace {

constexpr std::int64_t kGap = 6;                             // white pixels around every image
constexpr std::int64_t kLeastSide = 64, kMostSide = 160;     // that the longer side of an image is shown with
constexpr std::int64_t kLeastCell = 12 * kLetterWidth;       // so that captions can be read
constexpr std::int64_t kCaption = 2 * kLetterHeight;         // split and id
constexpr std::int64_t kHeading = kLetterHeight + kGap / 2;  // of a class
constexpr std::int64_t kMostTitle = 60;                      // letters for which a sheet becomes wider
constexpr std::byte kInk{40};

/// An image of the dataset.
struct Place {
  std::size_t split;
  std::int64_t row;
};

/// [context][class]: the places to choose from, in dataset order. The last class is that of images without
/// one.
using Lines = std::vector<std::vector<std::vector<Place>>>;

/// Text of at most so many letters, with ".." for what is left out at its beginning or end.
std::string shortened(const std::string& text, std::int64_t most, bool keeps_end) {
  const std::vector<std::string_view> letters = letters_of(text);
  if (std::ssize(letters) <= most) return text;
  const auto kept = static_cast<std::size_t>(std::max<std::int64_t>(0, most - 2));
  std::string shown;
  for (const std::string_view letter :
       std::span(letters).subspan(keeps_end ? letters.size() - kept : 0, kept))
    shown += letter;
  return keeps_end ? ".." + shown : shown + "..";
}

/// 8-bit pixels, white at first.
class Sheet {
 public:
  Sheet(std::int64_t channels, std::int64_t height, std::int64_t width)
      : layout_{data::PixelType::u8, channels, height, width},
        pixels_(static_cast<std::size_t>(layout_.bytes()), std::byte{255}) {}

  [[nodiscard]] std::byte& at(std::int64_t channel, std::int64_t y, std::int64_t x) {
    return pixels_[static_cast<std::size_t>((channel * layout_.height + y) * layout_.width + x)];
  }
  /// One line of at most `width` pixels.
  void write(const std::string& text, std::int64_t top, std::int64_t left, std::int64_t width,
             bool keeps_end = false) {
    draw_text(shortened(text, width / kLetterWidth, keeps_end), [&](std::int64_t y, std::int64_t x) {
      for (std::int64_t c = 0; c < layout_.channels; ++c) at(c, top + y, left + x) = kInk;
    });
  }
  [[nodiscard]] std::int64_t width() const { return layout_.width; }
  [[nodiscard]] std::string png() const {
    const auto encoded = data::encode_image(data::Codec::png, layout_, 0, pixels_);
    const void* start = encoded.data();
    return {static_cast<const char*>(start), encoded.size()};
  }

 private:
  data::ImageLayout layout_;
  std::vector<std::byte> pixels_;
};

/// How large images are shown: small ones by a whole number of times, so that pixels stay pixels.
struct Shown {
  std::int64_t height, width;  ///< after shrinking
  std::int64_t times = 1;

  explicit Shown(const data::ImageLayout& images) : height(images.height), width(images.width) {
    const std::int64_t longer = std::max(height, width);
    if (longer < kLeastSide) times = (kLeastSide + longer - 1) / longer;
    if (longer <= kMostSide) return;
    height = std::max<std::int64_t>(1, height * kMostSide / longer);
    width = std::max<std::int64_t>(1, width * kMostSide / longer);
  }
  [[nodiscard]] std::int64_t cell_width() const { return std::max(width * times, kLeastCell) + kGap; }
  [[nodiscard]] std::int64_t cell_height() const { return height * times + kCaption + kGap; }
};

/// A name that any disk takes: short, without separators and control characters, not hidden.
std::string plain_name(const std::string& value) {
  constexpr std::size_t kMostColumns = 60;  // with four bytes each shorter than the 255 of most disks
  std::string name = printable_name(value, kMostColumns);
  for (char& c : name) {
    if (c == '/' || c == '\\') c = '_';
  }
  return name.starts_with('.') ? "_" + name : name;
}

/// Of the files of all values. Where a name is not that of its value, or differs from another in capital and
/// small letters alone, a checksum tells them apart.
std::vector<std::string> sheet_names(const std::vector<std::string>& values) {
  std::unordered_map<std::string, int> uses;
  for (const std::string& value : values) ++uses[in_small_letters(plain_name(value))];
  std::vector<std::string> names;
  for (const std::string& value : values) {
    const std::string name = plain_name(value);
    const bool is_plain = name == value && uses.at(in_small_letters(name)) == 1;
    const std::string sum = checksum_text(checksum(std::as_bytes(std::span(value))));
    names.push_back((is_plain ? name : name + "-" + sum) + ".png");
  }
  return names;
}

/// `most` of the places, evenly spread.
std::vector<Place> spread(const std::vector<Place>& places, std::int64_t most) {
  const auto all = std::ssize(places), count = std::min(all, most);
  std::vector<Place> chosen;
  for (std::int64_t i = 0; i < count; ++i)
    chosen.push_back(places[static_cast<std::size_t>(i * all / count)]);
  return chosen;
}

std::vector<std::int64_t> channels_of(const ContactSheetOptions& options, std::int64_t channels) {
  std::vector<std::int64_t> shown = options.channels;
  if (shown.empty()) shown = channels < 3 ? std::vector<std::int64_t>{0} : std::vector<std::int64_t>{0, 1, 2};
  const bool fits = (shown.size() == 1 || shown.size() == 3) &&
                    std::all_of(shown.begin(), shown.end(), [&](auto c) { return c >= 0 && c < channels; });
  if (fits) return shown;
  throw UsageError({fmt::format("a contact sheet shows one or three of channels 0 … {}", channels - 1),
                    "--channels", "for example --channels 0, or --channels 0,1,2"});
}

/// The middle one of a volume; of an image itself.
Image middle_slice(const Image& volume) {
  const data::ImageLayout& from = volume.layout;
  Image slice{{from.type, from.channels, from.height, from.width}, {}};
  const std::int64_t bytes = slice.layout.bytes() / from.channels, of_channel = bytes * from.depth;
  for (std::int64_t c = 0; c < from.channels; ++c) {
    const auto begin = volume.pixels.begin() + c * of_channel + from.depth / 2 * bytes;
    slice.pixels.insert(slice.pixels.end(), begin, begin + bytes);
  }
  return slice;
}

class ContactSheets {
 public:
  ContactSheets(const std::filesystem::path& folder, const ContactSheetOptions& options)
      : options_(options), description_(data::Description::read(folder)), shown_(description_.images) {
    const auto& contexts = description_.contexts;
    key_ = options.context.empty() && !contexts.empty() ? contexts.front().name : options.context;
    names_ =
        key_.empty() ? std::vector<std::string>{"all.png"} : sheet_names(description_.context(key_).values);
    channels_ = channels_of(options, description_.images.channels);
    for (const data::Split& split : description_.splits)
      splits_.push_back(data::Dataset::open(folder, split.name));
    choose();
  }

  [[nodiscard]] std::size_t size() const { return lines_.size(); }

  /// Nothing for a value without images.
  std::string write(std::size_t context) const {
    std::int64_t columns = 0, height = kGap + kLetterHeight + kGap;
    for (const auto& line : lines_[context]) {
      columns = std::max(columns, std::min<std::int64_t>(std::ssize(line), options_.images));
      if (!line.empty()) height += line_height();
    }
    if (columns == 0) return "";
    const std::string title = title_of(context);
    const std::int64_t wanted = std::min(kMostTitle, std::ssize(letters_of(title))) * kLetterWidth + kGap;
    Sheet sheet(std::ssize(channels_), height, kGap + std::max(columns * shown_.cell_width(), wanted));
    sheet.write(title, kGap, kGap, sheet.width() - kGap);
    std::int64_t top = kGap + kLetterHeight + kGap;
    for (std::size_t line = 0; line < lines_[context].size(); ++line) {
      if (lines_[context][line].empty()) continue;
      draw_line(sheet, context, line, top);
      top += line_height();
    }
    write_file_atomically(options_.out / names_[context], sheet.png());
    return names_[context];
  }

 private:
  [[nodiscard]] bool has_labels() const { return !description_.labels.empty(); }
  [[nodiscard]] std::int64_t line_height() const {
    return (has_labels() ? kHeading : 0) + shown_.cell_height();
  }

  void choose() {
    const std::size_t classes = has_labels() ? description_.labels.front().classes.size() : 0;
    lines_.assign(names_.size(), std::vector<std::vector<Place>>(classes + 1));
    for (std::size_t split = 0; split < splits_.size(); ++split) {
      const data::Dataset& dataset = splits_[split];
      const std::vector<std::int32_t> none(static_cast<std::size_t>(dataset.rows()), 0);
      const auto& contexts = key_.empty() ? none : dataset.contexts(key_);
      const auto& labels = has_labels() ? dataset.labels(description_.labels.front().name) : none;
      for (std::size_t row = 0; row < none.size(); ++row) {
        const std::size_t line = labels[row] < 0 ? classes : static_cast<std::size_t>(labels[row]);
        lines_[static_cast<std::size_t>(contexts[row])][line].push_back(
            {split, static_cast<std::int64_t>(row)});
      }
    }
  }

  [[nodiscard]] std::string title_of(std::size_t context) const {
    std::int64_t images = 0;
    for (const auto& line : lines_[context]) images += std::ssize(line);
    const std::string of =
        key_.empty() ? "" : fmt::format("{} = {}, ", key_, description_.context(key_).values[context]);
    return printable(
        fmt::format("{}: {}{} image{}", description_.name, of, format_count(images), images == 1 ? "" : "s"));
  }

  [[nodiscard]] std::string heading_of(std::size_t line, std::int64_t shown, std::int64_t all) const {
    const data::LabelColumn& label = description_.labels.front();
    const std::string name =
        line < label.classes.size() ? label.name + " = " + label.classes[line] : "without " + label.name;
    return printable(fmt::format("{}: {} of {}", name, format_count(shown), format_count(all)));
  }

  void draw_line(Sheet& sheet, std::size_t context, std::size_t line, std::int64_t top) const {
    const std::vector<Place>& all = lines_[context][line];
    const std::vector<Place> places = spread(all, options_.images);
    if (has_labels()) {
      sheet.write(heading_of(line, std::ssize(places), std::ssize(all)), top, kGap, sheet.width() - kGap);
      top += kHeading;
    }
    std::int64_t left = kGap;
    for (const Place& place : places) {
      draw(sheet, place, top, left);
      const std::int64_t below = top + shown_.height * shown_.times, width = shown_.cell_width() - kGap;
      const data::Dataset& split = splits_[place.split];
      sheet.write(printable(split.split()), below, left, width);
      sheet.write(printable(split.id(place.row)), below + kLetterHeight, left, width, true);
      left += shown_.cell_width();
    }
  }

  [[nodiscard]] std::byte shade(double value, std::int64_t channel) const {
    if (description_.images.type != data::PixelType::u8) {
      const auto c = static_cast<std::size_t>(channel);
      value = 255 * (0.5 + (value - description_.mean[c]) / (4 * description_.deviation[c]));
    }
    return static_cast<std::byte>(std::lround(std::clamp(value, 0.0, 255.0)));
  }

  /// The outlines of masks, and boxes, of the image of the dataset.
  void draw_fields(Sheet& sheet, const Place& place, std::int64_t top, std::int64_t left) const {
    for (const data::Field& field : description_.fields) {
      if (!field.of.empty()) continue;
      std::vector<std::byte> values;
      const data::Dataset& split = splits_[place.split];
      if (field.kind == data::FieldKind::mask || field.kind == data::FieldKind::boxes)
        split.read_field(place.row, field.name, values);
      const auto dot = [&](std::int64_t y, std::int64_t x) { mark(sheet, top + y, left + x); };
      if (field.kind == data::FieldKind::mask) draw_mask(field, values, dot);
      if (field.kind == data::FieldKind::boxes) draw_boxes(values, dot);
    }
  }

  /// Yellow; white on gray sheets.
  void mark(Sheet& sheet, std::int64_t y, std::int64_t x) const {
    for (std::int64_t c = 0; c < std::ssize(channels_); ++c)
      sheet.at(c, y, x) = c == 2 ? std::byte{0} : std::byte{255};
  }

  /// Every pixel whose right or lower neighbour has another value; of a volume in its middle slice.
  template <class Dot>
  void draw_mask(const data::Field& field, std::span<const std::byte> values, const Dot& dot) const {
    const std::int64_t size = data::value_type_bytes(field.type), rows = field.shape.end()[-2],
                       columns = field.shape.back(), height = shown_.height * shown_.times,
                       width = shown_.width * shown_.times,
                       first = field.shape.size() == 3 ? field.shape.front() / 2 * rows : 0;
    const auto at = [&](std::int64_t y, std::int64_t x) {
      const std::int64_t row = first + y * rows / height, column = x * columns / width;
      return values.subspan(static_cast<std::size_t>((row * columns + column) * size),
                            static_cast<std::size_t>(size));
    };
    for (std::int64_t y = 0; y + 1 < height; ++y) {
      for (std::int64_t x = 0; x + 1 < width; ++x) {
        if (!std::ranges::equal(at(y, x), at(y + 1, x)) || !std::ranges::equal(at(y, x), at(y, x + 1)))
          dot(y, x);
      }
    }
  }

  template <class Dot>
  void draw_boxes(std::span<const std::byte> values, const Dot& dot) const {
    const std::int64_t height = shown_.height * shown_.times, width = shown_.width * shown_.times;
    const auto shown = [](float value, std::int64_t side, std::int64_t stored) {
      const double place =
          static_cast<double>(value) * static_cast<double>(side) / static_cast<double>(stored);
      if (!(place > 0.0)) return std::int64_t{0};  // of NaN too
      return static_cast<std::int64_t>(std::min(place, static_cast<double>(side - 1)));
    };
    for (std::size_t at = 0; at < values.size(); at += 5 * sizeof(float)) {
      std::array<float, 5> box;
      std::memcpy(box.data(), values.data() + at, sizeof(box));
      const std::int64_t x0 = shown(box[0], width, description_.images.width),
                         y0 = shown(box[1], height, description_.images.height),
                         x1 = shown(box[2], width, description_.images.width),
                         y1 = shown(box[3], height, description_.images.height);
      for (std::int64_t x = x0; x <= x1; ++x) dot(y0, x), dot(y1, x);
      for (std::int64_t y = y0; y <= y1; ++y) dot(y, x0), dot(y, x1);
    }
  }

  void draw(Sheet& sheet, const Place& place, std::int64_t top, std::int64_t left) const {
    Image stored{description_.images,
                 std::vector<std::byte>(static_cast<std::size_t>(description_.images.bytes()))};
    splits_[place.split].read(place.row, stored.pixels);
    const Image image = resize(middle_slice(stored), shown_.height, shown_.width);
    data::visit_pixels(image.layout.type, image.pixels.data(), [&](const auto* values) {
      for (std::int64_t c = 0; c < std::ssize(channels_); ++c) {
        const std::int64_t channel = channels_[static_cast<std::size_t>(c)];
        const auto* plane = values + channel * shown_.height * shown_.width;
        for (std::int64_t y = 0; y < shown_.height * shown_.times; ++y) {
          for (std::int64_t x = 0; x < shown_.width * shown_.times; ++x) {
            const auto value = plane[y / shown_.times * shown_.width + x / shown_.times];
            sheet.at(c, top + y, left + x) = shade(static_cast<double>(value), channel);
          }
        }
      }
    });
    draw_fields(sheet, place, top, left);
  }

  const ContactSheetOptions& options_;
  data::Description description_;
  Shown shown_;
  std::string key_;                 // empty: the dataset has no contexts
  std::vector<std::string> names_;  // of files, one a value
  std::vector<std::int64_t> channels_;
  std::vector<data::Dataset> splits_;
  Lines lines_;
};

}  // namespace

void write_contact_sheets(const std::filesystem::path& dataset, const ContactSheetOptions& options,
                          comm::Communicator& ranks) {
  std::int64_t written = 0;
  comm::together(ranks, [&] {
    const ContactSheets sheets(dataset, options);
    make_writable_folder(options.out);
    for (std::size_t i = static_cast<std::size_t>(ranks.rank()); i < sheets.size();
         i += static_cast<std::size_t>(ranks.size()))
      written += sheets.write(i).empty() ? 0 : 1;
  });
  written = ranks.sum(written);
  if (ranks.rank() == 0)
    fmt::print("{} contact sheet{}: {}\n", format_count(written), written == 1 ? "" : "s",
               printable(options.out.string()));
}

}  // namespace cohort::data_prep

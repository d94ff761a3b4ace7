#include "data_prep/contact_sheet.h"

#include <algorithm>
#include <cmath>
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

namespace cohort::data_prep {
namespace {

constexpr std::int64_t kGap = 4;  // white pixels around every image

/// An image of the dataset.
struct Place {
  std::size_t split;
  std::int64_t row;
};

/// [context][line]: the places to choose from, in dataset order.
using Lines = std::vector<std::vector<std::vector<Place>>>;

/// 8-bit pixels, white at first.
class Sheet {
 public:
  Sheet(std::int64_t channels, std::int64_t height, std::int64_t width)
      : layout_{data::PixelType::u8, channels, height, width},
        pixels_(static_cast<std::size_t>(layout_.bytes()), std::byte{255}) {}

  [[nodiscard]] std::byte& at(std::int64_t channel, std::int64_t y, std::int64_t x) {
    return pixels_[static_cast<std::size_t>((channel * layout_.height + y) * layout_.width + x)];
  }
  [[nodiscard]] std::string png() const {
    const auto encoded = data::encode_image(data::Codec::png, layout_, 0, pixels_);
    const void* start = encoded.data();
    return {static_cast<const char*>(start), encoded.size()};
  }

 private:
  data::ImageLayout layout_;
  std::vector<std::byte> pixels_;
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

class ContactSheets {
 public:
  ContactSheets(const std::filesystem::path& folder, const ContactSheetOptions& options)
      : options_(options), description_(data::Description::read(folder)) {
    if (description_.contexts.empty())
      throw UsageError({"the dataset has no contexts", folder.string(), "leave out --contact-sheets"});
    key_ = options.context.empty() ? description_.contexts.front().name : options.context;
    names_ = sheet_names(description_.context(key_).values);
    shown_ = channels_of(options, description_.images.channels);
    for (const data::Split& split : description_.splits)
      splits_.push_back(data::Dataset::open(folder, split.name));
    choose();
  }

  [[nodiscard]] std::size_t size() const { return lines_.size(); }

  /// Nothing for a value without images.
  std::string write(std::size_t context) const {
    const auto& lines = lines_[context];
    std::int64_t columns = 0;
    for (const auto& line : lines)
      columns = std::max(columns, std::min<std::int64_t>(std::ssize(line), options_.images));
    if (columns == 0) return "";
    const std::int64_t height = description_.images.height + kGap, width = description_.images.width + kGap;
    Sheet sheet(std::ssize(shown_), std::ssize(lines) * height + kGap, columns * width + kGap);
    for (std::int64_t line = 0; line < std::ssize(lines); ++line) {
      std::int64_t column = 0;
      for (const Place& place : spread(lines[static_cast<std::size_t>(line)], options_.images))
        draw(sheet, place, kGap + line * height, kGap + column++ * width);
    }
    write_file_atomically(options_.out / names_[context], sheet.png());
    return names_[context];
  }

 private:
  void choose() {
    const std::size_t classes = description_.labels.empty() ? 1 : description_.labels.front().classes.size();
    lines_.assign(description_.context(key_).values.size(), std::vector<std::vector<Place>>(classes));
    for (std::size_t split = 0; split < splits_.size(); ++split) {
      const auto& contexts = splits_[split].contexts(key_);
      const std::vector<std::int32_t> none(contexts.size(), 0);
      const auto& labels =
          description_.labels.empty() ? none : splits_[split].labels(description_.labels.front().name);
      for (std::size_t row = 0; row < contexts.size(); ++row) {
        if (labels[row] >= 0)
          lines_[static_cast<std::size_t>(contexts[row])][static_cast<std::size_t>(labels[row])].push_back(
              {split, static_cast<std::int64_t>(row)});
      }
    }
  }

  [[nodiscard]] std::byte shade(double value, std::int64_t channel) const {
    if (description_.images.type != data::PixelType::u8) {
      const auto c = static_cast<std::size_t>(channel);
      value = 255 * (0.5 + (value - description_.mean[c]) / (4 * description_.deviation[c]));
    }
    return static_cast<std::byte>(std::lround(std::clamp(value, 0.0, 255.0)));
  }

  void draw(Sheet& sheet, const Place& place, std::int64_t top, std::int64_t left) const {
    const data::ImageLayout& layout = description_.images;
    std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
    splits_[place.split].read(place.row, image);
    data::visit_pixels(layout.type, image.data(), [&](const auto* values) {
      for (std::int64_t c = 0; c < std::ssize(shown_); ++c) {
        const std::int64_t channel = shown_[static_cast<std::size_t>(c)];
        const auto* plane = values + channel * layout.height * layout.width;
        for (std::int64_t y = 0; y < layout.height; ++y) {
          for (std::int64_t x = 0; x < layout.width; ++x)
            sheet.at(c, top + y, left + x) = shade(static_cast<double>(plane[y * layout.width + x]), channel);
        }
      }
    });
  }

  const ContactSheetOptions& options_;
  data::Description description_;
  std::string key_;
  std::vector<std::string> names_;  // of files, one a value
  std::vector<std::int64_t> shown_;
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
    fmt::print("{} contact sheets: {}\n", format_count(written), printable(options.out.string()));
}

}  // namespace cohort::data_prep

#include "data_prep/options.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "cohort/config/field.h"
#include "cohort/core/text.h"
#include "cohort/data/image_codec.h"

namespace cohort::data_prep {
namespace {

[[noreturn]] void refuse_size(const std::string& option) {
  throw UsageError({fmt::format("'{}' is not an image size", option), "--resize",
                    "give one number (64) or height x width (64x48), each 1 … 65536; of volumes also depth x "
                    "height x width (32x64x48), the depth at least 2"});
}

std::int64_t side(const std::string& text, const std::string& option, std::int64_t least = 1) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  if (!is_number || value < least || value > 65536) refuse_size(option);
  return value;
}

}  // namespace

void ConvertOptions::add_to(CLI::App& command) {
  command.add_option("--out", out, "folder of the new dataset")->required()->type_name("DIR");
  command.add_option("--name", name, "name of the dataset (default: that of the folder)");
  command.add_option("--license", license, "licence of the images, kept in dataset.json");
  command.add_option(
      "--resize", resize,
      "height x width, or one number for both; of volumes also depth x height x width: area mean when "
      "shrinking, linear when growing");
  command
      .add_option("--fit", fit,
                  "of --resize, where the aspect ratio is another: stretch (the default), crop what is too "
                  "long off both sides, or pad what is too short with 0 on both sides")
      ->check(CLI::IsMember({"stretch", "crop", "pad"}));
  command.add_flag("--gray", gray, "turn colour into gray (ITU-R BT.601 luma)");
  command
      .add_option(
          "--channels", channels,
          "names of the channels in their order, for example DAPI,ER,RNA (default: gray, or red, green, "
          "blue, or channel_0 …)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME,…");
  command.add_option("--classes", classes,
                     "order of the classes: a,b,c for the first label or NAME=a,b,c (repeatable)");
  add_shards_to(command);
  command.add_option("--hold-out-contexts", hold_out.contexts,
                     "split 'unseen_test': the first and every N-th value after it of the first context key");
  command.add_option(
      "--hold-out-images", hold_out.images,
      "split 'seen_test': every N-th image of each context that is not held out; the rest is 'train'");
  division.add_to(command);
  command
      .add_option("--on-error", on_error,
                  "an image that is missing, damaged or of another size: stop, or skip it and list it in "
                  "skipped.csv; skip reads every image twice")
      ->capture_default_str()
      ->check(CLI::IsMember({"stop", "skip"}));
  add_statistics_to(command);
  add_recheck_to(command);
  command.add_flag("--dry-run", dry_run, "only show how many images each split, label and context would get");
  command.add_flag("--overwrite", overwrite, "replace the dataset that is in the folder");
}

void ConvertOptions::add_statistics_to(CLI::App& command) {
  command.add_option(
      "--statistics-split", statistics_split,
      "split to train on: its mean and deviation normalise all images (default: train or training, "
      "else the first one)");
  add_all_contexts(command, all_contexts);
}

void ConvertOptions::add_recheck_to(CLI::App& command) {
  command.add_flag(
      "--recheck", recheck,
      "read all images again, where a conversion is repeated or goes on: without it an image counts as "
      "unchanged by size, time and some of its bytes");
}

void add_all_contexts(CLI::App& command, bool& all) {
  command.add_flag("--all-contexts", all,
                   "count the images of every context and class, not of the largest and smallest alone");
}

void ConvertOptions::add_shards_to(CLI::App& command) {
  command.option_defaults()->group("Shards");
  command.add_option("--shard-size", shard_size, "largest size of one shard; with a codec about that")
      ->capture_default_str();
  command
      .add_option("--codec", codec,
                  "how images are kept: raw, png and zstd without loss, jpeg smallest and fastest to decode")
      ->capture_default_str();
  command
      .add_option(
          "--jpeg-quality", jpeg_quality,
          "of --codec jpeg; without it JPEG files that need no change are kept byte for byte, others get 95")
      ->check(CLI::Range(1, 100));
  command.option_defaults()->group("Options");
}

data::Preparation ConvertOptions::preparation() const {
  if (resize.empty() && !fit.empty())
    throw UsageError(
        {"there is no size to fit images to", "--fit", "give one with --resize, or leave it out"});
  data::Preparation preparation{.gray = gray};
  if (resize.empty()) return preparation;
  const std::vector<std::string> sides = split_text(resize, 'x');
  if (sides.size() > 3) refuse_size(resize);
  preparation.height = side(sides[sides.size() - std::min<std::size_t>(2, sides.size())], resize);
  preparation.width = side(sides.back(), resize);
  if (sides.size() == 3) preparation.depth = side(sides.front(), resize, 2);
  preparation.fit = data::fit_of(fit).value_or(data::Fit::stretch);
  return preparation;
}

std::vector<std::string> ConvertOptions::classes_of(const std::string& label, std::size_t index) const {
  for (const std::string& text : classes) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos && index == 0) return split_text(text, ',');
    if (equals != std::string::npos && text.substr(0, equals) == label)
      return split_text(text.substr(equals + 1), ',');
  }
  return {};
}

data::Codec ConvertOptions::image_codec() const {
  if (const auto found = data::codec_of(codec)) return *found;
  throw UsageError(
      {fmt::format("there is no codec '{}'", codec), "--codec", did_you_mean(codec, data::codec_names())});
}

std::uint64_t ConvertOptions::shard_bytes() const {
  config::Bytes size;
  try {
    config::scalar::parse(shard_size, size);
  } catch (const std::invalid_argument& error) {
    throw UsageError(
        {fmt::format("'{}': {}", shard_size, error.what()), "--shard-size", "for example 256MiB"});
  }
  constexpr std::uint64_t kLeast = std::uint64_t{64} << 10, kMost = std::uint64_t{1} << 40;
  if (size.count >= kLeast && size.count <= kMost) return size.count;
  throw UsageError({fmt::format("'{}' is out of range", shard_size), "--shard-size", "give 64KiB … 1TiB"});
}

void ColumnOptions::add_to(CLI::App& command, const std::string& what) {
  const std::string form = fmt::format("{0} or {0}=NAME", what == "array" ? "ARRAY" : "COLUMN");
  command.add_option("--split", split, what + " with the splits");
  command.add_option("--label,--labels", labels, what + "s with labels; an empty text means none")
      ->type_name(form);
  command.add_option("--context,--contexts", contexts, what + "s with contexts")->type_name(form);
}

std::vector<std::string> split_text(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  for (std::size_t end = 0; end != std::string::npos; start = end + 1) {
    end = text.find(separator, start);
    parts.push_back(text.substr(start, end - start));
  }
  return parts;
}

std::pair<std::string, std::string> renamed(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) return {text, text};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

}  // namespace cohort::data_prep

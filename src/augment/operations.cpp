#include "augment/operations.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <numeric>

#include <fmt/format.h>

#include "cohort/augment/policy.h"
#include "cohort/config/field.h"
#include "cohort/config/load.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "augment/crop_box.h"
#include "augment/operation_entry.h"
#include "augment/pixel_operations.h"
#include "augment/rand_augment.h"
#include "augment/view_body.h"
#include "augment/volume_operations.h"

namespace cohort::augment {

std::span<const config::EnumName<Filter>> enum_names(Filter) {
  static constexpr std::array<config::EnumName<Filter>, 4> kNames{{{Filter::nearest, "nearest"},
                                                                   {Filter::bilinear, "bilinear"},
                                                                   {Filter::bicubic, "bicubic"},
                                                                   {Filter::area, "area"}}};
  return kNames;
}

namespace {

class Crop final : public Operation {
 public:
  template <class Visit>
  void fields(Visit& visit) {
    visit("area", area_, "lowest and highest part of the image", kPart);
    visit("aspect", aspect_, "lowest and highest width / height", config::Range{0.01, 100.0});
    visit("interpolation", filter_, "how it is resized");
  }
  void draw(const ViewDraws& draws, const ViewSizes& sizes, std::vector<Step>& steps) const override {
    const Box box = random_crop(sizes.image.height, sizes.image.width, area_[0], area_[1],
                                draws.stream(Decision::crop), {aspect_[0], aspect_[1]});
    steps.emplace_back(step::Crop{box, filter_});
  }
  [[nodiscard]] std::string contradiction() const override {
    const std::string area = unless_range(area_, "area");
    return area.empty() ? unless_range(aspect_, "aspect") : area;
  }
  [[nodiscard]] bool is_in_kernels() const override { return filter_ == Filter::bicubic; }

 private:
  Reals area_{0.08, 1.0}, aspect_{3.0 / 4.0, 4.0 / 3.0};
  Filter filter_ = Filter::bicubic;
};

class Resize final : public Operation {
 public:
  template <class Visit>
  void fields(Visit& visit) {
    visit("interpolation", filter_, "how it is resized");
  }
  void draw(const ViewDraws& /*draws*/, const ViewSizes& sizes, std::vector<Step>& steps) const override {
    const Box all{0, 0, static_cast<double>(sizes.image.height), static_cast<double>(sizes.image.width)};
    steps.emplace_back(step::Crop{all, filter_});
  }

 private:
  Filter filter_ = Filter::bicubic;
};

/// Pads with zeros to at least `least` pixels a side, the image at a random place in it, and takes a crop, at
/// a random place or from the middle.
class PaddedCrop final : public Operation {
 public:
  template <class Visit>
  void fields(Visit& visit) {
    visit("least", least_, "pixels a side that the image is padded to with zeros, at a random place",
          config::Range<std::int64_t>{1, 65536});
    visit("anywhere", anywhere_, "cut at a random place, instead of from the middle");
  }
  void draw(const ViewDraws& draws, const ViewSizes& sizes, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::crop);
    const std::int64_t height = std::max({least_, sizes.image.height, sizes.view.height}),
                       width = std::max({least_, sizes.image.width, sizes.view.width});
    const auto place = [&](std::int64_t room) {
      return static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(room) + 1));
    };
    const std::int64_t image_top = place(height - sizes.image.height),
                       image_left = place(width - sizes.image.width);
    const std::int64_t down = height - sizes.view.height, right = width - sizes.view.width;
    const std::int64_t top = anywhere_ ? place(down) : down / 2, left = anywhere_ ? place(right) : right / 2;
    steps.emplace_back(step::PaddedCrop{top - image_top, left - image_left});
  }
  [[nodiscard]] bool is_in_kernels() const override { return true; }

 private:
  std::int64_t least_ = 256;
  bool anywhere_ = true;
};

/// A step that is always the same.
template <class Made, Decision decision>
class Sometimes final : public Chance {
 public:
  Sometimes() : Chance(0.5) {}
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(decision);
    if (happens(draws, stream)) steps.emplace_back(Made{});
  }
  [[nodiscard]] bool is_in_kernels() const override { return decision != Decision::flip_vertical; }
};

class Turn90 final : public Operation {
 public:
  template <class Visit>
  void fields(Visit& /*visit*/) {}
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::quarter_turns);
    const auto turns = static_cast<std::int32_t>(stream.below(4));
    if (turns > 0) steps.emplace_back(step::QuarterTurns{turns});
  }
};

/// One of: a mirror image, or a rotation by up to ±90, ±180 or ±270 degrees.
class FlipOrRotate final : public Chance {
 public:
  FlipOrRotate() : Chance(0.5) {}
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::turn);
    if (!happens(draws, stream)) return;
    const std::uint64_t kind = stream.below(5);
    if (kind == 0) {
      steps.emplace_back(step::Mirror{});
    } else if (kind == 1) {
      steps.emplace_back(step::UpsideDown{});
    } else {
      const double reach = 90.0 * (static_cast<double>(kind) - 1.0);
      const Rotation rotation = rotation_by(stream.uniform(-reach, reach));
      steps.emplace_back(step::Rotate{rotation.cosine, rotation.sine});
    }
  }
  [[nodiscard]] bool is_in_kernels() const override { return true; }
};

class AffineMap final : public Chance {
 public:
  AffineMap() : Chance(1.0) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("degrees", degrees_, "largest rotation to either side", config::Range{0.0, 180.0});
    visit("translate", translate_, "largest shift, as a part of the view's sides", kPart);
    visit("scale", scale_, "smallest and largest enlargement", config::Range{0.01, 100.0});
    visit("shear", shear_, "largest shear along x and y to either side, in degrees",
          config::Range{0.0, 80.0});
    visit("interpolation", filter_, "nearest or bilinear");
  }
  void draw(const ViewDraws& draws, const ViewSizes& sizes, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::affine);
    if (!happens(draws, stream)) return;
    const auto either = [&](double reach) { return stream.uniform(-reach, reach); };
    AffineParts parts;
    parts.degrees = either(degrees_);
    parts.right = std::round(either(translate_ * static_cast<double>(sizes.view.width)));
    parts.down = std::round(either(translate_ * static_cast<double>(sizes.view.height)));
    parts.scale = stream.uniform(scale_[0], scale_[1]);
    parts.shear_x = either(shear_[0]);
    parts.shear_y = either(shear_[1]);
    steps.emplace_back(step::Warp{inverse_of(parts, sizes.view), filter_});
  }
  [[nodiscard]] std::string contradiction() const override {
    if (shear_.size() != 2) return "shear is not two numbers, those along x and along y";
    if (filter_ != Filter::nearest && filter_ != Filter::bilinear)
      return "interpolation is neither nearest nor bilinear";
    const std::string scale = unless_range(scale_, "scale");
    return scale.empty() ? Chance::contradiction() : scale;
  }

 private:
  double degrees_ = 0.0, translate_ = 0.0;
  Reals scale_{1.0, 1.0}, shear_{0.0, 0.0};
  Filter filter_ = Filter::bilinear;
};

std::map<std::string, OperationEntry> moving_operations() {
  return {
      {"crop", entry<Crop>({.cuts = true})},
      {"pad_crop", entry<PaddedCrop>({.cuts = true})},
      {"resize", entry<Resize>({.cuts = true})},
      {"flip", entry<Sometimes<step::Mirror, Decision::flip>>({.takes = Takes::both})},
      {"flip_vertical", entry<Sometimes<step::UpsideDown, Decision::flip_vertical>>({.takes = Takes::both})},
      {"flip_depth", entry<Sometimes<step::FlipDepth, Decision::flip_depth>>({.takes = Takes::volumes})},
      {"turn", entry<Turn90>({.needs_square = true})},
      {"flip_or_rotate", entry<FlipOrRotate>()},
      {"affine", entry<AffineMap>()}};
}

const std::map<std::string, OperationEntry>& entries() {
  static const std::map<std::string, OperationEntry> table = [] {
    std::map<std::string, OperationEntry> all = moving_operations();
    all.merge(pixel_operations());
    all.merge(volume_operations());
    return all;
  }();
  return table;
}

/// Words, which may hold lists in brackets: "area=[0.4, 1]" is one.
std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  bool within_word = false, within_list = false;
  for (const char letter : line) {
    if (letter == '[' || letter == ']') within_list = letter == '[';
    if (letter == ' ' && !within_list) {
      within_word = false;
      continue;
    }
    if (!within_word) words.emplace_back();
    within_word = true;
    words.back() += letter;
  }
  return words;
}

std::unique_ptr<const Operation> made(const OperationEntry& entry, const std::string& line,
                                      const std::string& where) {
  const std::vector<std::string> words = words_of(line);
  try {
    auto operation = entry.make(std::span(words).subspan(1));
    const std::string contradiction = operation->contradiction();
    if (contradiction.empty()) return operation;
    throw UsageError({fmt::format("this operation cannot be made: {}", contradiction), where,
                      "see docs/views.md, Operations"});
  } catch (const UsageError& error) {
    throw UsageError({error.text().what, fmt::format("{}: '{}'", where, line), error.text().fix});
  }
}

}  // namespace

RandomKey ViewDraws::key(Decision decision) const {
  constexpr std::uint32_t kDecisions = 16;
  constexpr std::uint32_t kMore = 1U << 18U, kMoreDecisions = 32, kOfView = 4096;
  const auto number_of_view = static_cast<std::uint32_t>(view), kind = static_cast<std::uint32_t>(decision);
  const bool is_first = repeated == 0 && kind < kDecisions;
  const std::uint32_t layer = is_first ? number_of_view * kDecisions + kind
                                       : kMore + number_of_view * kOfView + repeated * kMoreDecisions + kind;
  return {seed, Purpose::augment, epoch, row, layer};
}

std::vector<std::string> operation_names() {
  std::vector<std::string> names;
  for (const auto& [name, ignored] : entries()) names.push_back(name);
  return names;
}

std::vector<NamedOperation> operations_of(const std::vector<std::string>& lines, const std::string& where) {
  constexpr std::size_t kMost = 32;  // repetitions, which have keys of their own
  if (lines.size() > kMost)
    throw UsageError({fmt::format("{} operations", lines.size()), where, fmt::format("at most {}", kMost)});
  std::vector<NamedOperation> operations;
  std::map<std::string, std::uint32_t> met;
  for (const std::string& line : lines) {
    const std::vector<std::string> words = words_of(line);
    const std::string name = words.empty() ? "" : words.front();
    const auto found = entries().find(name);
    if (found == entries().end())
      throw UsageError({fmt::format("there is no operation '{}'", name), fmt::format("{}: '{}'", where, line),
                        did_you_mean(name, operation_names())});
    operations.push_back({name, found->second.traits, met[name]++, made(found->second, line, where)});
  }
  return operations;
}

}  // namespace cohort::augment

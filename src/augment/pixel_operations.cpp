#include "augment/pixel_operations.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include <fmt/format.h>

#include "cohort/augment/policy.h"
#include "cohort/config/field.h"
#include "cohort/core/error.h"

#include "augment/crop_box.h"
#include "augment/rand_augment.h"
#include "augment/view_body.h"

namespace cohort::augment {
namespace {

class Jitter final : public Chance {
 public:
  Jitter() : Chance(0.8) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("brightness", brightness_, "largest relative change", kPart);
    visit("contrast", contrast_, "largest relative change", kPart);
    visit("saturation", saturation_, "largest relative change", kPart);
    visit("hue", hue_, "largest turn, as a part of the circle", config::Range{0.0, 0.5});
  }
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::colour);
    if (!happens(draws, stream)) return;
    const auto factor = [&](double reach) {
      return static_cast<float>(stream.uniform(1.0 - reach, 1.0 + reach));
    };
    step::Jitter jitter;
    jitter.brightness = factor(brightness_);
    jitter.contrast = factor(contrast_);
    jitter.saturation = factor(saturation_);
    jitter.hue = static_cast<float>(stream.uniform(-hue_, hue_));
    auto next = jitter.order.begin();
    for (const std::int64_t change : permutation(kColourChanges, draws.stream(Decision::order)))
      *next++ = static_cast<std::uint8_t>(change);
    steps.emplace_back(jitter);
  }
  [[nodiscard]] bool is_in_kernels() const override { return true; }

 private:
  double brightness_ = 0.4, contrast_ = 0.4, saturation_ = 0.2, hue_ = 0.1;
};

class Gray final : public Chance {
 public:
  Gray() : Chance(0.2) {}
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::gray);
    if (happens(draws, stream)) steps.emplace_back(step::Colour{step::Colour::Change::gray, 0.0F});
  }
  [[nodiscard]] bool is_in_kernels() const override { return true; }
};

class Blur final : public Chance {
 public:
  Blur() : Chance(0.5) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("radius", radius_, "lowest and highest deviation in pixels", config::Range{0.01, 100.0});
  }
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::blur);
    if (happens(draws, stream)) steps.emplace_back(step::Blur{stream.uniform(radius_[0], radius_[1])});
  }
  [[nodiscard]] std::string contradiction() const override {
    const std::string radius = unless_range(radius_, "radius");
    return radius.empty() ? Chance::contradiction() : radius;
  }
  [[nodiscard]] bool is_in_kernels() const override { return true; }

 private:
  Reals radius_{0.1, 2.0};
};

class Defocus final : public Chance {
 public:
  Defocus() : Chance(0.5) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("largest", largest_, "radius in pixels, of each view of its kind as probability",
          config::Range<std::int64_t>{1, 100});
  }
  /// What always happens takes no number to decide.
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::blur);
    if (probability(draws) < 1.0 && !happens(draws, stream)) return;
    const auto largest = static_cast<std::uint64_t>(of_view(largest_, draws.number));
    steps.emplace_back(step::Defocus{1 + static_cast<std::int32_t>(stream.below(largest))});
  }
  [[nodiscard]] std::string contradiction() const override {
    return largest_.empty() ? "largest is empty" : Chance::contradiction();
  }
  [[nodiscard]] bool is_in_kernels() const override {
    return *std::max_element(largest_.begin(), largest_.end()) <= kMostDefocus;
  }

 private:
  std::vector<std::int64_t> largest_{3};
};

class Solarise final : public Chance {
 public:
  static constexpr double kThreshold = 128.0;
  Solarise() : Chance(0.2) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("threshold", threshold_, "values from here on become 255 - value", config::Range{0.0, 255.0});
  }
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::solarise);
    if (!happens(draws, stream)) return;
    steps.emplace_back(step::Colour{step::Colour::Change::solarise, static_cast<float>(threshold_)});
  }
  [[nodiscard]] bool is_in_kernels() const override { return threshold_ == kThreshold; }

 private:
  double threshold_ = kThreshold;
};

/// 1 … 10 rectangles with sides of 1 … 10 pixels become zero.
class Holes final : public Chance {
 public:
  Holes() : Chance(0.5) {}
  void draw(const ViewDraws& draws, const ViewSizes& sizes, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::holes);
    if (!happens(draws, stream)) return;
    const auto up_to = [&](std::int64_t most) {
      return 1 + static_cast<std::int64_t>(
                     stream.below(static_cast<std::uint64_t>(std::max<std::int64_t>(most, 1))));
    };
    step::Holes holes;
    holes.count = static_cast<std::int32_t>(up_to(CellRecipe::kMostHoles));
    for (std::int32_t i = 0; i < holes.count; ++i) {
      const std::int64_t height = std::min(up_to(10), sizes.view.height),
                         width = std::min(up_to(10), sizes.view.width);
      const std::int64_t top = up_to(sizes.view.height - height + 1) - 1,
                         left = up_to(sizes.view.width - width + 1) - 1;
      holes.part.at(static_cast<std::size_t>(i)) = {
          static_cast<std::int32_t>(top), static_cast<std::int32_t>(left), static_cast<std::int32_t>(height),
          static_cast<std::int32_t>(width)};
    }
    steps.emplace_back(holes);
  }
  [[nodiscard]] bool is_in_kernels() const override { return true; }
};

class RandAugment final : public Operation {
 public:
  template <class Visit>
  void fields(Visit& visit) {
    visit("count", count_, "how many of the 14 changes are made, each drawn anew",
          config::Range<std::int64_t>{1, 14});
    visit("magnitude", magnitude_, "of each", config::Range<std::int64_t>{0, kRandAugmentMagnitudes - 1});
  }
  void draw(const ViewDraws& draws, const ViewSizes& sizes, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::rand_augment);
    for (std::int64_t i = 0; i < count_; ++i) {
      const auto change = static_cast<RandAugmentChange>(stream.below(kRandAugmentChanges));
      const bool negative = stream.below(2) == 1;
      if (const auto step = rand_augment_step(change, magnitude_, negative, sizes.view))
        steps.push_back(*step);
    }
  }
  [[nodiscard]] std::int64_t most_steps() const override { return count_; }

 private:
  std::int64_t count_ = 2, magnitude_ = 9;
};

class Erase final : public Chance {
 public:
  Erase() : Chance(0.5) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("area", area_, "lowest and highest part of the view", kPart);
    visit("aspect", aspect_, "lowest and highest height / width", config::Range{0.01, 100.0});
  }
  void draw(const ViewDraws& draws, const ViewSizes& sizes, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::erase);
    if (!happens(draws, stream)) return;
    constexpr int kAttempts = 10;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const auto part = draw_part(stream, sizes.view);
      if (part.height >= sizes.view.height || part.width >= sizes.view.width) continue;
      const auto place = [&](std::int64_t room) {
        return static_cast<std::int32_t>(stream.below(static_cast<std::uint64_t>(room + 1)));
      };
      const std::int32_t top = place(sizes.view.height - part.height),
                         left = place(sizes.view.width - part.width);
      steps.emplace_back(step::Erase{
          {top, left, static_cast<std::int32_t>(part.height), static_cast<std::int32_t>(part.width)}});
      return;
    }
  }
  [[nodiscard]] std::string contradiction() const override {
    for (const std::string& found : {unless_range(area_, "area"), unless_range(aspect_, "aspect")}) {
      if (!found.empty()) return found;
    }
    return Chance::contradiction();
  }

 private:
  [[nodiscard]] Sides draw_part(RandomStream& stream, Sides view) const {
    const double area = static_cast<double>(view.height * view.width) * stream.uniform(area_[0], area_[1]),
                 aspect = std::exp(stream.uniform(std::log(aspect_[0]), std::log(aspect_[1])));
    return {std::lround(std::sqrt(area * aspect)), std::lround(std::sqrt(area / aspect))};
  }

  Reals area_{0.02, 0.33}, aspect_{0.3, 3.3};
};

class Noise final : public Chance {
 public:
  Noise() : Chance(0.5) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("deviation", deviation_, "lowest and highest standard deviation, in those of the dataset",
          config::Range{0.0, 10.0});
  }
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::noise);
    if (!happens(draws, stream)) return;
    const double deviation = stream.uniform(deviation_[0], deviation_[1]);
    ViewDraws of_values = draws;
    of_values.repeated += kValues;
    steps.emplace_back(step::Noise{deviation, of_values.key(Decision::noise)});
  }
  [[nodiscard]] std::string contradiction() const override {
    const std::string deviation = unless_range(deviation_, "deviation");
    return deviation.empty() ? Chance::contradiction() : deviation;
  }

 private:
  static constexpr std::uint32_t kValues = 32;  // apart from what decides, in any repetition
  Reals deviation_{0.0, 0.1};
};

class StainJitter final : public Chance {
 public:
  StainJitter() : Chance(1.0) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("scale", scale_, "largest relative change of each stain's density", kPart);
    visit("shift", shift_, "largest shift of each stain's density", config::Range{0.0, 10.0});
  }
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::stain);
    if (!happens(draws, stream)) return;
    step::Stain stain;
    for (std::size_t i = 0; i < stain.scale.size(); ++i) {
      stain.scale.at(i) = static_cast<float>(stream.uniform(1.0 - scale_, 1.0 + scale_));
      stain.shift.at(i) = static_cast<float>(stream.uniform(-shift_, shift_));
    }
    steps.emplace_back(stain);
  }

 private:
  double scale_ = 0.05, shift_ = 0.05;
};

}  // namespace

std::map<std::string, OperationEntry> pixel_operations() {
  return {{"jitter", entry<Jitter>({.needs_rgb = true})},
          {"gray", entry<Gray>({.needs_rgb = true})},
          {"solarise", entry<Solarise>({.needs_rgb = true})},
          {"rand_augment", entry<RandAugment>({.needs_rgb = true})},
          {"stain_jitter", entry<StainJitter>({.needs_rgb = true})},
          {"blur", entry<Blur>()},
          {"defocus", entry<Defocus>()},
          {"holes", entry<Holes>()},
          {"erase", entry<Erase>()},
          {"noise", entry<Noise>()}};
}

}  // namespace cohort::augment

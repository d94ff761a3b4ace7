#include "augment/volume_operations.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

namespace cohort::augment {
namespace {

enum class Mark { background, foreground, unknown };

template <class Label>
Mark mark_of(Label label) {
  constexpr Label kUnknown = std::is_signed_v<Label> ? Label(-1) : Label(255);
  if (label == kUnknown || label < Label(0)) return Mark::unknown;
  return label == Label(0) ? Mark::background : Mark::foreground;
}

/// Calls `visit(number, mark)` of each voxel until it says to stop, by false.
template <class Label, class Visit>
void visit_marks(std::span<const std::byte> values, const Visit& visit) {
  for (std::size_t at = 0; at + sizeof(Label) <= values.size(); at += sizeof(Label)) {
    Label label;
    std::memcpy(&label, values.data() + at, sizeof(label));
    if (!visit(static_cast<std::int64_t>(at / sizeof(Label)), mark_of(label))) return;
  }
}

template <class Visit>
void visit_marks(const data::Field& mask, std::span<const std::byte> values, const Visit& visit) {
  if (mask.type == data::ValueType::u8) return visit_marks<std::uint8_t>(values, visit);
  visit_marks<std::int32_t>(values, visit);
}

/// Of `size` voxels that voxel in which the middle of `place` of `of` lies.
std::int64_t scaled_place(std::int64_t place, std::int64_t of, std::int64_t size) {
  return (2 * place + 1) * size / (2 * of);
}

/// The corner along one axis of a crop around `middle`: inside of the volume, which lies in the middle of a
/// crop that is larger.
std::int64_t corner_of(std::int64_t middle, std::int64_t crop, std::int64_t volume) {
  if (volume <= crop) return -((crop - volume) / 2);
  return std::clamp<std::int64_t>(middle - crop / 2, 0, volume - crop);
}

/// A crop of the view's size around a voxel of the foreground, or of the background (as MONAI's
/// RandCropByPosNegLabel). Without any the other; without both, or with foreground=0, around any voxel.
class VolumeCrop final : public Operation {
 public:
  template <class Visit>
  void fields(Visit& visit) {
    visit("foreground", foreground_,
          "probability that it lies around a voxel of the foreground, else of the background; 0: anywhere, "
          "without a mask",
          kPart);
  }
  void draw(const ViewDraws& draws, const ViewSizes& sizes, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::volume_crop);
    const auto [z, y, x] = middle(sizes, stream);
    steps.emplace_back(step::VolumeCrop{corner_of(z, sizes.view.depth, sizes.image.depth),
                                        corner_of(y, sizes.view.height, sizes.image.height),
                                        corner_of(x, sizes.view.width, sizes.image.width)});
  }
  [[nodiscard]] bool needs_foreground() const override { return foreground_ > 0.0; }

 private:
  [[nodiscard]] Foreground::Voxel middle(const ViewSizes& sizes, RandomStream& stream) const {
    const auto below = [&](std::int64_t bound) {
      return static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(bound)));
    };
    bool wanted = static_cast<double>(stream.uniform()) < foreground_;
    // Another line of the table may need it.
    const Foreground* const marked = needs_foreground() ? sizes.foreground : nullptr;
    if (marked != nullptr && marked->count(wanted) == 0) wanted = !wanted;
    if (marked != nullptr && marked->count(wanted) > 0)
      return marked->voxel(wanted, below(marked->count(wanted)));
    const std::int64_t z = below(sizes.image.depth), y = below(sizes.image.height);
    return {z, y, below(sizes.image.width)};
  }

  double foreground_ = 0.5;
};

class Axial final : public Chance {
 public:
  Axial() : Chance(1.0) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("degrees", degrees_, "largest rotation about the axis of depth to either side",
          config::Range{0.0, 180.0});
    visit("scale", scale_, "smallest and largest enlargement, of each axis by itself",
          config::Range{0.01, 100.0});
  }
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::axial_affine);
    if (!happens(draws, stream)) return;
    const double angle = stream.uniform(-degrees_, degrees_) * std::numbers::pi / 180.0;
    step::AxialAffine axial{std::cos(angle), std::sin(angle)};
    for (double& scale : axial.scale) scale = stream.uniform(scale_[0], scale_[1]);
    steps.emplace_back(axial);
  }
  [[nodiscard]] std::string contradiction() const override {
    const std::string scale = unless_range(scale_, "scale");
    return scale.empty() ? Chance::contradiction() : scale;
  }

 private:
  double degrees_ = 0.0;
  Reals scale_{1.0, 1.0};
};

class IntensityWindow final : public Operation {
 public:
  template <class Visit>
  void fields(Visit& visit) {
    visit("range", range_, "lowest and highest value, in stored units; values beyond become these");
  }
  void draw(const ViewDraws& /*draws*/, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    steps.emplace_back(step::Window{static_cast<float>(range_[0]), static_cast<float>(range_[1])});
  }
  [[nodiscard]] std::string contradiction() const override { return unless_range(range_, "range"); }

 private:
  Reals range_;
};

class IntensityScale final : public Chance {
 public:
  IntensityScale() : Chance(0.5) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("largest", largest_, "largest relative change about the mean of the dataset", kPart);
  }
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::scale_intensity);
    if (!happens(draws, stream)) return;
    steps.emplace_back(
        step::ScaleIntensity{static_cast<float>(stream.uniform(1.0 - largest_, 1.0 + largest_))});
  }

 private:
  double largest_ = 0.1;
};

class IntensityShift final : public Chance {
 public:
  IntensityShift() : Chance(0.5) {}
  template <class Visit>
  void fields(Visit& visit) {
    Chance::fields(visit);
    visit("largest", largest_, "largest shift to either side, in deviations of the dataset",
          config::Range{0.0, 10.0});
  }
  void draw(const ViewDraws& draws, const ViewSizes& /*sizes*/, std::vector<Step>& steps) const override {
    RandomStream stream = draws.stream(Decision::shift_intensity);
    if (!happens(draws, stream)) return;
    steps.emplace_back(step::ShiftIntensity{static_cast<float>(stream.uniform(-largest_, largest_))});
  }

 private:
  double largest_ = 0.1;
};

}  // namespace

Foreground::Foreground(const data::Field& mask, std::span<const std::byte> values, Sides volume)
    : mask_(mask), values_(values), volume_(volume) {
  if (mask.shape.size() != 3 || std::ssize(values) != mask.entry_bytes()) return;
  visit_marks(mask_, values_, [&](std::int64_t /*number*/, Mark mark) {
    if (mark != Mark::unknown) ++counts_[mark == Mark::foreground ? 1 : 0];
    return true;
  });
}

Foreground::Voxel Foreground::voxel(bool is_foreground, std::int64_t number) const {
  const Mark wanted = is_foreground ? Mark::foreground : Mark::background;
  std::int64_t left = number, found = 0;
  visit_marks(mask_, values_, [&](std::int64_t at, Mark mark) {
    found = at;
    return mark != wanted || left-- > 0;
  });
  const std::int64_t rows = mask_.shape[1], columns = mask_.shape[2], slice = rows * columns;
  return {scaled_place(found / slice, mask_.shape[0], volume_.depth),
          scaled_place(found % slice / columns, rows, volume_.height),
          scaled_place(found % columns, columns, volume_.width)};
}

std::map<std::string, OperationEntry> volume_operations() {
  return {{"volume_crop", entry<VolumeCrop>({.takes = Takes::volumes, .cuts = true})},
          {"axial_affine", entry<Axial>({.takes = Takes::volumes})},
          {"window", entry<IntensityWindow>({.takes = Takes::volumes})},
          {"scale_intensity", entry<IntensityScale>({.takes = Takes::volumes})},
          {"shift_intensity", entry<IntensityShift>({.takes = Takes::volumes})}};
}

}  // namespace cohort::augment

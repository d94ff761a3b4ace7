#include "augment/volume_views.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/data/pixel_type.h"

#include "augment/normaliser.h"
#include "augment/volume_operations.h"

namespace cohort::augment {
namespace {

/// Adds a step to what was cut before; steps that change values move nothing.
struct Cutter {
  VolumeCut& cut;
  Sides size;

  void operator()(const step::VolumeCrop& crop) const {
    then({1, 0, static_cast<double>(crop.left), 0, 1, static_cast<double>(crop.top)});
    then_depth({1, static_cast<double>(crop.front)});
  }
  void operator()(const step::Mirror&) const { then(mirrored_view(size.width)); }
  void operator()(const step::UpsideDown&) const { then(upside_down_view(size.height)); }
  void operator()(const step::FlipDepth&) const { then_depth({-1, static_cast<double>(size.depth)}); }
  void operator()(const step::AxialAffine& axial) const {
    const double x = static_cast<double>(size.width) / 2, y = static_cast<double>(size.height) / 2,
                 z = static_cast<double>(size.depth) / 2;
    const auto [across, down, deep] = axial.scale;
    then(rotated_view(axial.cosine, axial.sine, size.height, size.width) *
         data::Affine{1 / across, 0, x - x / across, 0, 1 / down, y - y / down});
    then_depth({1 / deep, z - z / deep});
  }
  template <class Other>
  void operator()(const Other&) const {}

 private:
  void then(const data::Affine& step) const { cut.to_volume = cut.to_volume * step; }
  void then_depth(const data::DepthMap& step) const {
    cut.depth = {cut.depth.scale * step.scale, cut.depth(step.offset)};
  }
};

/// The two voxels around a place along an axis, borders repeated.
struct Between {
  std::int64_t low = 0, high = 0;
  float weight = 0;  ///< of the higher one
};

Between voxels_at(double place, std::int64_t size) {
  const double middle = std::clamp(place - 0.5, 0.0, static_cast<double>(size - 1));
  const auto low = static_cast<std::int64_t>(middle);
  return {low, std::min(low + 1, size - 1), static_cast<float>(middle - static_cast<double>(low))};
}

float mixed(float low, float high, float weight) {
  return low + weight * (high - low);
}

/// One channel of a volume.
template <class Value>
struct Voxels {
  const Value* values;
  Sides size;

  [[nodiscard]] float line(std::int64_t z, std::int64_t y, const Between& x) const {
    const Value* const row = values + (z * size.height + y) * size.width;
    return mixed(static_cast<float>(row[x.low]), static_cast<float>(row[x.high]), x.weight);
  }
  [[nodiscard]] float slice(std::int64_t z, const Between& y, const Between& x) const {
    return mixed(line(z, y.low, x), line(z, y.high, x), y.weight);
  }
};

template <class Value>
void sample(const Voxels<Value>& volume, const VolumeCut& cut, Sides view, float* out) {
  const auto middle = [](std::int64_t i) { return static_cast<double>(i) + 0.5; };
  for (std::int64_t depth = 0; depth < view.depth; ++depth) {
    const Between z = voxels_at(cut.depth(middle(depth)), volume.size.depth);
    for (std::int64_t row = 0; row < view.height; ++row) {
      for (std::int64_t column = 0; column < view.width; ++column) {
        const data::Point at = cut.to_volume({middle(column), middle(row)});
        const Between y = voxels_at(at.y, volume.size.height), x = voxels_at(at.x, volume.size.width);
        const float near = volume.slice(z.low, y, x);
        *out++ = z.weight == 0.0F ? near : mixed(near, volume.slice(z.high, y, x), z.weight);
      }
    }
  }
}

/// Changes the values of one channel.
struct Intensity {
  std::span<float> values;
  float mean, deviation;

  void operator()(const step::Window& window) const {
    change([&](float value) { return std::clamp(value, window.lowest, window.highest); });
  }
  void operator()(const step::ScaleIntensity& scale) const {
    change([&](float value) { return mean + scale.factor * (value - mean); });
  }
  void operator()(const step::ShiftIntensity& shift) const {
    change([&](float value) { return value + shift.deviations * deviation; });
  }
  template <class Other>
  void operator()(const Other&) const {}

 private:
  template <class Change>
  void change(const Change& changed) const {
    std::transform(values.begin(), values.end(), values.begin(), changed);
  }
};

class VolumeViews final : public data::ViewMaker {
 public:
  VolumeViews(Table table, bool shuffles_channels, const data::Description& description,
              Normalisation normalisation, std::uint64_t seed, std::int64_t epoch, std::string guide)
      : table_(std::move(table)),
        shuffles_channels_(shuffles_channels),
        description_(description),
        normaliser_(description, normalisation),
        seed_(seed),
        epoch_(epoch),
        guide_(std::move(guide)) {}

  [[nodiscard]] std::vector<data::ViewShape> shapes() const override {
    return table_.shapes(description_.images.channels);
  }
  [[nodiscard]] std::string guide() const override { return guide_; }

  void make(std::span<const std::byte> image, data::ViewKey key,
            std::span<const std::span<float>> views) const override {
    const std::optional<Foreground> foreground = foreground_of(key);
    const std::vector<std::int64_t> order =
        channel_order({seed_, epoch_, key.row}, description_.images.channels, shuffles_channels_);
    std::vector<Step> steps;
    for (std::size_t v = 0; v < views.size(); ++v) {
      draw_steps(key, static_cast<std::int64_t>(v), foreground, steps);
      make_view(image, order, steps, table_.kind_of(static_cast<std::int64_t>(v)).size, views[v]);
    }
  }

  [[nodiscard]] std::int64_t recipe_bytes() const override {
    return table_.views() * static_cast<std::int64_t>(sizeof(VolumeCut));
  }
  void draw(data::ViewKey key, std::span<std::byte> recipe) const override {
    const std::optional<Foreground> foreground = foreground_of(key);
    std::vector<Step> steps;
    for (std::int64_t view = 0; view < table_.views(); ++view) {
      draw_steps(key, view, foreground, steps);
      const VolumeCut cut = cut_of(steps, table_.kind_of(view).size);
      std::memcpy(recipe.data() + static_cast<std::size_t>(view) * sizeof(cut), &cut, sizeof(cut));
    }
  }
  [[nodiscard]] data::ViewGeometry geometry(std::span<const std::byte> recipe,
                                            std::size_t view) const override {
    const auto cut = recipe_at<VolumeCut>(recipe.data() + view * sizeof(VolumeCut));
    const Sides size = table_.kind_of(static_cast<std::int64_t>(view)).size;
    data::ViewGeometry geometry =
        after_step(geometry_of_image(sides().height, sides().width), cut.to_volume, size.height, size.width);
    geometry.depth = cut.depth;
    return geometry;
  }

 private:
  [[nodiscard]] Sides sides() const {
    return {description_.images.height, description_.images.width, description_.images.depth};
  }

  [[nodiscard]] std::optional<Foreground> foreground_of(const data::ViewKey& key) const {
    if (guide_.empty()) return std::nullopt;
    return std::optional<Foreground>(std::in_place, description_.field(guide_), key.mask, sides());
  }

  void draw_steps(const data::ViewKey& key, std::int64_t view, const std::optional<Foreground>& foreground,
                  std::vector<Step>& steps) const {
    table_.draw({seed_, epoch_, key.row, view}, {sides(), {}, foreground ? &*foreground : nullptr}, steps);
  }

  void make_view(std::span<const std::byte> image, const std::vector<std::int64_t>& order,
                 std::span<const Step> steps, Sides size, std::span<float> view) const {
    const data::ImageLayout& layout = description_.images;
    const VolumeCut cut = cut_of(steps, size);
    const std::size_t voxels = view.size() / order.size();
    std::vector<float> values(view.size());
    for (std::size_t c = 0; c < order.size(); ++c) {
      const std::span<float> channel = std::span(values).subspan(c * voxels, voxels);
      data::visit_pixels(layout.type, image.data(), [&](const auto* stored) {
        sample(Voxels{stored + order[c] * (layout.values() / layout.channels), sides()}, cut, size,
               channel.data());
      });
      for (const Step& step : steps)
        std::visit(Intensity{channel, static_cast<float>(description_.mean[c]),
                             static_cast<float>(description_.deviation[c])},
                   step);
    }
    normaliser_.apply(values, view);
  }

  Table table_;
  bool shuffles_channels_;
  data::Description description_;
  Normaliser normaliser_;
  std::uint64_t seed_;
  std::int64_t epoch_;
  std::string guide_;
};

const NamedOperation* placed_by_mask(const ViewKind& kind) {
  const auto found = std::find_if(kind.operations.begin(), kind.operations.end(),
                                  [](const auto& o) { return o.operation->needs_foreground(); });
  return kind.count == 0 || found == kind.operations.end() ? nullptr : &*found;
}

/// The first mask of the volumes, where the table needs one.
std::string guide_of(const Table& table, const data::Description& description) {
  const NamedOperation* needs = placed_by_mask(table.global);
  if (needs == nullptr) needs = placed_by_mask(table.local);
  if (needs == nullptr) return "";
  for (const data::Field& field : description.fields) {
    if (field.kind == data::FieldKind::mask && field.of.empty()) return field.name;
  }
  throw UsageError(
      {fmt::format("'{}' lies around what a mask marks, and the dataset has no masks", needs->name),
       "augment.policy", "convert the volumes with their masks, or write volume_crop foreground=0"});
}

}  // namespace

VolumeCut cut_of(std::span<const Step> steps, Sides size) {
  VolumeCut cut;
  for (const Step& step : steps) std::visit(Cutter{cut, size}, step);
  return cut;
}

std::unique_ptr<data::ViewMaker> volume_views(Table table, bool shuffles_channels,
                                              const data::Description& description,
                                              Normalisation normalisation, std::uint64_t seed,
                                              std::int64_t epoch) {
  std::string guide = guide_of(table, description);
  return std::make_unique<VolumeViews>(std::move(table), shuffles_channels, description, normalisation, seed,
                                       epoch, std::move(guide));
}

}  // namespace cohort::augment

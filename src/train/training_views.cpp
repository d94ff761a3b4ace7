#include "train/training_views.h"

#include <array>
#include <utility>

#include "cohort/augment/multi_crop.h"

namespace cohort::train {
namespace {

/// Two views of the whole image.
class TwoViews final : public data::ViewMaker {
 public:
  using Maker = std::unique_ptr<data::ViewMaker>;
  explicit TwoViews(std::array<Maker, 2> makers) : makers_(std::move(makers)) {}

  [[nodiscard]] std::vector<data::ViewShape> shapes() const override {
    return {makers_[0]->shapes().front(), makers_[1]->shapes().front()};
  }
  void make(std::span<const std::byte> image, std::int64_t row,
            std::span<const std::span<float>> views) const override {
    for (std::size_t i = 0; i < makers_.size(); ++i) makers_[i]->make(image, row, views.subspan(i, 1));
  }
  [[nodiscard]] std::int64_t recipe_bytes() const override {
    return makers_[0]->recipe_bytes() + makers_[1]->recipe_bytes();
  }
  void draw(std::int64_t row, std::span<std::byte> recipe) const override {
    const std::size_t half = recipe.size() / 2;
    makers_[0]->draw(row, recipe.first(half));
    makers_[1]->draw(row, recipe.last(half));
  }

 private:
  std::array<Maker, 2> makers_;
};

}  // namespace

std::unique_ptr<data::ViewMaker> training_views(const RunConfig& config, const data::Description& description,
                                                std::int64_t epoch) {
  const auto views = [&](std::int64_t key) {
    return augment::training_views(config.augment, description, config.data.normalisation, config.seed, key);
  };
  if (config.method == MethodName::supervised || config.augment.preset != augment::Preset::whole)
    return views(epoch);
  // Each view has keys of its own, as if it stood in an epoch of its own.
  return std::make_unique<TwoViews>(std::array{views(2 * epoch), views(2 * epoch + 1)});
}

std::optional<augment::DeviceViews> device_views(const RunConfig& config,
                                                 const data::Description& description, at::Device device) {
  if (!config.augment.on_device) return std::nullopt;
  return augment::DeviceViews(config.augment, description, config.data.normalisation, device);
}

}  // namespace cohort::train

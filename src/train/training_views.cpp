#include "train/training_views.h"

#include <utility>
#include <vector>

#include "cohort/augment/multi_crop.h"
#include "cohort/augment/several_views.h"
#include "cohort/method/registry.h"

namespace cohort::train {
std::unique_ptr<data::ViewMaker> training_views(const RunConfig& config, const data::Description& description,
                                                std::int64_t epoch) {
  const std::int64_t count = config.method.traits().views;
  const auto views = [&](std::int64_t key) {
    return augment::training_views(config.augment, description, config.data.normalisation, config.seed, key,
                                   count);
  };
  if (count == 1 || config.augment.preset != augment::kWholeImage) return views(epoch);
  // Each view has keys of its own, as if it stood in an epoch of its own.
  std::vector<std::unique_ptr<data::ViewMaker>> makers;
  for (std::int64_t view = 0; view < count; ++view) makers.push_back(views(count * epoch + view));
  return augment::several_views(std::move(makers));
}

std::optional<augment::DeviceViews> device_views(const RunConfig& config,
                                                 const data::Description& description, at::Device device) {
  if (!config.augment.on_device) return std::nullopt;
  return augment::DeviceViews(config.augment, description, config.data.normalisation, device,
                              config.method.traits().views);
}

}  // namespace cohort::train

#include "train/training_views.h"

#include <utility>

#include "cohort/augment/views.h"

namespace cohort::train {
namespace {

// Each view has keys of its own, as if it stood in an epoch of its own.
constexpr std::int64_t kDinoViews = 2;

}  // namespace

data::ViewMaker training_views(const RunConfig& config, const data::Description& description,
                               std::int64_t epoch) {
  const auto view = [&](std::int64_t key) {
    return augment::training_view(config.augment, description, config.data.normalisation, config.seed, key);
  };
  if (config.method == MethodName::supervised) return view(epoch);
  std::vector<data::ViewMaker> makers;
  for (std::int64_t i = 0; i < kDinoViews; ++i) makers.push_back(view(epoch * kDinoViews + i));
  return [makers = std::move(makers)](const at::Tensor& images, std::span<const std::int64_t> rows) {
    std::vector<at::Tensor> views;
    for (const data::ViewMaker& maker : makers) views.push_back(maker(images, rows).front());
    return views;
  };
}

}  // namespace cohort::train

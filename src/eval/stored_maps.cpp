#include "cohort/eval/stored_maps.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/count_progress.h"
#include "cohort/core/error.h"
#include "cohort/data/batch.h"

#include "eval/answers.h"
#include "eval/asked_groups.h"
#include "eval/explained_group.h"

namespace cohort::eval {
namespace {

bool has_attention(const nn::Encoder& model) {
  return dynamic_cast<const nn::VisionTransformer*>(&model) != nullptr;
}

/// Places of the maps of images as those of the dataset.
nn::PatchGrid grid_of(nn::Encoder& model, const data::Dataset& dataset, const nn::ReciprocamConfig& config) {
  const data::ImageLayout& images = dataset.description().images;
  if (const auto* const transformer = dynamic_cast<const nn::VisionTransformer*>(&model))
    return nn::grid_of_maps(transformer->shape(), images.height, images.width);
  const std::int64_t row = 0;
  const at::Tensor image = dataset.images(std::span(&row, 1)).to(model.parameters().front().device());
  const auto output = model.encode(at::zeros_like(image), {}, nn::Encoder::maps);
  const at::Tensor& map = output.maps.at(nn::ResNet::kStages - static_cast<std::size_t>(config.block)).values;
  return {map.size(2), map.size(3)};
}

DealtGroups dealt_groups_of_all(const data::Dataset& dataset, const std::string& group_by,
                                const EvalConfig& config, comm::Communicator& ranks) {
  const auto itself = [](std::int64_t row) { return std::vector<std::int64_t>{row}; };
  return {AskedGroups(Passes(dataset, group_by, config), itself), ranks.rank(), ranks.size()};
}

std::int64_t count_groups(DealtGroups groups) {
  std::int64_t count = 0;
  while (groups.next()) ++count;
  return count;
}

/// [n, maps, rows, columns] of what was found.
at::Tensor maps_of_images(const Explanation& found, const std::vector<MappedClass>& classes) {
  std::vector<at::Tensor> maps;
  if (found.rollout.defined())
    maps.push_back(found.rollout.sum(1) * (found.rollout.size(2) * found.rollout.size(3)));
  for (const MappedClass& of : classes) maps.push_back(found.saliency.select(1, of.number).sum(1));
  const at::Tensor all = at::stack(maps, 1);
  if (!all.isfinite().all().item<bool>()) refuse_infinite_answers();
  return all;
}

}  // namespace

at::Tensor StoredMaps::block(std::int64_t first, std::int64_t count) const {
  return values.block(first, count).view({count, maps, rows, columns});
}

std::vector<std::string> stored_map_names(const nn::Encoder& model, const std::vector<MappedClass>& classes) {
  std::vector<std::string> names;
  if (has_attention(model)) names.emplace_back("attention");
  for (const MappedClass& of : classes) names.push_back("saliency_" + of.name);
  return names;
}

StoredMaps store_maps(nn::Encoder& model, const data::Dataset& dataset,
                      const std::vector<MappedClass>& classes, const std::string& group_by,
                      const EvalConfig& config, augment::Normalisation normalisation,
                      comm::Communicator& ranks, const nn::ExplainerConfig& how) {
  const auto maps = std::ssize(stored_map_names(model, classes));
  COHORT_CHECK(!model.runner().is_collective() && maps > 0, "the model and maps to store");
  const at::NoGradGuard no_gradients;
  std::optional<DealtGroups> groups;
  std::unique_ptr<data::ViewMaker> view;
  const data::BatchColumns columns{model.traits().context_keys, ""};
  nn::PatchGrid grid{};
  std::int64_t mine = 0;
  comm::together(ranks, [&] {
    for (const std::string& key : columns.context_keys) (void)dataset.context_runs(key);
    view = augment::evaluation_view(dataset.description(), normalisation);
    grid = grid_of(model, dataset, how.reciprocam);
    groups.emplace(dealt_groups_of_all(dataset, group_by, config, ranks));
    mine = count_groups(*groups);
  });
  StoredMaps stored{maps, grid.rows, grid.columns, StoredRows(dataset.rows(), maps * grid.count(), ranks)};
  Workers alone(1);
  const auto store_group = [&](const AskedGroup& group) {
    const data::Batch batch = data::make_batch(dataset, std::span(&group.group, 1), columns, *view, alone);
    const at::Tensor found = maps_of_images(explain_group(model, batch, group, how), classes);
    stored.values.write(at::tensor(group.asked, at::kLong), found.flatten(1).contiguous());
  };
  std::optional<CountProgress> progress;
  if (ranks.rank() == 0) progress.emplace("explaining tiles", dataset.rows(), ranks.size());
  const std::int64_t most = ranks.max(mine);
  for (std::int64_t i = 0; i < most; ++i) {  // ranks meet, so that none waits long for another
    comm::together(ranks, [&] {
      if (i < mine) store_group(*groups->next());
    });
    if (progress && i < mine) progress->show(i + 1, mine);
  }
  return stored;
}

}  // namespace cohort::eval

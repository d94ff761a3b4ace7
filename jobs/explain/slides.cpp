#include "slides.h"

#include <algorithm>
#include <optional>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/eval/stored_maps.h"

#include "jobs/heat_maps.h"

namespace cohort::jobs {
namespace {

constexpr std::int64_t kTilesAtOnce = 4096;

std::vector<eval::MappedClass> mapped_classes(const std::vector<std::string>& classes) {
  const std::size_t first = classes.size() == 2 ? 1 : 0,
                    end = std::min(classes.size(), first + HeatMaps::kMostMaps);
  std::vector<eval::MappedClass> mapped;
  for (std::size_t i = first; i < end; ++i) mapped.push_back({static_cast<std::int64_t>(i), classes[i]});
  return mapped;
}

/// `values` [n, maps, rows, columns] of tiles.
void add_tiles(HeatMaps& maps, const std::vector<std::string>& ids, const at::Tensor& values) {
  const auto each = static_cast<std::size_t>(values.numel() / values.size(0));
  for (std::size_t i = 0; i < ids.size(); ++i)
    maps.add(ids[i], {values.const_data_ptr<float>() + i * each, each});
}

}  // namespace

void check_tiles(Material& material, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    SlideOrder order;
    const std::int64_t rows = ranks.rank() == 0 ? material.test.dataset.rows() : 0;
    for (std::int64_t first = 0; first < rows; first += kTilesAtOnce)
      for (const std::string& id : material.test.reader.ids(first, std::min(kTilesAtOnce, rows - first)))
        (void)order.next(id);
  });
}

void draw_slides(const ExplainOptions& options, const TrainedModel& trained, Material& material,
                 const std::string& folder, comm::Communicator& ranks) {
  const std::vector<eval::MappedClass> classes = mapped_classes(material.classes);
  const data::Dataset& tiles = material.test.dataset;
  const eval::StoredMaps stored =
      eval::store_maps(*trained.model, tiles, classes, explained_group_key(trained, material),
                       trained.config.eval, trained.config.data.normalisation, ranks, options.how);
  std::optional<HeatMaps> maps;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0)
      maps.emplace(folder, TileMaps{.measurements = eval::stored_map_names(*trained.model, classes),
                                    .rows = stored.rows,
                                    .columns = stored.columns});
  });
  for (std::int64_t first = 0; first < tiles.rows(); first += kTilesAtOnce) {
    const std::int64_t count = std::min(kTilesAtOnce, tiles.rows() - first);
    const at::Tensor values = stored.block(first, count);
    comm::together(ranks, [&] {
      if (maps) add_tiles(*maps, material.test.reader.ids(first, count), values);
    });
  }
  comm::together(ranks, [&] {
    if (maps) maps->finish();
  });
  if (maps) log_info(fmt::format("maps of {} slides in {}", format_count(maps->slides()), folder));
}

}  // namespace cohort::jobs

#include <chrono>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/augment/multi_crop.h"
#include "cohort/core/random.h"

#include "benchmarks.h"
#include "table.h"

namespace cohort::perf {
namespace {

using Clock = std::chrono::steady_clock;

data::Description description_of(std::int64_t channels, std::int64_t side) {
  data::Description description;
  description.images = {data::PixelType::u8, channels, side, side};
  description.mean.assign(static_cast<std::size_t>(channels), 100.0);
  description.deviation.assign(static_cast<std::size_t>(channels), 50.0);
  return description;
}

struct Case {
  std::string name;
  augment::Preset preset;
  std::int64_t channels, side;
  augment::Normalisation normalisation;
};

/// Images a second on this thread, and values that are not finite.
std::pair<double, std::int64_t> measure(const Case& tested, double seconds) {
  const data::Description description = description_of(tested.channels, tested.side);
  const auto maker = augment::multi_crop(tested.preset, {}, description, tested.normalisation, 1, 0);
  std::vector<std::byte> image(static_cast<std::size_t>(description.images.bytes()));
  RandomStream random({.seed = 1, .purpose = Purpose::synthetic});
  for (std::byte& value : image) value = static_cast<std::byte>(random.below(256));
  std::vector<std::vector<float>> views;
  for (const data::ViewShape& shape : maker->shapes())
    views.emplace_back(static_cast<std::size_t>(shape.values()));
  const std::vector<std::span<float>> spans(views.begin(), views.end());
  std::int64_t row = 0, wrong = 0;
  const auto begin = Clock::now();
  double spent = 0;
  for (; spent < seconds; spent = std::chrono::duration<double>(Clock::now() - begin).count())
    maker->make(image, row++, spans);
  for (const auto& view : views) {
    for (const float value : view) wrong += value - value == 0.0F ? 0 : 1;
  }
  return {static_cast<double>(row) / spent, wrong};
}

}  // namespace

ExitCode views(const ViewsOptions& options, comm::Communicator& ranks) {
  const Table table("views",
                    {"images turned into all their views by one thread of each rank; the slowest rank"},
                    {{"preset", "", 14},
                     {"image", "", 11},
                     {"views", "", 6},
                     {"rate", "images/s", 10, 0},
                     {"#wrong", "", 6}},
                    options.json, ranks);
  const std::vector<Case> cases{
      {"camelyon_dino", augment::Preset::camelyon_dino, 3, 96, augment::Normalisation::imagenet},
      {"cell_dino", augment::Preset::cell_dino, 8, 224, augment::Normalisation::dataset}};
  std::int64_t all_wrong = 0;
  for (const Case& tested : cases) {
    ranks.barrier();
    const auto [rate, wrong] = measure(tested, options.seconds);
    all_wrong += ranks.sum(wrong);
    table.add({tested.name, fmt::format("{}x{}x{}", tested.channels, tested.side, tested.side),
               std::int64_t{10}, -ranks.max(-rate), wrong});
  }
  return all_wrong == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace cohort::perf

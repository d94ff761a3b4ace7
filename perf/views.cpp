#include <chrono>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/augment/multi_crop.h"
#include "cohort/core/random.h"

#include "benchmarks.h"
#include "statistics.h"
#include "table.h"

namespace cohort::perf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPieces = 10;  // of the time

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

struct Measured {
  std::vector<double> rates;  ///< images a second on this thread, of pieces of the time
  std::int64_t wrong = 0;     ///< values that are not finite
};

Measured measure(const Case& tested, double seconds) {
  const data::Description description = description_of(tested.channels, tested.side);
  const auto maker = augment::multi_crop(tested.preset, {}, description, tested.normalisation, 1, 0);
  std::vector<std::byte> image(static_cast<std::size_t>(description.images.bytes()));
  RandomStream random({.seed = 1, .purpose = Purpose::synthetic});
  for (std::byte& value : image) value = static_cast<std::byte>(random.below(256));
  std::vector<std::vector<float>> views;
  for (const data::ViewShape& shape : maker->shapes())
    views.emplace_back(static_cast<std::size_t>(shape.values()));
  const std::vector<std::span<float>> spans(views.begin(), views.end());
  Measured measured;
  std::int64_t row = 0;
  for (int piece = 0; piece < kPieces; ++piece) {
    const std::int64_t first = row;
    const auto begin = Clock::now();
    double spent = 0;
    for (; spent < seconds / kPieces; spent = std::chrono::duration<double>(Clock::now() - begin).count())
      maker->make(image, row++, spans);
    measured.rates.push_back(static_cast<double>(row - first) / spent);
  }
  for (const auto& view : views) {
    for (const float value : view) measured.wrong += value - value == 0.0F ? 0 : 1;
  }
  return measured;
}

}  // namespace

ExitCode views(const ViewsOptions& options, comm::Communicator& ranks) {
  Results results("views", options.output, ranks);
  Table& table =
      results.table("", {"images turned into all their views by one thread of each rank; the slowest rank"},
                    {{"preset", "", 14, 0, Role::key},
                     {"image", "", 11},
                     {"views", "", 6},
                     {"rate", "images/s", 10, 0, Role::higher},
                     {"#wrong", "", 6}},
                    {{"views", "", {"rate"}}});
  const std::vector<Case> cases{
      {"camelyon_dino", augment::Preset::camelyon_dino, 3, 96, augment::Normalisation::imagenet},
      {"cell_dino", augment::Preset::cell_dino, 8, 224, augment::Normalisation::dataset}};
  std::int64_t all_wrong = 0;
  for (const Case& tested : cases) {
    ranks.barrier();
    auto [rates, wrong] = measure(tested, options.seconds);
    for (double& rate : rates) rate = -ranks.max(-rate);
    all_wrong += ranks.sum(wrong);
    table.add({tested.name, fmt::format("{}x{}x{}", tested.channels, tested.side, tested.side),
               std::int64_t{10}, median(rates), wrong},
              rates);
  }
  results.finish();
  return all_wrong == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace cohort::perf

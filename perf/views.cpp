#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/augment/device_views.h"
#include "cohort/augment/multi_crop.h"
#include "cohort/core/random.h"

#include "commands.h"
#include "device.h"
#include "statistics.h"
#include "table.h"

namespace cohort::perf {
namespace {

struct ViewsOptions {
  std::string device = "cpu";  ///< or "cuda": batches of `images`, from stored pixels in page-locked memory
  std::int64_t images = 128;
  double seconds = 2.0;  ///< for each preset
  Output output;
};

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
  std::int64_t channels, side;
  augment::Normalisation normalisation;
};

struct Measured {
  std::vector<double> rates;  ///< images a second, of pieces of the time
  std::int64_t wrong = 0;     ///< values that are not finite
};

void fill(std::span<std::byte> pixels) {
  RandomStream random({.seed = 1, .purpose = Purpose::synthetic});
  for (std::byte& value : pixels) value = static_cast<std::byte>(random.below(256));
}

/// Calls `batch`, which makes the views of some images and returns their number, again and again.
template <class Batch>
std::vector<double> rates_of(double seconds, const Batch& batch) {
  std::vector<double> rates;
  for (int piece = 0; piece < kPieces; ++piece) {
    std::int64_t images = 0;
    const auto begin = Clock::now();
    double spent = 0;
    for (; spent < seconds / kPieces; spent = std::chrono::duration<double>(Clock::now() - begin).count())
      images += batch();
    rates.push_back(static_cast<double>(images) / spent);
  }
  return rates;
}

/// On this thread.
Measured measure(const Case& tested, double seconds) {
  const data::Description description = description_of(tested.channels, tested.side);
  augment::ViewConfig config;
  config.preset = tested.name;
  const auto maker = augment::training_views(config, description, tested.normalisation, 1, 0);
  std::vector<std::byte> image(static_cast<std::size_t>(description.images.bytes()));
  fill(image);
  std::vector<std::vector<float>> views;
  for (const data::ViewShape& shape : maker->shapes())
    views.emplace_back(static_cast<std::size_t>(shape.values()));
  const std::vector<std::span<float>> spans(views.begin(), views.end());
  std::int64_t row = 0;
  Measured measured{rates_of(seconds,
                             [&] {
                               maker->make(image, row++, spans);
                               return 1;
                             }),
                    0};
  for (const auto& view : views) {
    for (const float value : view) measured.wrong += value - value == 0.0F ? 0 : 1;
  }
  return measured;
}

std::span<std::byte> bytes_of(at::Tensor tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), static_cast<std::size_t>(tensor.nbytes())};
}

/// On a CUDA device: drawing, copies and the kernel. The last view is waited for.
Measured measure_on_device(const Case& tested, const ViewsOptions& options, at::Device device) {
  const data::Description description = description_of(tested.channels, tested.side);
  augment::ViewConfig config;
  config.preset = tested.name;
  const auto maker = augment::training_views(config, description, tested.normalisation, 1, 0);
  const augment::DeviceViews on_device(config, description, tested.normalisation, device);
  const auto pinned = at::TensorOptions(at::kByte).pinned_memory(true);
  const at::Tensor stored = at::empty({options.images, description.images.bytes()}, pinned);
  fill(bytes_of(stored));
  std::vector<at::Tensor> views;
  const auto batch = [&] {
    const at::Tensor recipes = at::empty({options.images, maker->recipe_bytes()}, pinned);
    for (std::int64_t i = 0; i < options.images; ++i) maker->draw(i, bytes_of(recipes[i]));
    views = on_device.make(stored, recipes);
    (void)views.back().select(0, 0).sum().item<float>();
    return options.images;
  };
  batch();  // warms up
  Measured measured{rates_of(options.seconds, batch), 0};
  for (const at::Tensor& view : views)
    measured.wrong += at::isfinite(view).logical_not().sum().item<std::int64_t>();
  return measured;
}

/// Collective. How fast one thread, or a device, makes the views of the multi-crop presets. ExitCode::bug if
/// a value is not finite. Throws UsageError: no such device.
ExitCode views(const ViewsOptions& options, comm::Communicator& ranks) {
  const at::Device device = device_named(options.device, ranks);
  Results results("views", options.output, ranks);
  Table& table = results.table(
      "",
      {fmt::format("images turned into all their views by one {} of each rank; the slowest rank",
                   device.is_cuda() ? "CUDA device" : "thread")},
      {{"preset", "", 14, 0, Role::key},
       {"image", "", 11},
       {"views", "", 6},
       {"rate", "images/s", 10, 0, Role::higher},
       {"#wrong", "", 6}},
      {{"views", "", {"rate"}}});
  const std::vector<Case> cases{{"camelyon_dino", 3, 96, augment::Normalisation::imagenet},
                                {"cell_dino", 8, 224, augment::Normalisation::dataset}};
  std::int64_t all_wrong = 0;
  for (const Case& tested : cases) {
    ranks.barrier();
    auto [rates, wrong] =
        device.is_cuda() ? measure_on_device(tested, options, device) : measure(tested, options.seconds);
    for (double& rate : rates) rate = -ranks.max(-rate);
    all_wrong += ranks.sum(wrong);
    table.add({tested.name, fmt::format("{}x{}x{}", tested.channels, tested.side, tested.side),
               std::int64_t{10}, median(rates), wrong},
              rates);
  }
  results.finish();
  return all_wrong == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace

void add_views(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ViewsOptions>();
  CLI::App* command = &add_command(app, {"views",
                                         "Make the views of DINO's presets: images/s of one thread or device",
                                         {"cohort-perf views --seconds 5"},
                                         endings_on_ranks()});
  command->add_option("--device", options->device, "that makes them: cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--images", options->images, "in a batch, on a device")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "time for each preset")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_output(command, options->output);
  command->callback([options, &job] {
    job.with_ranks = [options](comm::Communicator& ranks) { return views(*options, ranks); };
  });
}

}  // namespace cohort::perf

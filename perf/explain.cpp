// cohort-perf explain: what the exact shortcut of ViT-ReciproCAM saves.
#include "cohort/nn/explain.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "commands.h"
#include "table.h"
#include "timing.h"

namespace cohort::perf {
namespace {

struct ExplainOptions {
  std::string model = "vit_small";
  std::int64_t patch_size = 16, size = 224, images = 1, chunk = 64;
  double seconds = 10.0;  ///< for all ways
  Output output;
};

/// A model with values of the size that trained ones have, so that attention is not uniform.
std::unique_ptr<nn::VisionTransformer> model_of(const ExplainOptions& options) {
  nn::ModelConfig config;
  config.name = options.model;
  config.patch_size = options.patch_size;
  auto model = std::make_unique<nn::VisionTransformer>(
      nn::vit_shape(config, {}, {}, /*channels=*/3, options.size, options.size, /*classes=*/1000),
      /*seed=*/1);
  for (const at::Tensor& parameter : model->parameters()) parameter.mul_(2);
  model->eval();
  return model;
}

/// Collective. Times of a forward pass, of maps by the shortcut, and by a masked copy for each patch;
/// ExitCode::bug when both ways to the maps differ.
ExitCode explain(const ExplainOptions& options, comm::Communicator& ranks) {
  const at::NoGradGuard no_gradients;
  const auto model = model_of(options);
  at::manual_seed(2);
  const at::Tensor images = at::randn({options.images, 3, options.size, options.size});
  const nn::Trail trail = nn::encode_with_trail(*model, images, {});
  const nn::PatchGrid grid{options.size / options.patch_size, options.size / options.patch_size};
  const nn::ReciprocamConfig config{.chunk = options.chunk};
  at::Tensor shortcut, copies;
  const std::vector<Times> times =
      measure_in_turns(ranks, options.seconds, [] {},
                       {[&] { (void)model->encode(images, {}, nn::Encoder::logits); },
                        [&] { shortcut = nn::reciprocam(*model, trail, grid, config); },
                        [&] { copies = nn::reciprocam_by_copies(*model, trail, grid, config); }});
  const std::int64_t wrong = at::isclose(shortcut, copies, 1e-3, 1e-4 * copies.abs().max().item<double>())
                                 .logical_not()
                                 .sum()
                                 .item<std::int64_t>();
  Results results("explain", options.output, ranks);
  Table& table = results.table(
      "",
      {fmt::format("ViT-ReciproCAM of all classes, {} of {} patches on {} × {} pixels, {} images:",
                   options.model, grid.count(), options.size, options.size, options.images),
       "a forward pass; maps by the exact shortcut; maps by a masked copy of the last block's input for each "
       "patch"},
      {{"way", "", 14, 0, Role::key},
       {"time p50", "ms", 10, 3, Role::lower},
       {"p99", "ms", 10, 3},
       {"of forward", "", 11, 3},
       {"of copies", "", 11, 4},
       {"#wrong", "", 6}},
      {{"time", "", {"time p50"}}});
  const std::vector<std::string> ways{"forward", "shortcut", "copies"};
  for (std::size_t i = 0; i < ways.size(); ++i) {
    std::vector<double> milliseconds = times[i].samples;
    for (double& value : milliseconds) value *= 1e3;
    table.add({ways[i], times[i].median * 1e3, times[i].p99 * 1e3, times[i].median / times[0].median,
               times[i].median / times[2].median, i == 1 ? wrong : 0},
              milliseconds);
  }
  results.finish();
  return wrong == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace

void add_explain(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ExplainOptions>();
  CLI::App* command = &add_command(app, {"explain",
                                         "Time of explanations by the exact shortcut against masked copies",
                                         {"cohort-perf explain --model vit_base"},
                                         endings_on_ranks()});
  command->add_option("--model", options->model, "vit_tiny, vit_small or vit_base")->capture_default_str();
  const auto add = [&](const char* name, auto& value, const char* text) {
    command->add_option(name, value, text)->check(CLI::PositiveNumber)->capture_default_str();
  };
  add("--patch", options->patch_size, "side of a patch in pixels");
  add("--size", options->size, "side of an image in pixels");
  add("--images", options->images, "explained together");
  add("--chunk", options->chunk, "masked copies in one pass");
  add("--seconds", options->seconds, "time for all ways");
  add_output(command, options->output);
  command->callback([options, &job] {
    job.with_ranks = [options](comm::Communicator& ranks) { return explain(*options, ranks); };
  });
}

}  // namespace cohort::perf

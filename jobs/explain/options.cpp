#include "options.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/config/field.h"
#include "cohort/core/text.h"

namespace cohort::jobs {
namespace {

/// An option that takes one of the names of an enum.
template <config::NamedEnum Value, class Take>
CLI::Option* add_choice(CLI::App& command, const std::string& option, const std::string& text, Value first,
                        const Take& take) {
  const std::span<const config::EnumName<Value>> all = enum_names(first);
  std::vector<std::string> names;
  for (const auto& entry : all) names.emplace_back(entry.name);
  return command
      .add_option_function<std::string>(
          option,
          [all, take](const std::string& name) {
            for (const auto& entry : all)
              if (entry.name == name) take(entry.value);
          },
          text)
      ->check(CLI::IsMember(names));
}

constexpr std::int64_t kMostChunk = 1 << 16;

}  // namespace

void add_map_options(CLI::App& command, ExplainOptions& options) {
  nn::ReciprocamConfig& config = options.how.reciprocam;
  add_choice(command, "--mask",
             "what ViT-ReciproCAM and Recipro-CAM show at once: one place (delta), its neighbours as well, "
             "weighted 4 2 1 (gaussian, the default), or a square of places",
             config.mask, [&config](nn::PlaceMask mask) { config.mask = mask; });
  command.add_option("--mask-side", config.side, "places in a row of --mask square")
      ->check(CLI::IsMember({1, 3, 5, 7, 9}))
      ->capture_default_str();
  command.add_flag_callback(
      "--hide-auxiliary", [&config] { config.keep_auxiliary = false; },
      "hide cls, registers and context tokens too, which are shown with every patch without it");
  add_choice(command, "--residual",
             "where the residual stream of the masked block starts: its input (block, the default), or that "
             "behind its first norm (norm)",
             config.residual, [&config](nn::MaskedResidual residual) { config.residual = residual; });
  command
      .add_option("--block", config.block,
                  "block whose input is masked, counted from the last one; of a residual network the stage "
                  "whose map is")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  add_choice(command, "--classes",
             "whose maps are drawn and scored: the class that is answered (top1, the default), that of the "
             "image's label, or each of all classes",
             options.scored.classes,
             [&options](eval::ExplainedClasses classes) { options.scored.classes = classes; });
  add_choice(command, "--map-of", "what of a class maps show: its logit (the default) or softmax",
             config.score, [&config](nn::MapScore score) { config.score = score; });
  command.add_option("--chunk", config.chunk, "masked or changed images in one pass: bounds the memory")
      ->check(CLI::Range(std::int64_t{1}, kMostChunk))
      ->capture_default_str();
  command.add_flag("--bf16", options.how.bf16, "matrix products in bf16; scores stay fp32");
}

void add_score_options(CLI::App& command, ExplainOptions& options) {
  command
      .add_option("--score", options.scores,
                  "score the maps (of --classes): adcc, insertion, deletion, pointing, separated by commas")
      ->delimiter(',')
      ->check(CLI::IsMember({"adcc", "insertion", "deletion", "pointing"}));
  command
      .add_option("--score-images", options.scored_images,
                  "images that are scored, evenly spread over the split; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--steps", options.scored.steps, "steps of insertion and deletion")
      ->check(CLI::Range(1, 224))
      ->capture_default_str();
  add_choice(command, "--baseline",
             "what pixels come into or are replaced by: the blurred image or zeros, the mean; without it "
             "blurred for insertion and zero for deletion",
             eval::CurveBaseline::blurred,
             [&options](eval::CurveBaseline baseline) { options.scored.baseline = baseline; });
  add_choice(command, "--mask-space",
             "where --score adcc multiplies an image by its map: normalised, as the model gets it (the "
             "default), or in pixels as they are stored",
             eval::MaskSpace::normalised,
             [&options](eval::MaskSpace space) { options.scored.mask_space = space; });
  command.add_option("--region", options.scored.region,
                     "field of masks or boxes that --score pointing compares maps with");
}

void take_scores(ExplainOptions& options) {
  const auto asks_for = [&](const char* name) {
    return std::find(options.scores.begin(), options.scores.end(), name) != options.scores.end();
  };
  options.scored.adcc = asks_for("adcc");
  options.scored.insertion = asks_for("insertion");
  options.scored.deletion = asks_for("deletion");
  options.scored.chunk = options.how.reciprocam.chunk;
  if (asks_for("pointing") && options.scored.region.empty())
    throw CLI::ValidationError("--region", "is needed for --score pointing");
  if (!asks_for("pointing") && !options.scored.region.empty())
    throw CLI::ValidationError("--region", "is for --score pointing");
}

}  // namespace cohort::jobs

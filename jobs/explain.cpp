#include "cohort/eval/explain.h"

#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/terminal.h"
#include "cohort/core/text.h"
#include "cohort/train/model.h"
#include "cohort/train/run_owner.h"

#include "commands.h"
#include "explain/files.h"
#include "explain/findings.h"
#include "explain/material.h"
#include "explain/options.h"
#include "explain/scores.h"
#include "explain/slides.h"
#include "new_file.h"
#include "trained_model.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

ExitCode explain_images(const ExplainOptions& options, comm::Communicator& ranks) {
  const fs::path folder =
      options.out.empty() ? fs::path(options.model.run) / "explain" : fs::path(options.out);
  // That in a run's folder is of the run, and made anew.
  if (!options.out.empty()) refuse_existing({folder / "explain.json"}, options.overwrites, ranks);
  refuse_existing({options.heat_maps}, options.overwrites, ranks);
  const auto owners =
      train::own_runs_of({folder / "explain.json", options.heat_maps}, "cohort explain", ranks);
  const TrainedModel trained = load_trained_model(options.model, Head::where_there_is, ranks);
  const train::RunConfig& config = trained.config;
  comm::together(ranks, [&] { nn::check_explainable(*trained.model, options.how.reciprocam); });
  Material material = open_material(options, trained, ranks);
  const data::Dataset& test = material.test.dataset;
  const SplitFindings found = look_at_splits(options, trained, material, ranks);
  const eval::Explanation explanation =
      eval::explain(*trained.model, test, material.rows, explained_group_key(trained, material), config.eval,
                    config.data.normalisation, ranks, options.how);
  const auto scores = score_maps(options, trained, material, ranks);
  comm::together(ranks, [&] {
    if (ranks.rank() == 0)
      write_explanation(trained, material, options.scored.classes, explanation, found, scores_json(scores),
                        folder);
  });
  if (!scores.empty()) write_image_scores(scores, test, folder / "scores.jsonl", ranks);
  if (!options.heat_maps.empty()) draw_slides(options, trained, material, options.heat_maps, ranks);
  if (!scores.empty() && ranks.rank() == 0) fmt::print("{}", scores_table(scores, terminal_columns()));
  log_info(fmt::format("{} images of split {} explained in {}; cohort report shows them",
                       format_count(std::ssize(material.rows)), test.split(), folder.string()));
  return ExitCode::done;
}

}  // namespace

void add_explain(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ExplainOptions>();
  CLI::App* command = &add_command(
      app, {"explain",
            "Show what a model looks at: attention, saliency, nearest images, tokens of contexts",
            {"cohort explain --run runs/x --split test --images 16",
             "cohort explain --run runs/x --split test --errors 16 --score adcc,insertion,deletion",
             "mpirun -n 4 cohort explain --run runs/x --split test --heat-maps slides"},
            command_line::endings_on_ranks()});
  add_model_options(*command, options->model);
  command->add_option(
      "--split", options->split,
      "split whose images are explained; without it the first one besides the training split");
  command->add_option("--images", options->images, "how many of them, evenly spread over the split")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--id", options->ids, "explain the image with this id; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--errors", options->errors,
                   "explain so many images of which the model is most sure, and wrong, in the place of "
                   "--images")
      ->check(CLI::Range(1, 256))
      ->excludes("--id");
  command->add_option("--neighbours", options->neighbours, "most similar training images to show; 0: none")
      ->check(CLI::Range(0, 32))
      ->capture_default_str();
  command->add_option("--out", options->out,
                      "folder to write: PNG, maps.safetensors, explain.json, scores.jsonl; without it "
                      "<run>/explain");
  command->add_option(
      "--heat-maps", options->heat_maps,
      "folder for a map of each slide, of all tiles of the split that cohort-data convert slides made: "
      "SLIDE.png, and SLIDE.geojson for QuPath");
  add_map_options(*command, *options);
  add_score_options(*command, *options);
  add_overwrite(*command, options->overwrites);
  command->callback([options, &job] {
    if (options->model.run.empty() && options->out.empty())
      throw CLI::ValidationError("--out", "is needed without --run");
    take_scores(*options);
    job.program = "cohort explain";
    job.with_ranks = [options](comm::Communicator& ranks) { return explain_images(*options, ranks); };
  });
}

}  // namespace cohort::jobs

#include "trained_model.h"

#include <optional>

#include <fmt/format.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/checkpoint/store.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/eval/weights.h"
#include "cohort/train/model.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

train::RunConfig read_config(const ModelSource& source) {
  const fs::path file = source.run.empty() ? fs::path(source.config) : config_of_run(source.run);
  std::vector<std::string> overrides = source.overrides;
  overrides.emplace_back("model.weights=");
  // A run's model is made for the dataset that it was trained on.
  if (source.run.empty() && !source.data.empty()) overrides.push_back("data.path=" + source.data);
  return train::load_run_config(file, overrides);
}

std::shared_ptr<nn::VisionTransformer> make_model(const train::RunConfig& config, bool with_head) {
  const data::Description description = data::Description::read(config.data.path);
  if (!with_head) return train::build_model(config, description, 0);
  if (config.method == train::MethodName::dino) {
    throw UsageError({"the model has no head to score: dino learns no classes", "command line",
                      "write its features with cohort extract"});
  }
  return train::build_model(config, description, train::number_of_classes(config, description));
}

void load_file(const ModelSource& source, nn::VisionTransformer& model, bool with_head) {
  const bool whole = eval::load_weights(model, checkpoint::read_safetensors(source.weights), source.weights);
  if (with_head && !whole) {
    throw DataError(
        {fmt::format("the weights have no head for the dataset's {} classes", model.shape().classes),
         source.weights,
         "use a dataset with the classes of training, or cohort extract, which needs no head"});
  }
}

std::int64_t chosen_step(const ModelSource& source, const checkpoint::Store& store) {
  if (source.step > 0) return source.step;
  const auto latest = store.latest();
  if (!latest)
    throw DataError({"the run has no complete checkpoint", source.run, "let cohort train reach one"});
  return *latest;
}

}  // namespace

fs::path config_of_run(const std::string& run) {
  const fs::path file = fs::path(run) / "config.yaml";
  if (!fs::exists(file)) {
    throw DataError({"not the folder of a run: it has no config.yaml", run,
                     "give the folder that cohort train wrote (run_dir)"});
  }
  refuse_no_file(file);
  return file;
}

void add_model_options(CLI::App& command, ModelSource& source) {
  CLI::Option* run =
      command.add_option("--run", source.run, "folder of a run; its newest checkpoint is used");
  command.add_option("--step", source.step, "checkpoint of the run to use instead of the newest")
      ->needs(run)
      ->check(CLI::PositiveNumber);
  command.add_option("--part", source.part, "part of the run's method: teacher (without it) or student")
      ->needs(run);
  CLI::Option* weights =
      command.add_option("--weights", source.weights, "safetensors file with the weights")->excludes(run);
  CLI::Option* model =
      command.add_option("--model", source.config, "configuration of the model that the weights belong to");
  weights->needs(model);
  model->needs(weights);
  command.add_option("--data", source.data, "folder of the dataset; without it that of the configuration");
  command.add_option("OVERRIDE", source.overrides,
                     "KEY=VALUE, replaces an option of the configuration: eval.context_images=64");
}

TrainedModel load_trained_model(const ModelSource& source, Head head, comm::Communicator& ranks) {
  TrainedModel trained;
  std::optional<checkpoint::Store> store;
  std::string prefix;
  comm::together(ranks, [&] {
    if (source.run.empty() && source.weights.empty()) {
      throw UsageError(
          {"which model?", "command line", "give --run RUN, or --weights FILE with --model CONFIG"});
    }
    trained.config = read_config(source);
    const bool learns_classes = trained.config.method != train::MethodName::dino;
    const bool with_head = head == Head::needed || (head == Head::where_there_is && learns_classes);
    trained.model = make_model(trained.config, with_head);
    if (source.run.empty()) {
      load_file(source, *trained.model, with_head);
    } else {
      store.emplace(fs::path(source.run) / "checkpoints", ranks);
      trained.step = chosen_step(source, *store);
      prefix = train::backbone_prefix(store->contents(trained.step), source.part);
    }
    if (!source.data.empty()) trained.config.data.path = source.data;
  });
  if (store) train::load_checkpoint_weights(*trained.model, *store, trained.step, prefix);
  trained.model->to(train::use_device(trained.config.device, ranks));
  return trained;
}

}  // namespace cohort::jobs

#include "cohort/train/import.h"

#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/checkpoint/store.h"
#include "cohort/core/error.h"
#include "cohort/train/model.h"

#include "train/training_data.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFirstStep = "step-00000000";

bool is_file(const fs::path& out) {
  if (out.extension() == ".safetensors") return true;
  if (out.filename() == kFirstStep) return false;
  throw UsageError(
      {fmt::format("'{}' is neither a safetensors file nor the first checkpoint of a run", out.string()),
       "--out", fmt::format("give FILE.safetensors or runs/NAME/checkpoints/{}", kFirstStep)});
}

/// A first checkpoint would make those of a run that has gone on worthless.
void refuse_run(const fs::path& checkpoints, comm::Communicator& ranks) {
  if (checkpoint::Store(checkpoints, ranks).steps().empty()) return;
  throw UsageError({"the folder already holds checkpoints", checkpoints.string(), "choose another run"});
}

std::shared_ptr<nn::VisionTransformer> random_model(RunConfig config, const data::Description& description) {
  config.model.weights.clear();
  const auto classes =
      description.labels.empty()
          ? 0
          : static_cast<std::int64_t>(description.label(label_column(config, description)).classes.size());
  return build_model(config, description, classes);
}

std::vector<checkpoint::Slice> slices_of(const nn::VisionTransformer& model) {
  std::vector<checkpoint::Slice> slices;
  for (const auto& parameter : model.named_parameters()) {
    const at::Tensor values = parameter.value().detach().contiguous();
    slices.push_back({"/model/" + parameter.key(), values.sizes().vec(), 0, values.view({-1})});
  }
  return slices;
}

}  // namespace

eval::FittedWeights import_weights(const fs::path& weights, const RunConfig& config, const fs::path& out,
                                   comm::Communicator& ranks) {
  eval::FittedWeights fitted;
  checkpoint::Meta meta{0, 0, config.seed, dump_run_config(config), ""};
  std::vector<checkpoint::Slice> state;  // of rank 0, which has all of it
  comm::together(ranks, [&] {
    const bool file = is_file(out);
    if (ranks.rank() != 0) return;
    if (!file) refuse_run(out.parent_path(), ranks);
    const auto description = data::Description::read(config.data.path);
    const auto model = random_model(config, description);
    fitted = eval::fitted_weights(*model, checkpoint::read_safetensors(weights), weights.string(),
                                  eval::Misfits::list);
    const at::NoGradGuard no_gradients;
    auto parameters = model->named_parameters();
    for (const auto& [name, values] : fitted.values) parameters[name].copy_(values);
    if (file) {
      checkpoint::write_safetensors(out, eval::weights_of(*model));
    } else {
      meta.dataset = dataset_identity(description, config.data.train_split);
      state = slices_of(*model);
    }
  });
  if (!is_file(out)) checkpoint::Store(out.parent_path(), ranks).save(state, meta);
  return fitted;
}

}  // namespace cohort::train

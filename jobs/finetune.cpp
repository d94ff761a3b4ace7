#include "finetune.h"

#include "cohort/core/text.h"
#include "cohort/train/model.h"
#include "cohort/train/run_config.h"

#include "model_source.h"

namespace cohort::jobs {
namespace {

/// Shapes, not what happens in training alone.
bool is_of_model(const std::string& key) {
  for (const char* other : {"model.weights", "model.dropout", "model.drop_path", "model.channel_sampling",
                            "model.cct.attention_dropout"}) {
    if (key == other) return false;
  }
  if (key.starts_with("model.") && key.ends_with(".batch_norm")) return false;
  return key.starts_with("model.") || key.starts_with("context.");
}

}  // namespace

std::vector<std::string> model_of_run(const std::string& run) {
  train::ConfigFile of_run(config_of_run(run), {});
  std::vector<std::string> assignments;
  for (const config::Field& field : of_run.fields.list()) {
    const bool are_chosen = field.key == "data.channels" && !of_run.values.data.channels.empty();
    // Features of cls tokens may be fine-tuned to a mean of patches, not the other way round.
    const bool is_open = field.key == "model.pooling" && of_run.values.model.pooling == nn::Pooling::cls;
    if ((!is_of_model(field.key) && !are_chosen) || is_open) continue;
    const std::string value = join(field.get(), ",");
    assignments.push_back(field.key + "=" + (field.is_list ? "[" + value + "]" : value));
  }
  return assignments;
}

void export_encoder(const checkpoint::Store& store, const checkpoint::Location& from, const std::string& part,
                    const std::filesystem::path& file) {
  checkpoint::export_safetensors(from, train::encoder_prefix(store.contents(from.step), part), file);
}

}  // namespace cohort::jobs

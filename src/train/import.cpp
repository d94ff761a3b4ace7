#include "cohort/train/import.h"

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/checkpoint/export.h"
#include "cohort/checkpoint/safetensors.h"
#include "cohort/checkpoint/store.h"
#include "cohort/core/error.h"
#include "cohort/eval/weights.h"
#include "cohort/method/registry.h"
#include "cohort/nn/initialise.h"
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
void refuse_run(const RunConfig& config, const fs::path& checkpoints, comm::Communicator& ranks) {
  if (!config.method.traits().is_encoder_alone) {
    throw UsageError(
        {fmt::format("a first checkpoint of method={} has more than a model in it", config.method.name()),
         "--out", "import to FILE.safetensors, and set model.weights to it"});
  }
  if (checkpoint::Store(checkpoints, ranks).steps().empty()) return;
  throw UsageError({"the folder already holds checkpoints", checkpoints.string(), "choose another run"});
}

/// What the configuration's model is for; a dataset may have no labels here.
data::Signature wanted_signature(const RunConfig& config, const data::Description& description) {
  if (!description.labels.empty()) return signature_of(config, description);
  return data::signature_of(description, "", config.context.keys);
}

/// What the fitted weights say of themselves: their statistics are those that they were trained with.
data::Signature fitted_signature(data::Signature wanted, const std::optional<data::Signature>& before) {
  wanted.mean.clear();
  wanted.deviation.clear();
  return before ? data::with_statistics_of(*before, std::move(wanted)) : wanted;
}

/// Values of the model's parameters and buffers, f32, one at a time: fitted ones, else random or first ones.
/// Those that the file has as the model needs them are views of it.
class ImportedValues {
 public:
  ImportedValues(const nn::Encoder& model, const nn::FittedWeights& fitted, std::uint64_t seed)
      : fitted_(&fitted), random_(model, seed) {
    for (const auto& [name, values] : nn::named_values(model))
      headers_.push_back({name, at::kFloat, values.sizes().vec()});
    for (const auto& buffer : model.named_buffers()) buffers_[buffer.key()] = buffer.value();
  }

  [[nodiscard]] const std::vector<checkpoint::TensorHeader>& headers() const { return headers_; }
  [[nodiscard]] at::Tensor operator[](std::size_t index) const {
    const auto& [name, dtype, shape] = headers_[index];
    const auto found = fitted_->values.find(name);
    if (found != fitted_->values.end()) return found->second.to(dtype).contiguous();
    if (const auto buffer = buffers_.find(name); buffer != buffers_.end()) return buffer->second.to(dtype);
    at::Tensor values = at::empty(shape, dtype);
    random_(name, values);
    return values;
  }

 private:
  const nn::FittedWeights* fitted_;
  nn::Initialiser random_;
  std::map<std::string, at::Tensor> buffers_;
  std::vector<checkpoint::TensorHeader> headers_;
};

void write_file(const fs::path& out, const ImportedValues& values, const data::Signature& signature) {
  const std::map<std::string, std::string> metadata{
      {"format", "pt"}, {checkpoint::kTrainedOn, data::signature_text(signature)}};
  checkpoint::write_safetensors(
      out, values.headers(), metadata, [&](std::size_t index, const checkpoint::WriteBytes& write) {
        const at::Tensor tensor = values[index];
        write(std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()));
      });
}

/// Every `ranks`-th parameter, beginning with number `rank`.
std::vector<checkpoint::Slice> share_of(const ImportedValues& values, std::size_t rank, std::size_t ranks) {
  std::vector<checkpoint::Slice> slices;
  for (std::size_t i = rank; i < values.headers().size(); i += ranks) {
    const checkpoint::TensorHeader& header = values.headers()[i];
    slices.push_back({"/model/" + header.name, header.shape, 0, values[i].view({-1})});
  }
  return slices;
}

}  // namespace

nn::FittedWeights import_weights(const fs::path& weights, const RunConfig& config, const fs::path& out,
                                 comm::Communicator& ranks) {
  nn::FittedWeights fitted;
  checkpoint::Meta meta{0, 0, config.seed, dump_with_absolute_paths(config), "", {}, {{"model", "/model/"}}};
  std::vector<checkpoint::Slice> share;
  bool file = false;
  comm::together(ranks, [&] {
    file = is_file(out);
    if (!file) refuse_run(config, out.parent_path(), ranks);
  });
  auto description = data::Description::read(config.data.path, ranks);
  comm::together(ranks, [&] {
    description = data::with_channels(std::move(description), config.data.channels);
    const data::Signature signature = wanted_signature(config, description);
    const auto model = build_model_without_values(config, signature);
    const checkpoint::Safetensors stored = checkpoint::read_safetensors(weights);
    fitted = eval::fitted_weights(*model, stored, weights.string(), nn::Misfits::list, &signature);
    const ImportedValues values(*model, fitted, config.seed);
    if (file) {
      if (ranks.rank() == 0)
        write_file(out, values, fitted_signature(signature, eval::signature_in(stored, weights.string())));
    } else {
      meta.dataset = dataset_identity(description, config.data.train_split);
      meta.trained_on = data::signature_text(signature);
      share =
          share_of(values, static_cast<std::size_t>(ranks.rank()), static_cast<std::size_t>(ranks.size()));
    }
  });
  if (!file) checkpoint::Store(out.parent_path(), ranks).save(share, meta);
  return fitted;
}

}  // namespace cohort::train

// Files of the kinds small_data.cct, small_data.csit_seqpool and small_data.pvtv2_mini: encoders.
#include <array>
#include <string>

#include <ATen/ATen.h>

#include "cohort/nn/cct.h"
#include "cohort/nn/csit.h"
#include "cohort/nn/pvtv2.h"

#include "checks.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

Tolerance outputs_of(Comparison& file) {
  return {leading_number(file.about().at("tolerance").at("outputs"))};
}

/// Of gradients whose names begin with `prefix`: a part of the tensor's largest, and of the file's largest.
Tolerance slopes_of(Comparison& file, const std::string& prefix) {
  constexpr double kOfLargest = 1e-7;
  return {leading_number(file.about().at("tolerance").at("gradients")), kOfLargest * file.largest(prefix)};
}

nn::CctShape cct_shape(Comparison& file) {
  const auto& config = file.about().at("config");
  nn::CctShape shape;
  shape.channels = file.input("in.images").size(1);
  shape.height = shape.width = config.at("img");
  shape.kernel = config.at("kernel");
  shape.convolutions = config.at("conv_layers");
  shape.planes = config.at("planes");
  shape.embed_dim = config.at("dim");
  shape.depth = config.at("depth");
  shape.heads = config.at("heads");
  shape.hidden = config.at("mlp_ratio").get<std::int64_t>() * shape.embed_dim;
  shape.classes = config.at("classes");
  if (config.at("positions") == "sine") shape.positions = nn::CctPositions::sinusoidal;
  return shape;
}

nn::CsitShape csit_shape(Comparison& file) {
  const auto& config = file.about().at("config");
  nn::CsitShape shape;
  shape.channels = file.input("in.images").size(1);
  shape.height = shape.width = config.at("img");
  shape.is_fine = config.at("patch") == 8;
  shape.planes = config.at("tokenizer_planes");
  shape.embed_dim = config.at("dim");
  shape.depth = config.at("depth");
  shape.heads = config.at("heads");
  shape.classes = config.at("classes");
  shape.pooling = nn::CsitPooling::sequence;
  return shape;
}

/// Sines are no parameter of ours: what the model adds to its patches is compared.
void compare_sines(Comparison& file, const at::Tensor& patches, const at::Tensor& entered) {
  file.tensor("param.classifier.positional_emb", (entered - patches).narrow(0, 0, 1), outputs_of(file));
}

/// -Σ targets log softmax(logits), the mean over images.
at::Tensor soft_cross_entropy(const at::Tensor& logits, const at::Tensor& targets) {
  return -(targets * at::log_softmax(logits, -1)).sum(-1).mean();
}

/// Keeps what enters the first unit, beside what OutputRecorder does.
class EntranceRecorder final : public nn::UnitRunner {
 public:
  explicit EntranceRecorder(nn::UnitModel& model) : model_(model), before_(model.runner()) {
    model.use(*this);
  }
  ~EntranceRecorder() override { model_.use(before_); }
  EntranceRecorder(const EntranceRecorder&) = delete;
  EntranceRecorder& operator=(const EntranceRecorder&) = delete;
  nn::Tensors run(std::size_t unit, const nn::Tensors& inputs, const Body& body) override {
    if (unit == 0) entered = inputs.front().detach();
    return before_.run(unit, inputs, body);
  }
  at::Tensor entered;

 private:
  nn::UnitModel& model_;
  nn::UnitRunner& before_;
};

}  // namespace

void check_cct(Comparison& file) {
  nn::Cct model(cct_shape(file), /*seed=*/1);
  load_parameters(file, "param.", model);
  EntranceRecorder entrance(model);
  OutputRecorder blocks(model);
  const at::Tensor images = leaf(file.float_input("in.images"));
  const nn::Encoder::Output output = model.encode(images, {}, nn::Encoder::tokens | nn::Encoder::logits);
  const at::Tensor loss = at::cross_entropy_loss(output.logits, file.input("in.labels"));
  loss.backward();
  const at::Tensor patches = model.patches_of(images).detach();
  file.tensor("tok.tokenizer", patches, outputs_of(file));
  for (const auto& [unit, tokens] : blocks.outputs)
    file.tensor("tok.classifier.blocks." + std::to_string(unit), tokens, outputs_of(file));
  file.tensor("tok.classifier.norm", output.tokens, outputs_of(file));
  file.tensor("out.pool_weights", model.pooling_weights(output.tokens), outputs_of(file));
  file.tensor("out.logits", output.logits, outputs_of(file));
  file.tensor("out.loss", loss.reshape({1}), outputs_of(file));
  if (model.shape().positions == nn::CctPositions::sinusoidal) compare_sines(file, patches, entrance.entered);
  compare_gradients(file, "grad.", model, slopes_of(file, "grad"));
  file.tensor("grad_in.images", images.grad(), slopes_of(file, "grad"));
}

void check_csit_seqpool(Comparison& file) {
  nn::Csit model(csit_shape(file), /*seed=*/1);
  load_parameters(file, "param.", model);
  const at::Tensor images = file.float_input("in.images"), targets = file.float_input("in.soft_targets");
  (void)file.input("in.labels");  // of which the soft targets were made
  const auto forward = [&] {
    model.zero_grad();
    return model.encode(images, {}, nn::Encoder::tokens | nn::Encoder::pooled | nn::Encoder::logits);
  };
  const nn::Encoder::Output output = forward();
  const at::Tensor loss = soft_cross_entropy(output.logits, targets);
  loss.backward();
  file.tensor("out.tokens", output.tokens, outputs_of(file));
  file.tensor("out.pool_weights", model.pooling_weights(output.tokens), outputs_of(file));
  file.tensor("out.pooled", output.pooled, outputs_of(file));
  file.tensor("out.logits_full", output.logits, outputs_of(file));
  file.tensor("out.loss_full", loss.reshape({1}), outputs_of(file));
  compare_gradients(file, "grad_full.", model, slopes_of(file, "grad_full"));
  // As published: two heads that answer half the logits each.
  const at::Tensor halved = 2.0 * soft_cross_entropy(forward().logits / 2.0, targets);
  halved.backward();
  file.tensor("out.loss", halved.reshape({1}), outputs_of(file));
  compare_gradients(file, "grad.", model, slopes_of(file, "grad."));
}

void check_pvtv2(Comparison& file) {
  const auto& config = file.about().at("config");
  using Four = std::array<std::int64_t, 4>;
  nn::PvtV2 model({.channels = file.input("in.images").size(1),
                   .widths = config.at("dims").get<Four>(),
                   .heads = config.at("heads").get<Four>(),
                   .mlp_ratios = config.at("mlp_ratios").get<Four>(),
                   .reductions = config.at("sr_ratios").get<Four>(),
                   .depths = config.at("depths").get<Four>(),
                   .classes = config.at("classes")},
                  /*seed=*/1);
  load_parameters(file, "param.", model);
  const at::Tensor images = leaf(file.float_input("in.images"));
  const nn::Encoder::Output output = model.encode(images, {}, nn::Encoder::maps | nn::Encoder::logits);
  const at::Tensor loss = at::cross_entropy_loss(output.logits, file.input("in.labels"));
  loss.backward();
  for (std::size_t stage = 0; stage < output.maps.size(); ++stage)
    file.tensor("tok.norm" + std::to_string(stage + 1), output.maps[stage].values.flatten(2).transpose(1, 2),
                outputs_of(file));
  file.tensor("out.logits", output.logits, outputs_of(file));
  file.tensor("out.loss", loss.reshape({1}), outputs_of(file));
  compare_gradients(file, "grad.", model, slopes_of(file, "grad"));
  file.tensor("grad_in.images", images.grad(), slopes_of(file, "grad"));
}

}  // namespace cohort::golden_check

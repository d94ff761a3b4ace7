// Files of the kinds masked.mae, masked.mae_steps, masked.m_mae, masked.u_mae and masked.fourier: the masked
// autoencoder of MAE.
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/comm/mesh.h"
#include "cohort/method/fourier_loss.h"
#include "cohort/method/mae_loss.h"
#include "cohort/method/mae_regularizer.h"
#include "cohort/nn/masked_autoencoder.h"
#include "cohort/nn/masking.h"
#include "cohort/shard/optimizer.h"

#include "checks.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

using Model = nn::MaskedAutoencoder;

std::shared_ptr<Model> model_of(const nlohmann::json& about) {
  nn::VitShape shape{};
  shape.channels = about.at("in_chans");
  shape.height = shape.width = about.at("img_size");
  shape.patch_size = about.at("patch_size");
  shape.embed_dim = about.at("embed_dim");
  shape.depth = about.at("depth");
  shape.heads = about.at("num_heads");
  shape.mlp_ratio = about.at("mlp_ratio");
  auto model =
      std::make_shared<Model>(std::make_shared<nn::VisionTransformer>(shape, 1),
                              nn::DecoderShape{about.at("decoder_embed_dim"), about.at("decoder_depth"),
                                               about.at("decoder_num_heads")});
  nn::initialise(*model, 1);
  model->named_parameters()["backbone.pos_embed"].set_requires_grad(false);
  return model;
}

/// The published name of a parameter of the model.
std::string published(const std::string& name) {
  constexpr std::string_view kTower = "backbone.";
  return name.starts_with(kTower) ? name.substr(kTower.size()) : name;
}

void load_published(Comparison& file, const std::string& prefix, Model& model) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : model.named_parameters()) {
    if (parameter.value().requires_grad())
      parameter.value().copy_(file.input(prefix + published(parameter.key())));
  }
}

/// What the model makes by itself.
void compare_tables(Comparison& file, const Model& model, Tolerance tolerance) {
  file.tensor("buf.pos_embed", model.named_parameters()["backbone.pos_embed"], tolerance);
  file.tensor("buf.decoder_pos_embed", model.named_buffers()["decoder_pos_embed"], tolerance);
}

void compare_blocks(Comparison& file, const OutputRecorder& recorder, const nlohmann::json& about,
                    Tolerance tolerance) {
  const std::size_t depth = about.at("depth"), decoder_depth = about.at("decoder_depth");
  for (std::size_t l = 0; l < depth; ++l)
    file.tensor("tok.blocks." + std::to_string(l), recorder.outputs.at(decoder_depth + l), tolerance);
  for (std::size_t l = 0; l < decoder_depth; ++l)
    file.tensor("tok.decoder_blocks." + std::to_string(l), recorder.outputs.at(l), tolerance);
}

at::Tensor loss_of(const at::Tensor& errors, const nn::Masking& masking) {
  return (errors * masking.mask).sum() / masking.mask.sum();
}

}  // namespace

void check_mae(Comparison& file) {
  const auto& about = file.about();
  const Tolerance tolerance{about.at("tolerance_f32")};
  const auto model = model_of(about);
  load_published(file, "param.", *model);
  compare_tables(file, *model, tolerance);
  const nn::Masking masking = nn::random_masking(file.input("in.noise"), about.at("mask_ratio"));
  file.tensor("out.ids_keep", masking.kept, kExact);
  file.tensor("out.ids_restore", masking.restore, kExact);
  file.tensor("out.mask", masking.mask, kExact);

  const at::Tensor seen = leaf(file.float_input("in.images")), aimed_at = leaf(file.float_input("in.images"));
  OutputRecorder recorder(*model);
  const at::Tensor predicted = model->forward(seen, masking, {});
  const at::Tensor target =
      method::reconstruction_target(aimed_at, about.at("patch_size"), about.at("norm_pix"));
  const at::Tensor errors = method::reconstruction_errors(predicted, target);
  const at::Tensor loss = loss_of(errors, masking);
  loss.backward();
  compare_blocks(file, recorder, about, tolerance);
  file.tensor("out.latent",
              model->backbone()->finish(recorder.outputs.rbegin()->second, nn::Encoder::tokens).tokens,
              tolerance);
  file.tensor("out.pred", predicted, tolerance);
  file.tensor("out.target", target, tolerance);
  file.tensor("out.loss_per_patch", errors, tolerance);
  file.tensor("out.loss", loss.view({1}), tolerance);
  file.number("loss", loss.item<double>(), about.at("loss"), tolerance);
  file.tensor("grad_in.images_target_fixed", seen.grad(), tolerance);
  file.tensor("grad_in.images", seen.grad() + aimed_at.grad(), tolerance);
  for (const auto& parameter : model->named_parameters()) {
    if (parameter.value().requires_grad())
      file.tensor("grad." + published(parameter.key()), parameter.value().grad(), tolerance);
  }
}

namespace {

/// Without the gradient of keys' biases, which is 0 in theory, so that AdamW follows its rounding.
at::Tensor without_key_bias(const std::string& name, const at::Tensor& values) {
  if (!name.ends_with("qkv.bias")) return values;
  const std::vector<at::Tensor> thirds = values.chunk(3);
  return at::cat({thirds[0], thirds[2]});
}

}  // namespace

void check_mae_steps(Comparison& file) {
  const auto& about = file.about();
  const Tolerance of_losses{about.at("tolerance_f32").at("losses")},
      of_parameters{about.at("tolerance_f32").at("parameters")};
  const auto model = model_of(about);
  load_published(file, "init.", *model);
  compare_tables(file, *model, of_losses);
  comm::DeviceMesh mesh(one_rank(), 1);
  shard::ShardedModel sharded(model, {}, mesh);
  const auto optimizer = shard::make_optimizer(
      sharded.shards(),
      {.beta1 = about.at("betas").at(0), .beta2 = about.at("betas").at(1), .epsilon = about.at("adam_eps")},
      [&](std::span<const at::Tensor> values) { return sharded.squared_norms(values); });
  for (std::int64_t step = 0; step < about.at("steps"); ++step) {
    sharded.begin_step();
    const at::Tensor images = file.float_input("in.images")[step];
    const nn::Masking masking = nn::random_masking(file.input("in.noise")[step], about.at("mask_ratio"));
    const at::Tensor predicted = model->forward(images, masking, {});
    const at::Tensor loss = loss_of(
        method::reconstruction_errors(
            predicted, method::reconstruction_target(images, about.at("patch_size"), about.at("norm_pix"))),
        masking);
    loss.backward();
    sharded.finish_backward();
    optimizer->step(about.at("lr"), about.at("weight_decay"), optimizer->clip_gradients());
    sharded.parameters_changed();
    file.number("losses " + std::to_string(step), loss.item<double>(),
                about.at("losses").at(static_cast<std::size_t>(step)), of_losses);
  }
  sharded.for_each_parameter([&](const std::string& name, const at::Tensor& values) {
    if (name == "backbone.pos_embed") return;
    const std::string wanted = "final." + published(name);
    file.values(wanted, without_key_bias(name, values), without_key_bias(name, file.input(wanted)),
                of_parameters);
  });
}

namespace {

template <class Enum>
Enum named(const nlohmann::json& name) {
  for (const auto& entry : enum_names(Enum{})) {
    if (entry.name == name.get<std::string>()) return entry.value;
  }
  throw std::runtime_error("'" + name.get<std::string>() + "' is not known");
}

method::MaeRegularizer regularizer_in(const nlohmann::json& about) {
  return {.kind = named<method::MaeRegularizer::Kind>(about.at("regularizer")),
          .weight = about.at("lam"),
          .mu = about.at("mu"),
          .feature = named<method::MaeRegularizer::Feature>(about.at("feature")),
          .centred = about.at("centering")};
}

at::Tensor gradient_of_regularizer(const at::Tensor& features, const method::MaeRegularizer& options) {
  const at::Tensor own = leaf(features.detach());
  method::regularizer_of(own, options).backward();
  return own.grad();
}

/// The file has a classifier of the features, too, that they do not learn from.
at::Tensor compare_classifier(Comparison& file, const at::Tensor& features, Tolerance tolerance) {
  const at::Tensor weight = leaf(file.float_input("param.fc.weight")),
                   bias = leaf(file.float_input("param.fc.bias"));
  const at::Tensor logits = at::linear(features.detach(), weight, bias);
  const at::Tensor loss = at::cross_entropy_loss(logits, file.input("in.labels"));
  loss.backward();
  file.tensor("out.logits", logits, tolerance);
  file.tensor("out.loss_ce", loss.view({1}), tolerance);
  file.tensor("grad.fc.weight", weight.grad(), tolerance);
  file.tensor("grad.fc.bias", bias.grad(), tolerance);
  return loss;
}

}  // namespace

void check_mae_regularized(Comparison& file) {
  const auto& about = file.about();
  const Tolerance tolerance{about.at("tolerance_f32")},
      of_value{tolerance.relative, about.at("tolerance_reg_abs")};
  const method::MaeRegularizer options = regularizer_in(about);
  const auto model = model_of(about);
  load_published(file, "param.", *model);
  compare_tables(file, *model, tolerance);
  const nn::Masking masking = nn::random_masking(file.input("in.noise"), about.at("mask_ratio"));
  const at::Tensor images = file.float_input("in.images");
  const at::Tensor latent = model->encode(images, masking, {});
  const at::Tensor features = method::regularized_feature(*model->backbone(), latent, options.feature);
  const at::Tensor regularizer = method::regularizer_of(features, options);
  const at::Tensor predicted = model->decode(latent, masking.restore, {});
  const at::Tensor mae = loss_of(
      method::reconstruction_errors(
          predicted, method::reconstruction_target(images, about.at("patch_size"), about.at("norm_pix"))),
      masking);
  const at::Tensor loss = mae + options.weight * regularizer;
  loss.backward();
  const at::Tensor classified = compare_classifier(file, features, tolerance);
  file.tensor("out.mask", masking.mask, kExact);
  file.tensor("out.latent", latent, tolerance);
  file.tensor("out.feature", features, tolerance);
  file.tensor("out.pred", predicted, tolerance);
  file.tensor("out.loss_mae", mae.view({1}), tolerance);
  file.tensor("out.reg", regularizer.view({1}), of_value);
  file.tensor("out.loss", (loss + classified).view({1}), tolerance);
  file.tensor("grad.feature_of_reg", gradient_of_regularizer(features, options), tolerance);
  for (const auto& parameter : model->named_parameters()) {
    if (parameter.value().requires_grad())
      file.tensor("grad." + published(parameter.key()), parameter.value().grad(), tolerance);
  }
}

void check_fourier(Comparison& file) {
  const auto& about = file.about();
  const Tolerance tolerance{about.at("tolerance_f32")};
  const nn::PatchGrid grid{about.at("grid"), about.at("grid")};
  const at::Tensor mask = file.float_input("in.mask");
  for (const auto& entry : enum_names(method::Fourier{})) {
    const std::string name(entry.name);
    const at::Tensor predicted = leaf(file.float_input("in.pred")),
                     target = leaf(file.float_input("in.target"));
    const at::Tensor errors =
        method::fourier_errors(predicted, target, entry.value, grid, about.at("patch_size"));
    const at::Tensor loss = (errors * mask).sum() / mask.sum();
    loss.backward();
    file.tensor_if_there(name + ".per_token", errors, tolerance);
    file.tensor(name + ".loss", loss.view({1}), tolerance);
    file.number(name, loss.item<double>(), about.at("losses").at(name), tolerance);
    file.tensor_if_there(name + ".grad_pred", predicted.grad(), tolerance);
    file.tensor_if_there(name + ".grad_target", target.grad(), tolerance);
    const bool finite = predicted.grad().isfinite().all().item<bool>();
    file.number(name + " finite gradients", finite ? 1 : 0, 1, kExact);
  }
}

}  // namespace cohort::golden_check

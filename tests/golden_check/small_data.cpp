// Files of the kinds small_data.*: learning without labels from two views, and encoders.
#include <array>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/comm/mesh.h"
#include "cohort/method/two_view_losses.h"
#include "cohort/nn/position.h"
#include "cohort/nn/projection_head.h"
#include "cohort/nn/resnet.h"
#include "cohort/nn/unit_model.h"
#include "cohort/nn/vit.h"
#include "cohort/shard/ema.h"

#include "checks.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

Tolerance values_of(Comparison& file) {
  const auto& tolerance = file.about().at("tolerance");
  return {leading_number(tolerance.at(tolerance.contains("values") ? "values" : "outputs"))};
}

/// Of gradients whose names begin with `prefix`: a part of the tensor's largest, and of the file's largest.
Tolerance gradients_of(Comparison& file, const std::string& prefix = "grad") {
  constexpr double kOfLargest = 1e-7;
  return {leading_number(file.about().at("tolerance").at("gradients")), kOfLargest * file.largest(prefix)};
}

/// A head as a model that can be sharded.
class HeadModel final : public nn::UnitModel {
 public:
  explicit HeadModel(const nn::ProjectionHeadShape& shape)
      : head(register_module("net", std::make_shared<nn::ProjectionHead>(shape))) {}
  const std::shared_ptr<nn::ProjectionHead> head;
};

nn::Conditions training(std::int64_t pass = 0) {
  nn::Conditions conditions;
  conditions.training = true;
  conditions.pass = pass;
  return conditions;
}

/// Linear, batch normalisation, ReLU, linear, of the file's values.
std::shared_ptr<HeadModel> byol_head(Comparison& file, const std::string& name) {
  const at::Tensor &first = file.input("param." + name + ".net.0.weight"),
                   &last = file.input("param." + name + ".net.3.weight");
  auto model = std::make_shared<HeadModel>(
      nn::ProjectionHeadShape{.width = first.size(1), .hidden = first.size(0), .outputs = last.size(0)});
  load_parameters(file, "param." + name + ".", *model);
  return model;
}

/// `net`: the module that the file's names of statistics are within.
void compare_running(Comparison& file, const std::string& name, const HeadModel& model,
                     const std::string& net = "net.1.") {
  const auto buffers = model.named_buffers();
  for (const std::string& statistic : file.names("after." + name + "."))
    file.tensor("after." + name + "." + statistic, buffers[net + statistic], values_of(file));
}

void compare_average(Comparison& file, const std::shared_ptr<HeadModel>& target,
                     const std::shared_ptr<HeadModel>& online) {
  comm::DeviceMesh mesh(one_rank(), 1);
  for (const at::Tensor& parameter : target->parameters()) parameter.set_requires_grad(false);
  shard::ShardedModel followed(online, {}, mesh), following(target, {}, mesh);
  shard::update_ema(following, followed, file.about().at("config").at("momentum"));
  following.for_each_parameter([&](const std::string& name, const at::Tensor& values) {
    file.tensor("after_ema.target_projector." + name, values, values_of(file));
  });
}

std::shared_ptr<nn::VisionTransformer> deit(Comparison& file) {
  const auto& config = file.about().at("config");
  nn::VitShape shape{};
  shape.channels = file.input("in.images").size(1);
  shape.height = shape.width = config.at("img");
  shape.patch_size = config.at("patch");
  shape.embed_dim = config.at("dim");
  shape.depth = config.at("depth");
  shape.heads = config.at("heads");
  shape.mlp_ratio = config.at("mlp_ratio");
  shape.classes = config.at("classes");
  auto model = std::make_shared<nn::VisionTransformer>(shape, /*seed=*/1);
  load_parameters(file, "param.", *model);
  return model;
}

nn::ResNetShape resnet_shape(Comparison& file) {
  const auto& config = file.about().at("config");
  nn::ResNetShape shape;
  shape.channels = file.input("in.images").size(1);
  shape.bottleneck = config.at("block") == "bottleneck";
  shape.depths = config.at("layers").get<std::array<std::int64_t, 4>>();
  shape.width = config.at("base_width");
  shape.classes = config.at("classes");
  return shape;
}

void run_resnet(Comparison& file, nn::ResNet& model, const std::string& mode) {
  model.zero_grad();
  const at::Tensor images = leaf(file.float_input("in.images"));
  nn::Conditions conditions;
  conditions.training = mode == "train";
  const nn::Encoder::Output output =
      model.encode(images, conditions, nn::Encoder::pooled | nn::Encoder::maps | nn::Encoder::logits);
  const at::Tensor loss = at::cross_entropy_loss(output.logits, file.input("in.labels"));
  loss.backward();
  const std::string out = "out_" + mode + ".", gradient = "grad_" + mode + ".";
  for (std::size_t s = 0; s < output.maps.size(); ++s)
    file.tensor_if_there(out + "layer" + std::to_string(s + 1), output.maps[s].values, values_of(file));
  file.tensor_if_there(out + "pooled", output.pooled, values_of(file));
  file.tensor(out + "logits", output.logits, values_of(file));
  file.tensor(out + "loss", loss.reshape({1}), values_of(file));
  compare_gradients(file, gradient, model, gradients_of(file, gradient));
  file.tensor_if_there(gradient + "in.images", images.grad(), gradients_of(file, gradient));
  file.tensor_if_there("grad_in_" + mode + ".images", images.grad(), gradients_of(file, gradient));
}

}  // namespace

void check_simclr(Comparison& file) {
  const at::Tensor &first = file.input("param.projector.0.weight"),
                   &last = file.input("param.projector.2.weight");
  nn::ProjectionHead head(
      {.width = first.size(1),
       .hidden = first.size(0),
       .outputs = last.size(0),
       .bias = file.has("param.projector.0.bias") ? nn::HeadBias::all : nn::HeadBias::none,
       .batch_norm = nn::HeadNorm::none});
  load_parameters(file, "param.projector.", head);
  const at::Tensor h1 = leaf(file.float_input("in.h1")), h2 = leaf(file.float_input("in.h2"));
  const at::Tensor z1 = head.forward(h1, training()), z2 = head.forward(h2, training());
  const at::Tensor loss = method::nt_xent(z1, z2, file.about().at("config").at("temperature"));
  loss.backward();
  file.tensor("out.z1", z1, values_of(file));
  file.tensor("out.z2", z2, values_of(file));
  file.tensor("out.loss", loss.reshape({1}), values_of(file));
  compare_gradients(file, "grad.projector.", head, gradients_of(file));
  file.tensor("grad_in.h1", h1.grad(), gradients_of(file));
  file.tensor("grad_in.h2", h2.grad(), gradients_of(file));
}

void check_byol(Comparison& file) {
  const auto projector = byol_head(file, "projector"), predictor = byol_head(file, "predictor"),
             target = byol_head(file, "target_projector");
  std::vector<at::Tensor> features, predictions, targets;
  for (const std::int64_t view : {0, 1}) {
    const std::string number = std::to_string(view + 1);
    features.push_back(leaf(file.float_input("in.online" + number)));
    const at::Tensor projected = projector->head->forward(features.back(), training(view));
    predictions.push_back(predictor->head->forward(projected, training(view)));
    targets.push_back(target->head->forward(file.float_input("in.target" + number), training(view)));
    file.tensor("out.pred" + number, predictions.back(), values_of(file));
    file.tensor("out.target" + number, targets.back(), values_of(file));
  }
  const at::Tensor loss =
      (method::byol_sum(predictions[0], targets[1]) + method::byol_sum(predictions[1], targets[0])) /
      static_cast<double>(features[0].size(0));
  loss.backward();
  file.tensor("out.loss", loss.reshape({1}), values_of(file));
  compare_gradients(file, "grad.projector.", *projector, gradients_of(file));
  compare_gradients(file, "grad.predictor.", *predictor, gradients_of(file));
  file.tensor("grad_in.online1", features[0].grad(), gradients_of(file));
  file.tensor("grad_in.online2", features[1].grad(), gradients_of(file));
  for (const auto& model : {projector, predictor, target}) finish_step(*model);
  compare_running(file, "projector", *projector);
  compare_running(file, "predictor", *predictor);
  compare_running(file, "target_projector", *target);
  compare_average(file, target, projector);
}

void check_simsiam(Comparison& file) {
  const auto& config = file.about().at("config");
  const std::int64_t width = config.at("features"), outputs = config.at("dim");
  HeadModel projector({.width = width,
                       .hidden = config.at("hidden"),
                       .outputs = outputs,
                       .layers = 3,
                       .bias = nn::HeadBias::none,
                       .normalises_outputs = true});
  HeadModel predictor({.width = outputs,
                       .hidden = config.at("bottleneck"),
                       .outputs = outputs,
                       .bias = nn::HeadBias::outputs});
  load_parameters(file, "param.projector.", projector);
  load_parameters(file, "param.predictor.", predictor);
  std::array<at::Tensor, 2> features, projections, predictions;
  for (std::size_t view = 0; view < 2; ++view) {
    const std::string number = std::to_string(view + 1);
    const nn::Conditions seen = training(static_cast<std::int64_t>(view));
    features[view] = leaf(file.float_input("in.features" + number));
    projections[view] = projector.head->forward(features[view], seen);
    predictions[view] = predictor.head->forward(projections[view], seen);
    file.tensor("out.projection" + number, projections[view], values_of(file));
    file.tensor("out.prediction" + number, predictions[view], values_of(file));
  }
  const at::Tensor loss = (method::simsiam_sum(predictions[0], projections[1]) +
                           method::simsiam_sum(predictions[1], projections[0])) /
                          (2.0 * static_cast<double>(features[0].size(0)));
  loss.backward();
  file.tensor("out.loss", loss.reshape({1}), values_of(file));
  compare_gradients(file, "grad.projector.", projector, gradients_of(file));
  compare_gradients(file, "grad.predictor.", predictor, gradients_of(file));
  file.tensor("grad_in.features1", features[0].grad(), gradients_of(file));
  file.tensor("grad_in.features2", features[1].grad(), gradients_of(file));
  for (HeadModel* model : {&projector, &predictor}) finish_step(*model);
  compare_running(file, "projector", projector, "net.");
  compare_running(file, "predictor", predictor, "net.");
}

void check_contrast_scopes(Comparison& file) {
  const auto& config = file.about().at("config");
  const std::int64_t ranks = config.at("ranks"), images = config.at("images_per_rank");
  const double temperature = config.at("temperature");
  for (const auto& [scope, parts, gradient] :
       {std::tuple{"global", std::int64_t{1}, "global"}, std::tuple{"rank_mean", ranks, "rank"}}) {
    const at::Tensor z1 = leaf(file.float_input("in.z1")), z2 = leaf(file.float_input("in.z2"));
    const at::Tensor loss = method::nt_xent(z1, z2, temperature, parts);
    loss.backward();
    file.tensor(std::string("out.loss_") + scope, loss.reshape({1}), values_of(file));
    file.tensor(std::string("grad_") + gradient + ".z1", z1.grad(), gradients_of(file));
    file.tensor(std::string("grad_") + gradient + ".z2", z2.grad(), gradients_of(file));
  }
  std::vector<at::Tensor> of_rank;
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    const auto own = [&](const std::string& name) {
      return file.float_input(name).narrow(0, rank * images, images);
    };
    of_rank.push_back(method::nt_xent(own("in.z1"), own("in.z2"), temperature));
  }
  file.tensor("out.loss_per_rank", at::stack(of_rank), values_of(file));
}

void check_resnet(Comparison& file) {
  nn::ResNet model(resnet_shape(file), /*seed=*/1);
  load_parameters(file, "param.", model);
  load_buffers(file, "buffer.", model);
  run_resnet(file, model, "eval");
  run_resnet(file, model, "train");
  finish_step(model);
  const auto buffers = model.named_buffers();
  for (const std::string& name : file.names("after."))
    file.tensor("after." + name, buffers[name], values_of(file));
}

void check_deit(Comparison& file) {
  constexpr double kSmoothing = 0.1;
  const auto model = deit(file);
  const at::Tensor images = leaf(file.float_input("in.images"));
  const nn::Encoder::Output output = model->encode(images, {}, nn::Encoder::tokens | nn::Encoder::logits);
  const at::Tensor loss = at::cross_entropy_loss(output.logits, file.input("in.labels"), {},
                                                 at::Reduction::Mean, -100, kSmoothing);
  loss.backward();
  file.tensor("out.tokens", output.tokens, values_of(file));
  file.tensor("out.logits", output.logits, values_of(file));
  file.tensor("out.loss", loss.reshape({1}), values_of(file));
  compare_gradients(file, "grad.", *model, gradients_of(file));
  file.tensor("grad_in.images", images.grad(), gradients_of(file));
}

void check_pos_resize(Comparison& file) {
  std::size_t number = 0;
  for (const auto& about : file.about().at("config").at("cases")) {
    const std::string name = "case" + std::to_string(number++);
    at::Tensor table = file.float_input(name + ".in");
    const auto chain = about.at("chain").get<std::vector<std::int64_t>>();
    for (std::size_t i = 1; i < chain.size(); ++i) {
      table = nn::interpolate_positions(table, about.at("extra"), {chain[i - 1], chain[i - 1]},
                                        {chain[i], chain[i]}, nn::PositionInterpolation::plain);
      file.tensor(name + ".out" + std::to_string(chain[i]), table, values_of(file));
    }
  }
}

}  // namespace cohort::golden_check

// Files of the kinds masked.*: masked autoencoders and their evaluation, losses on two views.
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <torch/autograd.h>
#include <torch/nn/modules/linear.h>

#include "cohort/comm/mesh.h"
#include "cohort/method/two_view_losses.h"
#include "cohort/nn/batch_norm.h"
#include "cohort/nn/masking.h"
#include "cohort/nn/position.h"
#include "cohort/nn/unit_model.h"
#include "cohort/nn/vit.h"
#include "cohort/shard/optimizer.h"

#include "checks.h"
#include "models.h"
#include "shard/parameter_groups.h"

namespace cohort::golden_check {
namespace {

template <class Enum>
Enum enum_named(const std::string& name) {
  for (const auto& entry : enum_names(Enum{})) {
    if (entry.name == name) return entry.value;
  }
  throw std::runtime_error("'" + name + "' is not known");
}

using LossOfViews = std::function<at::Tensor(const at::Tensor& z1, const at::Tensor& z2)>;

/// The loss by this name in `losses` of the file.
LossOfViews loss_named(Comparison& file, const std::string& name, at::ScalarType type) {
  const auto& about = file.about();
  if (name == "simclr") {
    return [&](const auto& z1, const auto& z2) { return method::nt_xent(z1, z2, about.at("tau")); };
  }
  if (name == "barlow_twins") {
    return [&](const auto& z1, const auto& z2) {
      return method::barlow_twins(z1, z2, about.at("barlow_lambda"));
    };
  }
  if (name == "spectral_contrastive") {
    return [&](const auto& z1, const auto& z2) {
      return method::spectral_contrastive(z1, z2, about.at("spectral_mu"));
    };
  }
  if (name == "matrix_ssl_paper") {
    return [&](const auto& z1, const auto& z2) {
      return method::matrix_ssl(z1, z2, about.at("gamma"), about.at("eps"));
    };
  }
  constexpr std::string_view kReference = "matrix_ssl_reference";
  if (!name.starts_with(kReference)) throw std::runtime_error("no loss on two views '" + name + "'");
  const auto& options = about.at(std::string(kReference)).at(std::stoul(name.substr(kReference.size())));
  const at::Tensor p1 = file.input("in.p1").to(type), p2 = file.input("in.p2").to(type);
  return [=](const auto& z1, const auto& z2) {
    return method::matrix_ssl_reference(z1, z2, p1, p2,
                                        {.gamma = options.at("gamma"),
                                         .lambda = options.at("lam"),
                                         .mu = options.at("mu"),
                                         .order = options.at("order")});
  };
}

void compare_losses(Comparison& file, at::ScalarType type, Tolerance tolerance) {
  const std::string of_type = type == at::kFloat ? " in f32" : "";
  for (const auto& [name, expected] : file.about().at("losses").items()) {
    const at::Tensor z1 = leaf(file.input("in.z1").to(type)), z2 = leaf(file.input("in.z2").to(type));
    const at::Tensor loss = loss_named(file, name, type)(z1, z2);
    loss.backward();
    file.number(name + of_type, loss.item<double>(), expected, tolerance);
    file.tensor(name + ".grad_z1", z1.grad(), tolerance);
    file.tensor(name + ".grad_z2", z2.grad(), tolerance);
  }
}

/// Of the linear probe of MAE: batch normalisation without factors, then the classifier.
class LinearProbe final : public nn::UnitModel {
 public:
  LinearProbe(std::int64_t width, std::int64_t classes, double momentum, double epsilon)
      : norm_(register_module("norm", std::make_shared<nn::BatchNorm>(width, nn::NormScope::all,
                                                                      /*affine=*/false, momentum, epsilon))),
        linear_(register_module("linear", torch::nn::Linear(width, classes))) {}
  at::Tensor forward(const at::Tensor& features, bool training) {
    begin();
    nn::Conditions conditions;
    conditions.training = training;
    return linear_(norm_->forward(features, conditions, {}));
  }

 private:
  std::shared_ptr<nn::BatchNorm> norm_;
  torch::nn::Linear linear_;
};

/// Parameters whose first value is in the group.
std::vector<std::string> names_in(const shard::ParameterGroup& group,
                                  std::span<const shard::FlatShard> shards) {
  std::vector<std::string> names;
  for (const shard::Range& range : group.ranges) {
    for (const shard::ParameterSlot& slot : shards[range.shard].slots) {
      if (slot.offset >= range.begin && slot.offset < range.begin + range.count) names.push_back(slot.name);
    }
  }
  return names;
}

/// The model that MAE is fine-tuned as.
nn::VitShape finetuned_shape(const nlohmann::json& about) {
  nn::VitShape shape{};
  shape.channels = about.value("in_chans", 3);
  shape.height = shape.width = about.value("img_size", 8);
  shape.patch_size = about.value("patch_size", 4);
  shape.embed_dim = about.value("embed_dim", 8);
  shape.depth = about.at("depth");
  shape.heads = about.value("num_heads", 2);
  shape.mlp_ratio = about.value("mlp_ratio", 4);
  shape.classes = about.value("classes", 3);
  shape.pooling = about.at("global_pool").get<bool>() ? nn::Pooling::mean : nn::Pooling::cls;
  return shape;
}

}  // namespace

void check_masking(Comparison& file) {
  for (const auto& [name, about] : file.about().at("cases").items()) {
    const nn::Masking found = nn::random_masking(file.input(name + ".noise"), about.at("ratio"));
    file.number(name + ".kept", static_cast<double>(found.kept.size(1)), about.at("kept"), kExact);
    file.tensor(name + ".keep", found.kept, kExact);
    file.tensor(name + ".restore", found.restore, kExact);
    file.tensor(name + ".mask", found.mask, kExact);
  }
}

void check_positions(Comparison& file) {
  const Tolerance tolerance{file.about().at("tolerance_f32")};
  for (const auto& [name, about] : file.about().at("tables").items()) {
    const std::int64_t side = about.at("grid"), before = about.at("cls").get<bool>() ? 1 : 0;
    const nn::PatchGrid grid{side, side};
    const at::Tensor table = nn::fixed_positions(
        about.at("dim"), before, grid, enum_named<nn::PositionOrder>(about.at("order").get<std::string>()));
    file.tensor("table." + name,
                nn::repeat_positions(table, before, grid, grid, nn::PositionInterpolation::exact,
                                     about.value("repeat", 1)),
                tolerance);
  }
}

void check_two_view_losses(Comparison& file) {
  const auto& about = file.about();
  compare_losses(file, at::kDouble, {about.at("tolerance_f64")});
  compare_losses(file, at::kFloat, {about.at("tolerance_f32").at("others")});
  if (!file.has("matrix_ssl_paper.eigenvalues")) return;
  const at::Tensor across = method::covariance_of_views(file.input("in.z1"), file.input("in.z2"));
  file.tensor("matrix_ssl_paper.eigenvalues", at::linalg_eigvalsh((across + across.t()) / 2),
              {about.at("tolerance_f64")});
}

void check_linear_probe_lars(Comparison& file) {
  const auto& about = file.about();
  const Tolerance tolerance{about.at("tolerance_f32")};
  const auto model = std::make_shared<LinearProbe>(about.at("d"), about.at("classes"),
                                                   about.at("bn_momentum"), about.at("bn_eps"));
  load_parameters(file, "init.", *model->named_children()["linear"]);
  comm::DeviceMesh mesh(one_rank(), 1);
  shard::ShardedModel sharded(model, {}, mesh);
  const auto optimizer = shard::make_optimizer(
      sharded.shards(), {.name = "lars", .momentum = about.at("momentum")},
      [&](std::span<const at::Tensor> values) { return sharded.squared_norms(values); });
  nn::StepStates states(*model);
  for (std::int64_t step = 0; step < about.at("steps"); ++step) {
    states.begin_step();
    sharded.begin_step();
    const at::Tensor logits = model->forward(file.float_input("in.features")[step], /*training=*/true);
    const at::Tensor loss = at::cross_entropy_loss(logits, file.input("in.labels")[step]);
    loss.backward();
    sharded.finish_backward();
    optimizer->step(about.at("lr"), about.at("weight_decay"), optimizer->clip_gradients());
    sharded.parameters_changed();
    states.finish_step(one_rank());
    file.number("losses " + std::to_string(step), loss.item<double>(),
                about.at("losses").at(static_cast<std::size_t>(step)), tolerance);
    sharded.for_each_parameter([&](const std::string& name, const at::Tensor& values) {
      if (name.starts_with("linear."))
        file.tensor("after" + std::to_string(step) + name.substr(6), values, tolerance);
    });
  }
  const auto buffers = model->named_buffers();
  for (const std::string& name : file.names("after."))
    file.tensor("after." + name, buffers["norm." + name], tolerance);
  const at::NoGradGuard no_grad;
  file.tensor("out.eval_logits", model->forward(file.float_input("in.features")[0], /*training=*/false),
              tolerance);
}

// A number for each parameter, which the file has no sizes of.
void check_layer_decay(Comparison& file) {
  const auto& about = file.about();
  const Tolerance tolerance{about.at("tolerance_f64")};
  const auto model = std::make_shared<nn::VisionTransformer>(finetuned_shape(about), /*seed=*/1);
  comm::DeviceMesh mesh(one_rank(), 1);
  shard::ShardedModel sharded(model, {}, mesh);
  std::map<std::string, std::pair<double, double>> found;  // factor of the learning rate, decay
  // Fine-tuning decays neither of them.
  const auto rules = shard::configured_rules({.no_weight_decay = {"cls_token", "pos_embed"}});
  for (const auto& group : shard::parameter_groups(sharded.shards(), about.at("layer_decay"), rules)) {
    for (const std::string& name : names_in(group, sharded.shards()))
      found[name] = {group.lr_scale, group.weight_decay.value_or(about.at("weight_decay"))};
  }
  for (const auto& [name, expected] : about.at("scale_and_decay").items()) {
    if (found.count(name) == 0) throw std::runtime_error("Cohort's model has no parameter " + name);
    file.number(name + " factor", found[name].first, expected.at(0), tolerance);
    file.number(name + " decay", found[name].second, expected.at(1), tolerance);
  }
  at::Tensor by_layer = at::zeros({model->last_layer() + 1}, at::kDouble);
  for (const auto& [name, values] : found) by_layer[model->layer_of(name)] = values.first;
  file.tensor("scale_by_layer", by_layer, tolerance);
}

void check_mae_finetune(Comparison& file) {
  const auto& about = file.about();
  const Tolerance tolerance{about.at("tolerance_f32")};
  nn::VisionTransformer model(finetuned_shape(about), /*seed=*/1);
  load_parameters(file, "param.", model);
  const at::Tensor images = leaf(file.float_input("in.images"));
  const nn::Encoder::Output output = model.encode(images, {}, nn::Encoder::pooled | nn::Encoder::logits);
  const at::Tensor loss = at::cross_entropy_loss(output.logits, file.input("in.labels"));
  loss.backward();
  file.tensor("out.feature", output.pooled, tolerance);
  file.tensor("out.logits", output.logits, tolerance);
  file.tensor("out.loss", loss.reshape({1}), tolerance);
  file.number("loss", loss.item<double>(), about.at("loss"), tolerance);
  compare_gradients(file, "grad.", model, tolerance);
  file.tensor("grad_in.images", images.grad(), tolerance);
}

}  // namespace cohort::golden_check

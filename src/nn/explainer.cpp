#include "cohort/nn/explainer.h"

#include <functional>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/nn/autocast.h"

namespace cohort::nn {
namespace {

/// [n, c, M h w] -> [n, c, M, h, w] f32.
at::Tensor placed(const at::Tensor& maps, PatchGrid grid) {
  return maps.reshape({maps.size(0), maps.size(1), -1, grid.rows, grid.columns}).to(at::kFloat);
}

/// A map of a transformer whose blocks got what a trail holds: [n, c, N].
using MapOfTrail = std::function<at::Tensor(const Trail& trail, PatchGrid grid)>;

class TransformerExplainer final : public Explainer {
 public:
  TransformerExplainer(VisionTransformer& model, bool bf16, std::string_view name, MapOfTrail map)
      : model_(model), bf16_(bf16), name_(name), map_(std::move(map)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  void see(const at::Tensor& images, const Conditions& conditions) override {
    const Bf16Scope scope(bf16_, images.device().type());
    conditions_ = conditions;
    seen_ = encode_with_trail(model_, images, conditions);
  }
  Explained explain(const at::Tensor& images, const at::Tensor& from) override {
    const Bf16Scope scope(bf16_, images.device().type());
    const Trail trail = encode_beside(model_, images, conditions_, seen_, from);
    const PatchGrid grid = grid_of_maps(model_.shape(), images.size(2), images.size(3));
    return {trail.logits.to(at::kFloat), placed(map_(trail, grid), grid)};
  }
  at::Tensor logits(const at::Tensor& images, const at::Tensor& from) override {
    const Bf16Scope scope(bf16_, images.device().type());
    return encode_beside(model_, images, conditions_, seen_, from).logits.to(at::kFloat);
  }

 private:
  VisionTransformer& model_;
  bool bf16_;
  std::string_view name_;
  MapOfTrail map_;
  Conditions conditions_;
  Trail seen_;
};

/// Recipro-CAM of a model without tokens, in evaluation of which images know nothing of each other.
class MapExplainer final : public Explainer {
 public:
  MapExplainer(ResNet& model, const ExplainerConfig& config) : model_(model), config_(config) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "reciprocam"; }
  void see(const at::Tensor& /*images*/, const Conditions& /*conditions*/) override {}
  Explained explain(const at::Tensor& images, const at::Tensor& /*from*/) override {
    const Bf16Scope scope(config_.bf16, images.device().type());
    const Encoder::Output output = model_.encode(images, {}, Encoder::maps | Encoder::logits);
    const std::size_t stage = ResNet::kStages - static_cast<std::size_t>(config_.reciprocam.block);
    const at::Tensor& map = output.maps.at(stage).values;
    return {output.logits.to(at::kFloat),
            placed(reciprocam(model_, map, config_.reciprocam), {map.size(2), map.size(3)})};
  }
  at::Tensor logits(const at::Tensor& images, const at::Tensor& /*from*/) override {
    const Bf16Scope scope(config_.bf16, images.device().type());
    return model_.encode(images, {}, Encoder::logits).logits.to(at::kFloat);
  }

 private:
  ResNet& model_;
  ExplainerConfig config_;
};

[[noreturn]] void refuse_block(std::int64_t block, std::int64_t most, std::string_view what) {
  throw UsageError({fmt::format("the model has no {} {} from the end", what, block), "--block",
                    fmt::format("1, the last one, to {}", most)});
}

}  // namespace

std::vector<std::unique_ptr<Explainer>> explainers_of(Encoder& model, const ExplainerConfig& config) {
  std::vector<std::unique_ptr<Explainer>> all;
  if (auto* const residual = dynamic_cast<ResNet*>(&model)) {
    all.push_back(std::make_unique<MapExplainer>(*residual, config));
    return all;
  }
  auto& transformer = dynamic_cast<VisionTransformer&>(model);
  all.push_back(std::make_unique<TransformerExplainer>(
      transformer, config.bf16, "reciprocam", [&transformer, config](const Trail& trail, PatchGrid grid) {
        return reciprocam(transformer, trail, grid, config.reciprocam);
      }));
  all.push_back(std::make_unique<TransformerExplainer>(
      transformer, config.bf16, "rollout", [&transformer](const Trail& trail, PatchGrid /*grid*/) {
        return attention_rollout(transformer, trail).unsqueeze(1);
      }));
  return all;
}

void check_explainable(const Encoder& model, const ReciprocamConfig& config) {
  if (const auto* const transformer = dynamic_cast<const VisionTransformer*>(&model)) {
    if (config.block > transformer->shape().depth)
      refuse_block(config.block, transformer->shape().depth, "block");
    return;
  }
  if (dynamic_cast<const ResNet*>(&model) == nullptr) {
    throw UsageError({fmt::format("nothing explains a {}", model.traits().kind), "model.name",
                      "cohort explain is for vision transformers and residual networks: look at its features "
                      "with cohort knn, probe or extract"});
  }
  if (model.traits().classes == 0) {
    throw UsageError({fmt::format("a {} without a head has nothing to explain", model.traits().kind),
                      "model.name",
                      "cohort explain is for vision transformers and for models that answer classes: look "
                      "at its features with cohort knn, probe or extract"});
  }
  if (config.block > static_cast<std::int64_t>(ResNet::kStages))
    refuse_block(config.block, ResNet::kStages, "stage");
}

PatchGrid grid_of_maps(const VitShape& shape, std::int64_t height, std::int64_t width) {
  return {height / shape.patch_size, width / shape.patch_size};
}

}  // namespace cohort::nn

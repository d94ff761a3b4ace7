// Files of the kind dense.mask_transformer: Segmenter's decoder.
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/method/field_losses.h"
#include "cohort/nn/initialise.h"
#include "cohort/nn/mask_transformer.h"

#include "checks.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

std::shared_ptr<nn::MaskTransformer> mask_transformer_of(const nlohmann::json& sizes) {
  auto head = std::make_shared<nn::MaskTransformer>(nn::MaskTransformerShape{.inputs = sizes.at("enc"),
                                                                             .outputs = sizes.at("classes"),
                                                                             .width = sizes.at("dec"),
                                                                             .depth = sizes.at("depth"),
                                                                             .heads = sizes.at("heads")});
  nn::initialise(*head, 1);
  return head;
}

/// The norm over classes of the file's own cosines, against the file's own logits.
void check_mask_norm(Comparison& file, const torch::nn::Module& head, double epsilon, Tolerance tolerance) {
  const auto parameters = head.named_parameters();
  const at::Tensor cosines = file.float_input("out.cosine");
  const at::Tensor normed = at::layer_norm(cosines, {cosines.size(2)}, parameters["mask_norm.weight"],
                                           parameters["mask_norm.bias"], epsilon);
  const at::Tensor& grid = file.input("out.grid_logits");
  file.values("mask_norm of out.cosine", normed.transpose(1, 2).reshape(grid.sizes()), grid, tolerance);
}

}  // namespace

void check_mask_transformer(Comparison& file) {
  const auto& about = file.about();
  const auto& sizes = about.at("config");
  const std::int64_t rows = sizes.at("grid").at(0), columns = sizes.at("grid").at(1);
  const Tolerance of_outputs{1e-5}, of_gradients{sizes.at("depth") == 1 ? 5e-5 : 1e-4};
  const auto head = mask_transformer_of(sizes);
  load_parameters(file, "param.", *head);

  const at::Tensor tokens = leaf(file.float_input("in.tokens")), &labels = file.input("in.labels");
  nn::DenseInput input;
  input.features.maps.push_back(
      {tokens.transpose(1, 2).reshape({tokens.size(0), tokens.size(2), rows, columns}), sizes.at("patch")});
  std::vector<at::Tensor> of_blocks;
  at::Tensor entering;
  const at::Tensor grid =
      head->forward(input, {}, [&](std::size_t block, const nn::Tensors& inputs, const nn::BlockBody& body) {
        if (block == 0) entering = inputs.front();
        return of_blocks.emplace_back(body(inputs));
      });
  const at::Tensor logits = nn::resized(grid, labels.size(1), labels.size(2)), mask = labels.to(at::kByte);
  const at::Tensor loss = method::pixels_cross_entropy(logits, mask).sum() / method::known_pixels(mask).sum();
  loss.backward();

  file.tensor("out.decoder_input", entering, of_outputs);
  for (std::size_t l = 0; l < of_blocks.size(); ++l)
    file.tensor("out.block" + std::to_string(l), of_blocks[l], of_outputs);
  check_mask_norm(file, *head, about.at("layer_norm_eps"), of_outputs);
  file.tensor("out.grid_logits", grid, of_outputs);
  file.tensor("out.logits", logits, of_outputs);
  file.tensor("loss", loss, of_outputs);
  compare_gradients(file, "grad.", *head, of_gradients);
  file.tensor("grad_in.tokens", tokens.grad(), of_gradients);
}

}  // namespace cohort::golden_check

// Files of the kinds reports.bert, reports.sentence_pooling, reports.lovt_core and
// reports.<method>_end_to_end: images and their texts.
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/method/image_text_losses.h"
#include "cohort/nn/bert.h"
#include "cohort/nn/image_text.h"
#include "cohort/nn/initialise.h"

#include "checks.h"
#include "mini_resnet.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

using method::LocalContrast;
using nlohmann::json;

/// Numbers of each text, without padding.
std::vector<std::vector<std::int64_t>> texts_without_padding(Comparison& file) {
  const at::Tensor ids = file.input("in.input_ids"), mask = file.input("in.attention_mask");
  std::vector<std::vector<std::int64_t>> texts;
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    const at::Tensor own = ids[i].narrow(0, 0, mask[i].sum().item<std::int64_t>());
    texts.emplace_back(own.const_data_ptr<std::int64_t>(), own.const_data_ptr<std::int64_t>() + own.numel());
  }
  return texts;
}

/// Where sentences stand in `of_token` [B, L], of tokens that begin at `begins`.
nn::SentenceExtents extents(const at::Tensor& of_token, const std::vector<std::int64_t>& begins) {
  nn::SentenceExtents all;
  for (std::int64_t i = 0; i < of_token.size(0); ++i) {
    std::vector<std::pair<std::int64_t, std::int64_t>> own;
    for (std::int64_t t = 0; t < of_token.size(1); ++t) {
      const std::int64_t place = begins[static_cast<std::size_t>(i)] + t;
      const auto sentence = of_token[i][t].item<std::int64_t>();
      if (sentence < 0) continue;
      if (sentence == std::ssize(own)) own.emplace_back(place, place);
      own.back().second = place + 1;
    }
    all.push_back(std::move(own));
  }
  return all;
}

std::vector<std::int64_t> every(std::int64_t length, std::int64_t count) {
  std::vector<std::int64_t> begins;
  for (std::int64_t i = 0; i < count; ++i) begins.push_back(i * length);
  return begins;
}

nn::PoolDivisor divisor_of(const std::string& name) {
  return name == "padded" ? nn::PoolDivisor::padded : nn::PoolDivisor::valid;
}

/// A head, with the names that the published code has for its parameters.
class PublishedHead {
 public:
  PublishedHead(Comparison& file, const nn::ImageTextShape& shape) : file_(file), head_(shape) {
    const at::NoGradGuard no_grad;
    for (auto& item : head_.named_parameters()) copy(item);
    for (auto& item : head_.named_buffers()) copy(item);
  }
  nn::ImageTextHead& operator*() { return head_; }
  nn::ImageTextHead* operator->() { return &head_; }

  void compare_gradients(const std::set<std::string>& none, Tolerance tolerance) {
    for (auto& item : head_.named_parameters()) {
      const std::string name = "grad." + published(item.key());
      if (!file_.has(name)) continue;
      const at::Tensor& expected = file_.input(name);
      if (none.contains(published(item.key()))) continue;
      file_.tensor(name, item.value().grad().view(expected.sizes()), tolerance);
    }
  }

  void compare_running(Tolerance tolerance) {
    finish_step(head_);
    for (auto& item : head_.named_buffers())
      file_.tensor_if_there("after." + published(item.key()), item.value(), tolerance);
  }

 private:
  template <class Item>
  void copy(Item& item) {
    item.value().copy_(file_.input("param." + published(item.key())).view(item.value().sizes()));
  }

  [[nodiscard]] std::string published(const std::string& name) const {
    const std::size_t dot = name.find('.');
    const std::string module = name.substr(0, dot), rest = name.substr(dot + 1);
    if (module == "alignment") return "ll_attention." + rest;
    const std::string model = module.starts_with("image") ? "model_a." : "model_b.";
    if (module.ends_with("pooling")) return model + "encoder.global_aggregator.attention." + rest;
    const std::string layer = rest.substr(0, 1), leaf = rest.substr(1);
    const std::string part = layer == "0" ? "projection_before" : layer == "1" ? "norm" : "projection_after";
    return model + (module.ends_with("local") ? "project_local." : "project_global.") + part + leaf;
  }

  Comparison& file_;
  nn::ImageTextHead head_;
};

std::set<std::string> names_of_no_gradient(const json& about) {
  const auto names = about.value("grad_zero", std::vector<std::string>());
  return {names.begin(), names.end()};
}

nn::ImageTextShape shape_of_head(const json& about, std::int64_t image_width, std::int64_t text_width) {
  nn::ImageTextShape shape{.image_width = image_width,
                           .text_width = text_width,
                           .hidden = about.at("d_hidden"),
                           .outputs = about.at("d_z")};
  const auto method = about.at("method").get<std::string>();
  shape.image_attention = method != "convirt";
  shape.text_attention = shape.local = method == "lovt";
  if (method == "convirt") shape.batch_norm = nn::HeadNorm::none;
  shape.pool_divisor = divisor_of(about.at("pool_divisor"));
  if (about.at("bn_padding") == "exclude") shape.norm_padding = nn::NormPadding::exclude;
  return shape;
}

nn::Conditions in_training() {
  nn::Conditions conditions;
  conditions.training = true;
  return conditions;
}

struct Tolerances {
  Tolerance loss, outputs, gradients;
};

/// All that the head makes, where it is valid.
void compare_outputs(Comparison& file, const nn::ImageTextOutput& made, const at::Tensor& valid,
                     Tolerance tolerance) {
  const auto compare = [&](const std::string& name, const at::Tensor& values, bool by_sentence) {
    if (!file.has("out." + name)) return;
    const at::Tensor& expected = file.input("out." + name);
    const at::Tensor kept = by_sentence ? valid.unsqueeze(2) : at::ones({}, at::kBool);
    file.values("out." + name, values * kept, expected * kept, tolerance);
  };
  compare("yg_scan", made.pooled_image, false);
  compare("yg_report", made.pooled_text, false);
  compare("zg_scan", made.image, false);
  compare("zg_report", made.text, false);
  if (made.region_weights.defined()) compare("w_scan", made.region_weights, false);
  if (!made.regions.defined()) return;
  compare("w_report", made.sentence_weights, false);
  compare("zl_scan", made.regions, false);
  compare("zl_report", made.sentences, true);
  compare("zl_b2a", made.attended_regions, false);
  compare("zl_a2b", made.attended_sentences, true);
  compare("prob_regions_over_sentences", made.regions_to_sentences, false);
  compare("prob_sentences_over_regions", made.sentences_to_regions, true);
}

/// Compares every loss of the head's vectors and returns the total.
at::Tensor compare_losses(Comparison& file, const nn::ImageTextOutput& made, const at::Tensor& valid,
                          std::pair<std::int64_t, std::int64_t> grid, Tolerance tolerance) {
  const json& weights = file.about().at("loss_weights");
  at::Tensor total = at::zeros({});
  const auto add = [&](const std::string& name, const at::Tensor& loss) {
    file.tensor("loss." + name, loss.detach(), tolerance);
    total = total + weights.at(name).get<double>() * loss;
  };
  const double temperature = file.about().value("tau_global", 0.1),
               local = file.about().value("tau_local", 0.3);
  add("global_a2b", method::cross_modal_nt_xent(made.image, made.text, temperature, 1));
  add("global_b2a", method::cross_modal_nt_xent(made.image, made.text, temperature, 0));
  if (made.regions.defined()) {
    const at::Tensor hits = method::near_regions(grid.first, grid.second, 0.5, 1);
    const LocalContrast regions =
        method::local_contrast(made.regions, made.attended_regions, hits, {}, made.region_weights, local);
    const LocalContrast sentences = method::local_contrast(made.sentences, made.attended_sentences, {}, valid,
                                                           made.sentence_weights, local);
    add("local_a_l2att", regions.of_own.mean());
    add("local_a_att2l", regions.of_attended.mean());
    add("local_b_l2att", sentences.of_own.mean());
    add("local_b_att2l", sentences.of_attended.mean());
  }
  file.tensor("loss.total", total.detach(), tolerance);
  return total;
}

nn::Bert published_tower(Comparison& file, const std::string& prefix) {
  const json& about = file.about().at("bert");
  return nn::Bert({.vocabulary = file.input("param." + prefix + "embeddings.word_embeddings.weight").size(0),
                   .positions = about.at("max_position"),
                   .width = about.at("hidden"),
                   .depth = about.at("layers"),
                   .heads = about.at("heads"),
                   .hidden = about.at("intermediate"),
                   .dropout = about.at("dropout"),
                   .attention_dropout = about.at("dropout")});
}

}  // namespace

void check_bert(Comparison& file) {
  const json& about = file.about();
  nn::Bert model({.vocabulary = about.at("vocab"),
                  .positions = about.at("max_position"),
                  .width = about.at("hidden"),
                  .depth = about.at("layers"),
                  .heads = about.at("heads"),
                  .hidden = about.at("intermediate")});
  nn::initialise(model, /*seed=*/1);
  load_parameters(file, "param.", model);
  const at::Tensor pooler = leaf(file.input("param.pooler.dense.weight")),
                   pooler_bias = leaf(file.input("param.pooler.dense.bias"));
  (void)file.input("in.token_type_ids");     // all of type 0
  (void)file.input("out.attention_layer0");  // weights of a layer are kept nowhere
  const auto texts = texts_without_padding(file);
  const nn::PackedTexts packed = nn::packed(texts, at::kCPU);
  const auto padded = [&](const at::Tensor& rows) {
    at::Tensor all = at::zeros_like(file.input("out.layer0"));
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::int64_t length = std::ssize(texts[i]);
      all[static_cast<std::int64_t>(i)].narrow(0, 0, length).copy_(rows.narrow(0, packed.begins[i], length));
    }
    return all;
  };
  OutputRecorder recorder(model);
  const at::Tensor rows = model.forward(packed, {});
  constexpr Tolerance kOutputs{1e-5}, kGradients{5e-5};
  file.values("out.embeddings", padded(recorder.outputs.at(0)),
              file.input("out.embeddings") * file.input("in.attention_mask").unsqueeze(2), kOutputs);
  for (std::int64_t layer = 0; layer < model.shape().depth; ++layer)
    file.tensor("out.layer" + std::to_string(layer),
                padded(recorder.outputs.at(static_cast<std::size_t>(layer) + 1)), kOutputs);
  const at::Tensor first = rows.index_select(0, at::tensor(packed.begins, at::kLong));
  const at::Tensor pooled = at::tanh(at::linear(first, pooler, pooler_bias));
  file.tensor("out.pooler_output", pooled, kOutputs);
  const at::Tensor loss = (padded(rows) * file.input("in.loss_weight_tokens")).sum() +
                          (pooled * file.input("in.loss_weight_pooler")).sum();
  file.tensor("loss", loss, kOutputs);
  loss.backward();
  const std::set<std::string> none = names_of_no_gradient(about);
  for (const auto& item : model.named_parameters()) {
    if (none.contains(item.key()))
      (void)file.input("grad." + item.key());
    else
      file.tensor("grad." + item.key(), item.value().grad(), kGradients);
  }
  file.tensor("grad.pooler.dense.weight", pooler.grad(), kGradients);
  file.tensor("grad.pooler.dense.bias", pooler_bias.grad(), kGradients);
}

void check_sentence_pooling(Comparison& file) {
  const at::Tensor& of_token = file.input("in.sentence_of_token");
  const at::Tensor& given = file.input("in.tokens");
  (void)file.input("in.attention_mask");
  const nn::SentenceExtents where = extents(of_token, every(given.size(1), given.size(0)));
  constexpr Tolerance kOutputs{1e-6}, kGradients{1e-5};
  for (const std::string name : {"padded", "valid"}) {
    nn::AttentionPooling pooling(given.size(2), file.about().at("heads"));
    load_by_name(file, pooling, [](const std::string& parameter) { return "attention." + parameter; });
    const at::Tensor tokens = leaf(given);
    const nn::LocalVectors sentences =
        nn::sentence_vectors(tokens.flatten(0, 1), where, {}, nn::NormPadding::include, divisor_of(name));
    const auto pooled = pooling.forward(sentences.values, sentences.valid, sentences.divisor);
    file.tensor("out.sentences", sentences.values, kOutputs);
    file.tensor("out.sentence_mask", sentences.valid.to(at::kLong), kExact);
    file.tensor("out.pooled_" + name, pooled.pooled, kOutputs);
    file.tensor("out.weights_" + name, pooled.weights, kOutputs);
    (pooled.pooled * file.input("in.loss_weight")).sum().backward();
    file.tensor("grad_in_" + name + ".tokens", tokens.grad(), kGradients);
    compare_by_name(
        file, "grad_" + name + ".", pooling,
        [](const std::string& parameter) { return "attention." + parameter; }, kGradients);
  }
  nn::SentenceExtents whole;
  for (const auto& text : where) whole.push_back({{text.front().first, text.back().second}});
  const nn::LocalVectors maxima =
      nn::sentence_vectors(given.flatten(0, 1), whole, {}, nn::NormPadding::include, nn::PoolDivisor::valid);
  file.tensor("out.report_maximum", maxima.values.squeeze(1), kOutputs);
}

void check_lovt_core(Comparison& file) {
  const json& about = file.about();
  constexpr Tolerances kBounds{{3e-6}, {1e-5}, {1e-4}};
  const at::Tensor regions = leaf(file.input("in.y_scan_local")),
                   sentences = leaf(file.input("in.y_report_local"));
  const at::Tensor valid = file.input("in.sentence_mask").to(at::kBool);
  nn::SentenceExtents where;
  for (std::int64_t i = 0; i < valid.size(0); ++i) {
    where.emplace_back();
    for (std::int64_t m = 0; m < valid[i].sum().item<std::int64_t>(); ++m)
      where.back().emplace_back(i * valid.size(1) + m, i * valid.size(1) + m + 1);
  }
  const nn::ImageTextShape shape = shape_of_head(about, regions.size(2), sentences.size(2));
  PublishedHead head(file, shape);
  const nn::ImageTextOutput made = head->forward(
      nn::region_vectors(regions, {}),
      nn::sentence_vectors(sentences.flatten(0, 1), where, {}, shape.norm_padding, shape.pool_divisor),
      in_training());
  compare_outputs(file, made, valid, kBounds.outputs);
  compare_losses(file, made, valid, {about.at("H"), about.at("W")}, kBounds.loss).backward();
  head.compare_gradients(names_of_no_gradient(about), kBounds.gradients);
  file.tensor("grad_in.y_scan_local", regions.grad(), kBounds.gradients);
  file.tensor("grad_in.y_report_local", sentences.grad(), kBounds.gradients);
  head.compare_running(kBounds.outputs);
}

void check_image_text(Comparison& file) {
  const json& about = file.about();
  const std::string images_prefix = "model_a.encoder.feature_extractor.backbone_layers.",
                    texts_prefix = "model_b.encoder.language_model.";
  constexpr Tolerances kBounds{{3e-5}, {5e-5}, {1e-3}};
  const MiniResNet backbone(file, images_prefix);
  nn::Bert tower = published_tower(file, texts_prefix);
  nn::initialise(tower, /*seed=*/1);
  load_parameters(file, "param." + texts_prefix, tower);
  const at::Tensor images =
      ((file.input("in.scan_u8") / 255 - 0.5) / 0.25).unsqueeze(1).expand({-1, 3, -1, -1});
  const at::Tensor map = backbone.forward(images).maps.back().values;
  const nn::LocalVectors regions = nn::region_vectors(map.flatten(2).transpose(1, 2), {});
  const nn::PackedTexts packed = nn::packed(texts_without_padding(file), at::kCPU);
  PublishedHead head(file, shape_of_head(about, map.size(1), tower.shape().width));
  const nn::LocalVectors sentences = nn::sentence_vectors(
      tower.forward(packed, in_training()), extents(file.input("in.sentence_of_token"), packed.begins), {},
      head->shape().norm_padding, head->shape().pool_divisor);
  file.tensor("out.yl_scan", regions.values, kBounds.outputs);
  file.tensor_if_there("out.yl_report", sentences.values, kBounds.outputs);
  if (file.has("in.sentence_mask"))
    file.values("in.sentence_mask", sentences.valid.to(at::kLong), file.input("in.sentence_mask"), kExact);
  const nn::ImageTextOutput made = head->forward(regions, sentences, in_training());
  compare_outputs(file, made, sentences.valid, kBounds.outputs);
  compare_losses(file, made, sentences.valid, {map.size(2), map.size(3)}, kBounds.loss).backward();
  const std::set<std::string> none = names_of_no_gradient(about);
  head.compare_gradients(none, kBounds.gradients);
  backbone.compare(file, "grad." + images_prefix, kBounds.gradients);
  for (const auto& item : tower.named_parameters()) {
    const std::string name = texts_prefix + item.key();
    if (file.has("grad." + name) && !none.contains(name))
      file.tensor("grad." + name, item.value().grad(), kBounds.gradients);
  }
}

}  // namespace cohort::golden_check

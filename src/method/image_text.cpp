#include "method/image_text.h"

#include <array>
#include <map>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/trace.h"
#include "cohort/method/conditions.h"
#include "cohort/method/feature_deviation.h"
#include "cohort/method/image_text_losses.h"
#include "cohort/method/pooled.h"
#include "cohort/nn/image_groups.h"
#include "cohort/nn/step_state.h"

#include "method/heat_picture.h"
#include "method/texts.h"

namespace cohort::method {

std::span<const config::EnumName<ContrastScope>> enum_names(ContrastScope) {
  static constexpr std::array<config::EnumName<ContrastScope>, 2> names{
      {{ContrastScope::micro_batch, "micro_batch"}, {ContrastScope::global, "global"}}};
  return names;
}

std::span<const config::EnumName<SentenceChoice>> enum_names(SentenceChoice) {
  static constexpr std::array<config::EnumName<SentenceChoice>, 2> names{
      {{SentenceChoice::one, "one"}, {SentenceChoice::all, "all"}}};
  return names;
}

namespace {

/// ConVIRT, CLIP* and LoVT (docs/methods.md). Part: "model", an nn::ImageTextModel. Which sentences of a text
/// are read, and in which order, is keyed by (seed, step, image). Metrics: "feature_std", "contrast_accuracy"
/// (images whose own text is the most similar one); of local losses "region_loss" and "sentence_loss".
class ImageText final : public Method {
 public:
  ImageText(std::shared_ptr<nn::ImageTextModel> model, ImageTextSettings settings, TextFields fields,
            nn::Scope scope)
      : model_(std::move(model)), settings_(std::move(settings)), fields_(std::move(fields)), scope_(scope) {}

  std::vector<Part> parts() override { return {{"model", model_}}; }
  std::vector<NamedEncoder> encoders() override { return {{"model", model_->backbone(), "model"}}; }
  std::vector<nn::ParameterRule> rules() const override {
    std::vector<nn::ParameterRule> rules;
    const TextTowerOptions& text = settings_.common.text;
    if (text.frozen_embeddings) rules.push_back({.pattern = "text.embeddings.*", .trained = false});
    for (std::int64_t layer = 0; layer < text.frozen_layers; ++layer)
      rules.push_back({.pattern = fmt::format("text.encoder.layer.{}.*", layer), .trained = false});
    return rules;
  }

  // Texts are looked at where an error of one rank ends all of them.
  void begin_step(const data::Batch& whole, const Step& step) override {
    if (step.ranks == nullptr) return;
    comm::together(*step.ranks, [&] { (void)texts_of(whole, fields_); });
  }

  void prepare(std::span<const data::Batch> parts, const Step& step) override {
    pooled_.clear();
    if (!is_pooled() || parts.size() < 2) return;
    const TraceSpan span(TraceKind::forward, "rows of all");
    const at::NoGradGuard no_gradients;
    const nn::RepeatedPass counted_later;
    std::vector<at::Tensor> rows;
    for (const data::Batch& part : parts) rows.push_back(pairs_of(look_at(part, step).output.head));
    pool(at::cat(rows), step);
  }

  at::Tensor loss(const data::Batch& batch, const Step& step, Metrics& metrics) override {
    const Seen seen = look_at(batch, step);
    const nn::ImageTextOutput& head = seen.output.head;
    if (seen.output.features.defined())
      add_feature_deviation(metrics, seen.output.features.detach(), seen.conditions.group);
    const at::Tensor global = global_share(head, seen.conditions, step, metrics);
    const auto all = static_cast<double>(step.global_images);
    return head.regions.defined() ? settings_.global_weight * global + local_sum(seen, metrics) / all
                                  : settings_.global_weight * global;
  }

  std::optional<Pictures> pictures(const data::Batch& batch, const Step& step) override {
    const at::NoGradGuard no_gradients;
    const Seen seen = look_at(batch, step, /*training=*/false);
    const nn::ImageTextOutput& head = seen.output.head;
    if (!head.region_weights.defined()) return std::nullopt;
    const at::Tensor& images = batch.views.front();
    const auto heat = [&](const at::Tensor& of_regions) {
      return heat_picture(images, of_regions.view({-1, seen.output.height, seen.output.width}));
    };
    Pictures made{"an image, and how much its regions count in its vector",
                  {heat(at::zeros_like(head.region_weights)), heat(head.region_weights)}};
    if (!head.regions.defined()) return made;
    made.caption = "an image, how much its regions count in its vector, and where its first sentence looks";
    made.columns.push_back(heat(head.sentences_to_regions.select(1, 0)));
    return made;
  }

 private:
  struct Seen {
    nn::Conditions conditions;
    nn::ImageTextModel::Output output;
  };

  [[nodiscard]] bool is_pooled() const { return settings_.common.scope == ContrastScope::global; }

  [[nodiscard]] std::vector<Text> chosen_texts(const data::Batch& batch, const Step& step,
                                               bool training) const {
    std::vector<Text> texts = texts_of(batch, fields_);
    if (!training && settings_.sentences == SentenceChoice::all) return texts;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      RandomStream stream({.seed = step.seed,
                           .purpose = Purpose::sentences,
                           .time = step.step,
                           .sample = batch.sample[static_cast<std::int64_t>(i)].item<std::int64_t>()});
      const std::int64_t count = std::ssize(texts[i].sentences);
      texts[i] = texts[i].of(settings_.sentences == SentenceChoice::one
                                 ? one_sentence(count, stream)
                                 : swapped_sentences(count, settings_.further_swap, stream));
    }
    return texts;
  }

  Seen look_at(const data::Batch& batch, const Step& step, bool training = true) {
    const at::Tensor& images = batch.views.front();
    const std::vector<Text> texts = chosen_texts(batch, step, training);
    std::vector<std::vector<std::int64_t>> tokens;
    for (const Text& text : texts) tokens.push_back(text.tokens);
    const nn::PackedTexts packed = nn::packed(tokens, images.device());
    Seen seen{.conditions = conditions(batch, step, scope_, 0, 1, training), .output = {}};
    seen.output = model_->forward(images, packed, extents_of(texts, packed), seen.conditions);
    return seen;
  }

  /// [b, 2, d]: images and texts.
  static at::Tensor pairs_of(const nn::ImageTextOutput& head) {
    return at::stack({head.image, head.text}, 1);
  }

  at::Tensor contrast(const at::Tensor& images, const at::Tensor& texts, Metrics& metrics) const {
    metrics.add("contrast_accuracy", own_text_found(images.detach(), texts.detach()), images.size(0));
    return cross_modal_nt_xent(images, texts, settings_.common.temperature, settings_.common.image_weight);
  }

  void pool(const at::Tensor& rows, const Step& step) {
    pooled_.pool(rows, step.ranks, [&](const at::Tensor& all, Metrics& metrics) {
      return contrast(all.select(1, 0), all.select(1, 1), metrics);
    });
  }

  at::Tensor global_share(const nn::ImageTextOutput& head, const nn::Conditions& conditions, const Step& step,
                          Metrics& metrics) {
    if (is_pooled()) {
      const at::Tensor rows = pairs_of(head);
      if (pooled_.is_empty()) pool(rows, step);
      return pooled_.share(rows, metrics);
    }
    const std::vector<std::int64_t> sizes = nn::ImageGroups(conditions).sizes();
    const std::vector<at::Tensor> images = head.image.split_with_sizes(sizes),
                                  texts = head.text.split_with_sizes(sizes);
    at::Tensor sum = at::zeros({}, head.image.options());
    for (std::size_t i = 0; i < sizes.size(); ++i)
      sum = sum + contrast(images[i], texts[i], metrics) * static_cast<double>(sizes[i]);
    return sum / static_cast<double>(step.global_images);
  }

  at::Tensor local_sum(const Seen& seen, Metrics& metrics) const {
    const LocalOptions& local = settings_.local;
    const nn::ImageTextOutput& head = seen.output.head;
    const at::Tensor hits = near_regions(seen.output.height, seen.output.width, local.threshold, local.beta)
                                .to(head.regions.device());
    const auto weights = [&](const at::Tensor& of) { return local.weighted ? of : at::Tensor(); };
    const LocalContrast regions = local_contrast(head.regions, head.attended_regions, hits, {},
                                                 weights(head.region_weights), local.temperature);
    const LocalContrast sentences =
        local_contrast(head.sentences, head.attended_sentences, {}, seen.output.valid,
                       weights(head.sentence_weights), local.temperature);
    const auto added = [&](const char* name, const LocalContrast& of) {
      const at::Tensor sum = of.of_own.sum() + of.of_attended.sum();
      metrics.add(name, sum.item<double>(), of.of_own.size(0));
      return sum;
    };
    return local.regions_weight * added("region_loss", regions) +
           local.sentences_weight * added("sentence_loss", sentences);
  }

  std::shared_ptr<nn::ImageTextModel> model_;
  ImageTextSettings settings_;
  TextFields fields_;
  nn::Scope scope_;
  RowsOfAll pooled_;  // images and texts, in scope global
};

std::shared_ptr<nn::Bert> text_tower(const ImageTextSettings& settings, const TextFields& fields,
                                     const Materials& materials) {
  const TextTowerOptions& options = settings.common.text;
  const std::string section = settings.name + ".text.";
  nn::BertShape shape = options.shape;
  shape.vocabulary = fields.vocabulary;
  if (shape.width % shape.heads != 0)
    throw UsageError(
        {fmt::format("{} attention heads do not divide the width {} of texts", shape.heads, shape.width),
         section + "heads", "choose another number of heads, or another width"});
  if (fields.longest > shape.positions)
    throw UsageError({fmt::format("texts have up to {} tokens, and the tower of texts has {} positions",
                                  fields.longest, shape.positions),
                      section + "positions",
                      "convert with a smaller --maximal-length, or set more positions"});
  if (options.frozen_layers > shape.depth)
    throw UsageError(
        {fmt::format("{} layers of texts are frozen, and there are {}", options.frozen_layers, shape.depth),
         section + "frozen_layers", fmt::format("set it to {} or less", shape.depth)});
  auto tower = std::make_shared<nn::Bert>(shape);
  if (options.weights.empty()) return tower;
  // Read when it is needed: a run that goes on, or an evaluation, does without the file.
  const auto stored = std::make_shared<std::optional<std::map<std::string, at::Tensor>>>();
  tower->start_from(
      [stored, shape, file = options.weights, read = materials.stored_tensors](const std::string& name) {
        if (!*stored) *stored = nn::fitted_bert(nn::Bert(shape), read(file), file.string());
        return (*stored)->at(name).to(at::kFloat);
      });
  return tower;
}

}  // namespace

std::unique_ptr<Method> make_image_text(ImageTextSettings settings, const Materials& materials) {
  const std::string option = settings.name + ".text.field";
  TextFields fields = text_fields(materials.description, settings.common.text.field, option);
  settings.head.hidden = settings.common.hidden;
  settings.head.outputs = settings.common.outputs;
  auto text = text_tower(settings, fields, materials);
  auto model = std::make_shared<nn::ImageTextModel>(materials.encoder("image", /*classes=*/0),
                                                    std::move(text), settings.head);
  return std::make_unique<ImageText>(std::move(model), std::move(settings), std::move(fields),
                                     materials.scope);
}

std::vector<std::string> fields_of_texts(const ImageTextOptions& options, const std::string& method,
                                         const data::Description& description) {
  return text_fields(description, options.text.field, method + ".text.field").names();
}

void check_groups(const ImageTextOptions& options, bool normalises, const std::string& method,
                  const Surroundings& run, const std::string& where) {
  if (run.images_per_group > 1) return;
  if (!normalises && options.scope == ContrastScope::global) return;
  throw UsageError({fmt::format("method={} compares the images of a group, and a group is one image", method),
                    where, "set sampler.images_per_group=2 or more"});
}

}  // namespace cohort::method

#include "cohort/nn/image_text.h"

#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>

#include "cohort/core/error.h"
#include "cohort/nn/image_groups.h"

#include "linear.h"

namespace cohort::nn {
namespace {

using torch::nn::Linear;

at::Tensor through_linear(const std::shared_ptr<torch::nn::Module>& layer, const at::Tensor& values) {
  return linear(*layer->as<Linear>(), values);
}

at::Tensor at_least_float(const at::Tensor& values) {
  return values.to(at::promote_types(values.scalar_type(), at::kFloat));
}

at::Tensor masked_softmax(const at::Tensor& scores, const at::Tensor& valid) {
  return at::softmax(scores.masked_fill(valid.logical_not(), -std::numeric_limits<double>::infinity()), -1);
}

// [b, M, …] -> [R, …]
at::Tensor rows_of(const LocalVectors& vectors, const at::Tensor& values) {
  const at::Tensor flat = values.flatten(0, 1);
  return vectors.rows.defined() ? flat.index_select(0, vectors.rows) : flat;
}

// [R, d] -> [b, M, d], zeros elsewhere
at::Tensor back_in_place(const LocalVectors& vectors, const at::Tensor& rows) {
  const std::int64_t samples = vectors.values.size(0), most = vectors.values.size(1);
  if (!vectors.rows.defined()) return rows.view({samples, most, -1});
  return at::zeros({samples * most, rows.size(1)}, rows.options())
      .index_copy(0, vectors.rows, rows)
      .view({samples, most, -1});
}

// Of the rows that enter a projection.
Conditions conditions_of_rows(const LocalVectors& vectors, Conditions conditions) {
  conditions.group = at::Tensor();
  if (vectors.group_sizes.empty()) return conditions;
  const at::Tensor sizes = at::tensor(vectors.group_sizes, at::kLong);
  conditions.group = at::arange(sizes.size(0), at::kLong).repeat_interleave(sizes);
  return conditions;
}

at::Tensor projected(ProjectionHead& head, const LocalVectors& vectors, const Conditions& conditions) {
  const at::Tensor rows =
      head.forward(rows_of(vectors, vectors.values), conditions_of_rows(vectors, conditions));
  return back_in_place(vectors, at_least_float(rows));
}

// [b, D]
at::Tensor maximum_of_valid(const LocalVectors& vectors) {
  const at::Tensor missing = vectors.valid.logical_not().unsqueeze(2);
  return std::get<0>(vectors.values.masked_fill(missing, -std::numeric_limits<double>::infinity()).max(1));
}

std::vector<std::int64_t> one_group_if_none(std::span<const std::int64_t> sizes, std::int64_t samples) {
  return sizes.empty() ? std::vector<std::int64_t>{samples}
                       : std::vector<std::int64_t>(sizes.begin(), sizes.end());
}

}  // namespace

std::span<const config::EnumName<PoolDivisor>> enum_names(PoolDivisor) {
  static constexpr std::array<config::EnumName<PoolDivisor>, 2> names{
      {{PoolDivisor::valid, "valid"}, {PoolDivisor::padded, "padded"}}};
  return names;
}

std::span<const config::EnumName<NormPadding>> enum_names(NormPadding) {
  static constexpr std::array<config::EnumName<NormPadding>, 2> names{
      {{NormPadding::include, "include"}, {NormPadding::exclude, "exclude"}}};
  return names;
}

AttentionPooling::AttentionPooling(std::int64_t width, std::int64_t heads)
    : width_(width),
      heads_(heads),
      in_weight_(register_parameter("in_proj_weight", at::zeros({3 * width, width}))),
      in_bias_(register_parameter("in_proj_bias", at::zeros({3 * width}))),
      out_(register_module("out_proj", Linear(width, width).ptr())) {}

AttentionPooling::Output AttentionPooling::forward(const at::Tensor& values, const at::Tensor& valid,
                                                   const at::Tensor& divisor) {
  const std::int64_t samples = values.size(0), of_head = width_ / heads_;
  const auto weights = in_weight_.split(width_), biases = in_bias_.split(width_);
  const at::Tensor asking = linear(values.sum(1) / divisor.unsqueeze(1), weights[0], biases[0]);
  // One query: what multiplies keys and values goes to its side, once instead of once for each of the
  // vectors. A bias of keys adds the same to all scores.
  const auto by_head = [&](const at::Tensor& of) { return of.view({heads_, of_head, width_}); };
  const at::Tensor query = asking.view({samples, heads_, of_head}).transpose(0, 1) /
                           std::sqrt(static_cast<double>(of_head));               // [heads, b, D / heads]
  const at::Tensor wanted = at::bmm(query, by_head(weights[1])).transpose(0, 1);  // [b, heads, D]
  const at::Tensor attention =
      masked_softmax(at::bmm(wanted, values.transpose(1, 2)), valid.unsqueeze(1));  // [b, heads, M]
  const at::Tensor sums = at::bmm(attention, values).transpose(0, 1);               // [heads, b, D]
  const at::Tensor mixed = at::bmm(sums, by_head(weights[2]).transpose(1, 2))       // [heads, b, D / heads]
                               .transpose(0, 1)
                               .reshape({samples, width_});
  return {through_linear(out_, mixed + biases[2]), at_least_float(attention.detach().mean(1))};
}

std::optional<Draw> AttentionPooling::first_values_of(const std::string& name,
                                                      const torch::nn::Module& /*owner*/) const {
  if (name.ends_with("bias")) return draw::constant(0);
  return name == "in_proj_weight" ? draw::xavier_uniform()
                                  : draw::uniform(1.0 / std::sqrt(static_cast<double>(width_)));
}

/// Regions made of sentences and sentences made of regions, with one set of projections for both ways.
class CrossAlignment final : public torch::nn::Module {
 public:
  explicit CrossAlignment(std::int64_t width)
      : width_(width),
        key_(register_module("key_projection", Linear(width, width).ptr())),
        value_(register_module("value_projection", Linear(width, width).ptr())),
        out_(register_module("output_projection", Linear(width, width).ptr())),
        norm_(register_module("norm", std::make_shared<BatchNorm>(width))) {}

  /// `regions` and `sentences` as projected: [b, K, d] and [b, M, d].
  void forward(const LocalVectors& of_image, const LocalVectors& of_text, const Conditions& conditions,
               ImageTextOutput& output) {
    const at::Tensor scores = at::matmul(through_linear(key_, output.regions),
                                         through_linear(key_, output.sentences).transpose(1, 2)) /
                              std::sqrt(static_cast<double>(width_));  // [b, K, M]
    output.regions_to_sentences = masked_softmax(scores, of_text.valid.unsqueeze(1));
    output.sentences_to_regions = at::softmax(scores.transpose(1, 2), -1);
    output.attended_regions =
        finished(of_image, at::matmul(output.regions_to_sentences, through_linear(value_, output.sentences)),
                 conditions, 0);
    const at::Tensor mixed = at::matmul(output.sentences_to_regions, through_linear(value_, output.regions));
    output.attended_sentences = finished(of_text, mixed * of_text.valid.unsqueeze(2), conditions, 1);
  }

 private:
  at::Tensor finished(const LocalVectors& vectors, const at::Tensor& mixed, const Conditions& conditions,
                      std::int64_t pass) {
    Conditions of_rows = conditions_of_rows(vectors, conditions);
    of_rows.pass = 2 * conditions.pass + pass;
    const ImageGroups groups(of_rows);
    const at::Tensor rows = through_linear(out_, rows_of(vectors, mixed));
    return back_in_place(vectors, at_least_float(norm_->forward(rows, of_rows, groups.sizes())));
  }

  std::int64_t width_;
  std::shared_ptr<torch::nn::Module> key_, value_, out_;
  std::shared_ptr<BatchNorm> norm_;
};

ImageTextHead::ImageTextHead(const ImageTextShape& shape) : shape_(shape) {
  const auto head = [&](const char* name, std::int64_t width) {
    return register_module(
        name, std::make_shared<ProjectionHead>(ProjectionHeadShape{.width = width,
                                                                   .hidden = shape.hidden,
                                                                   .outputs = shape.outputs,
                                                                   .batch_norm = shape.batch_norm}));
  };
  const auto pooling = [&](const char* name, std::int64_t width) {
    return register_module(name, std::make_shared<AttentionPooling>(width, shape.heads));
  };
  if (shape.image_attention) image_pooling_ = pooling("image_pooling", shape.image_width);
  if (shape.text_attention) text_pooling_ = pooling("text_pooling", shape.text_width);
  image_global_ = head("image_global", shape.image_width);
  text_global_ = head("text_global", shape.text_width);
  if (!shape.local) return;
  image_local_ = head("image_local", shape.image_width);
  text_local_ = head("text_local", shape.text_width);
  alignment_ = register_module("alignment", std::make_shared<CrossAlignment>(shape.outputs));
}

ImageTextOutput ImageTextHead::forward(const LocalVectors& regions, const LocalVectors& sentences,
                                       const Conditions& conditions) {
  ImageTextOutput output;
  if (image_pooling_ != nullptr) {
    const auto pooled = image_pooling_->forward(regions.values, regions.valid, regions.divisor);
    output.pooled_image = pooled.pooled;
    output.region_weights = pooled.weights;
  } else {
    output.pooled_image = regions.values.mean(1);
  }
  if (text_pooling_ != nullptr) {
    const auto pooled = text_pooling_->forward(sentences.values, sentences.valid, sentences.divisor);
    output.pooled_text = pooled.pooled;
    output.sentence_weights = pooled.weights;
  } else {
    output.pooled_text = maximum_of_valid(sentences);
  }
  output.image = at_least_float(image_global_->forward(output.pooled_image, conditions));
  output.text = at_least_float(text_global_->forward(output.pooled_text, conditions));
  if (alignment_ == nullptr) return output;
  output.regions = projected(*image_local_, regions, conditions);
  output.sentences = projected(*text_local_, sentences, conditions);
  alignment_->forward(regions, sentences, conditions, output);
  return output;
}

// Linear layers of projections as the published code has them (Kaiming's normal by what comes out), those of
// the alignment as PyTorch has them.
std::optional<Draw> ImageTextHead::first_values_of(const std::string& name,
                                                   const torch::nn::Module& owner) const {
  const auto* const layer = owner.as<Linear>();
  if (layer == nullptr || name.find("_pooling.") != std::string::npos) return std::nullopt;
  if (name.ends_with("bias")) return draw::constant(0);
  const auto in = static_cast<double>(layer->weight.size(1)),
             out = static_cast<double>(layer->weight.size(0));
  return name.starts_with("alignment.") ? draw::uniform(1.0 / std::sqrt(in))
                                        : draw::normal(std::sqrt(2.0 / out));
}

LocalVectors region_vectors(const at::Tensor& regions, std::span<const std::int64_t> images_of_groups) {
  const std::int64_t samples = regions.size(0), count = regions.size(1);
  LocalVectors vectors{.values = regions,
                       .valid = at::ones({samples, count}, regions.options().dtype(at::kBool)),
                       .rows = {},
                       .group_sizes = {images_of_groups.begin(), images_of_groups.end()},
                       .divisor = at::full({samples}, static_cast<double>(count), regions.options())};
  for (std::int64_t& size : vectors.group_sizes) size *= count;
  return vectors;
}

namespace {

/// Places among the tokens, [b, M, L] of the most sentences and the longest one; the last token of a shorter
/// sentence comes again, and that of a sentence that is not there is the first of all.
struct TokenPlaces {
  std::int64_t sentences = 0, length = 0;
  std::vector<std::int64_t> tokens;
  std::vector<bool> valid;
};

TokenPlaces places_of_tokens(const SentenceExtents& of) {
  TokenPlaces places;
  for (const auto& text : of) {
    places.sentences = std::max<std::int64_t>(places.sentences, std::ssize(text));
    for (const auto& [begin, end] : text) places.length = std::max(places.length, end - begin);
  }
  for (const auto& text : of) {
    for (std::int64_t m = 0; m < places.sentences; ++m) {
      const bool is_there = m < std::ssize(text);
      const auto [begin, end] =
          is_there ? text[static_cast<std::size_t>(m)] : std::pair<std::int64_t, std::int64_t>{0, 1};
      places.valid.push_back(is_there);
      for (std::int64_t i = 0; i < places.length; ++i) places.tokens.push_back(std::min(begin + i, end - 1));
    }
  }
  return places;
}

/// What of [b, M] enters batch normalisation, the longest text of each group, and by what sums are divided.
struct PaddingOfGroups {
  std::vector<std::int64_t> rows, sizes;
  std::vector<float> divisors;
};

PaddingOfGroups padding_of(const SentenceExtents& of, std::int64_t most, std::span<const std::int64_t> groups,
                           NormPadding padding, PoolDivisor divisor) {
  PaddingOfGroups made;
  std::int64_t first = 0;
  for (const std::int64_t size : groups) {
    std::int64_t longest = 0;
    for (std::int64_t i = first; i < first + size; ++i)
      longest = std::max<std::int64_t>(longest, std::ssize(of[static_cast<std::size_t>(i)]));
    const std::int64_t before = std::ssize(made.rows);
    for (std::int64_t i = first; i < first + size; ++i) {
      const std::int64_t own = std::ssize(of[static_cast<std::size_t>(i)]);
      const std::int64_t entering = padding == NormPadding::include ? longest : own;
      for (std::int64_t m = 0; m < entering; ++m) made.rows.push_back(i * most + m);
      made.divisors.push_back(static_cast<float>(divisor == PoolDivisor::padded ? longest : own));
    }
    made.sizes.push_back(std::ssize(made.rows) - before);
    first += size;
  }
  return made;
}

}  // namespace

LocalVectors sentence_vectors(const at::Tensor& tokens, const SentenceExtents& of,
                              std::span<const std::int64_t> images_of_groups, NormPadding padding,
                              PoolDivisor divisor) {
  const std::int64_t samples = std::ssize(of);
  const TokenPlaces places = places_of_tokens(of);
  const PaddingOfGroups groups =
      padding_of(of, places.sentences, one_group_if_none(images_of_groups, samples), padding, divisor);
  const at::Device device = tokens.device();
  const at::Tensor all = tokens.index_select(0, at::tensor(places.tokens, at::kLong).to(device))
                             .view({samples, places.sentences, places.length, tokens.size(1)});
  const at::Tensor valid = at::tensor(std::vector<std::int64_t>(places.valid.begin(), places.valid.end()))
                               .view({samples, places.sentences})
                               .to(device, at::kBool);
  const at::Tensor maxima = std::get<0>(all.max(2));
  return {.values = at::where(valid.unsqueeze(2), maxima, at::zeros({}, maxima.options())),
          .valid = valid,
          .rows = at::tensor(groups.rows, at::kLong).to(device),
          .group_sizes = images_of_groups.empty() ? std::vector<std::int64_t>() : groups.sizes,
          .divisor = at::tensor(groups.divisors).to(device)};
}

namespace {

void check_pooling_heads(std::int64_t width, const ImageTextShape& shape, const char* of) {
  if (width % shape.heads == 0) return;
  throw UsageError(
      {fmt::format("{} attention heads do not divide the width {} of {}", shape.heads, width, of),
       "lovt.heads, clip_star.heads", "choose another number of heads, or another width"});
}

std::int64_t width_of_regions(const Encoder& encoder) {
  const std::vector<std::int64_t>& widths = encoder.traits().map_widths;
  if (!widths.empty()) return widths.back();
  throw UsageError(
      {fmt::format("regions are places of a map, which a {} does not have", encoder.traits().kind),
       "model.name", "choose a vision transformer or a residual network"});
}

}  // namespace

ImageTextModel::ImageTextModel(std::shared_ptr<Encoder> encoder, std::shared_ptr<Bert> text,
                               ImageTextShape shape) {
  shape.image_width = width_of_regions(*encoder);
  shape.text_width = text->shape().width;
  if (shape.image_attention) check_pooling_heads(shape.image_width, shape, "regions");
  if (shape.text_attention) check_pooling_heads(shape.text_width, shape, "texts");
  head_ = register_module("head", std::make_shared<ImageTextHead>(shape));
  add_unit({head_});
  discard_values(*head_);
  backbone_ = add_tower("backbone", std::move(encoder));
  text_ = add_tower("text", std::move(text));
}

ImageTextModel::Output ImageTextModel::forward(const at::Tensor& images, const PackedTexts& texts,
                                               const SentenceExtents& sentences,
                                               const Conditions& conditions) {
  constexpr std::size_t kHead = 0;
  const std::vector<std::int64_t> groups = ImageGroups(conditions).sizes();
  const Encoder::Output seen = backbone_->encode(images, conditions, Encoder::maps | Encoder::pooled);
  const at::Tensor& map = seen.maps.back().values;  // [b, D, h, w]
  const LocalVectors of_image = region_vectors(map.flatten(2).transpose(1, 2).contiguous(), groups);
  const LocalVectors of_text = sentence_vectors(text_->forward(texts, conditions), sentences, groups,
                                                head_->shape().norm_padding, head_->shape().pool_divisor);
  // By value: a runner may call the body again in the backward pass.
  const auto body = [head = head_, of_image, of_text, conditions](const Tensors& values) {
    LocalVectors image = of_image, text = of_text;
    image.values = values[0];
    text.values = values[1];
    const ImageTextOutput made = head->forward(image, text, conditions);
    return Tensors{made.image,
                   made.text,
                   made.regions,
                   made.attended_regions,
                   made.sentences,
                   made.attended_sentences,
                   made.region_weights,
                   made.sentence_weights,
                   made.sentences_to_regions.defined() ? made.sentences_to_regions.detach() : at::Tensor()};
  };
  const Tensors made = run(kHead, {of_image.values, of_text.values}, body);
  ImageTextOutput head;
  head.image = made[0], head.text = made[1];
  head.regions = made[2], head.attended_regions = made[3];
  head.sentences = made[4], head.attended_sentences = made[5];
  head.region_weights = made[6], head.sentence_weights = made[7];
  head.sentences_to_regions = made[8];
  return {std::move(head), seen.pooled, of_text.valid, map.size(2), map.size(3)};
}

}  // namespace cohort::nn

#include "cohort/nn/bert.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>
#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/error.h"
#include "cohort/nn/dropout.h"

#include "attention.h"
#include "block.h"
#include "gelu.h"
#include "layer_norm.h"
#include "linear.h"

namespace cohort::nn {
namespace {

constexpr double kNormEpsilon = 1e-12;
// Places of dropout: far from those of an encoder of images, whose samples are the same.
constexpr std::uint32_t kFirstTextDropout = 1U << 20, kDropoutsPerLayer = 3;
constexpr std::string_view kLayerNames = "encoder.layer.";

Conditions conditions_of(const PackedTexts::Run& run, Conditions conditions) {
  if (conditions.sample.defined())
    conditions.sample = conditions.sample.to(at::kCPU).index_select(0, run.texts);
  return conditions;
}

std::vector<std::int64_t> tokens_of_runs(const PackedTexts& texts) {
  std::vector<std::int64_t> counts;
  for (const PackedTexts::Run& run : texts.runs) counts.push_back(run.texts.size(0) * run.length);
  return counts;
}

// What `change` makes of the texts of each length: change([n, L, D], conditions of the n) for rows [N, D].
template <class Change>
at::Tensor by_length(const PackedTexts& texts, const at::Tensor& rows, const Conditions& conditions,
                     const Change& change) {
  std::vector<at::Tensor> made = rows.split_with_sizes(tokens_of_runs(texts));
  for (std::size_t i = 0; i < made.size(); ++i) {
    const PackedTexts::Run& run = texts.runs[i];
    const at::Tensor of_run = made[i].view({run.texts.size(0), run.length, rows.size(1)});
    made[i] = change(of_run, conditions_of(run, conditions)).flatten(0, 1);
  }
  return at::cat(made);
}

at::Tensor dropout_of_texts(const PackedTexts& texts, const at::Tensor& rows, double rate,
                            const Conditions& conditions, std::uint32_t place) {
  if (!conditions.training || rate == 0.0) return rows;
  return by_length(texts, rows, conditions, [&](const at::Tensor& values, const Conditions& of_run) {
    return dropout(values, rate, of_run, kFirstTextDropout + place);
  });
}

// attention() whose weights are dropped; these are held.
at::Tensor attention_with_dropout(const at::Tensor& qkv, std::int64_t heads, double rate,
                                  const Conditions& conditions, std::uint32_t place) {
  const std::int64_t texts = qkv.size(0), length = qkv.size(1), width = qkv.size(2) / 3;
  const auto parts = qkv.view({texts, length, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
  const double scale = 1.0 / std::sqrt(static_cast<double>(width / heads));
  const at::Tensor weights = at::softmax(at::matmul(parts[0] * scale, parts[1].transpose(2, 3)), -1);
  return at::matmul(dropout(weights, rate, conditions, kFirstTextDropout + place), parts[2])
      .transpose(1, 2)
      .reshape({texts, length, width});
}

std::shared_ptr<torch::nn::Module> inner(torch::nn::Module& of, const std::string& name) {
  return of.register_module(name, std::make_shared<torch::nn::Module>());
}

}  // namespace

class BertEmbeddings final : public torch::nn::Module {
 public:
  explicit BertEmbeddings(const BertShape& shape)
      : dropout_(shape.dropout),
        words_(register_module("word_embeddings", torch::nn::Embedding(shape.vocabulary, shape.width))),
        positions_(
            register_module("position_embeddings", torch::nn::Embedding(shape.positions, shape.width))),
        types_(register_module("token_type_embeddings", torch::nn::Embedding(2, shape.width))),
        norm_(register_module("LayerNorm", make_layer_norm(shape.width, kNormEpsilon))) {}

  at::Tensor forward(const at::Tensor& tokens, const PackedTexts& texts, const Conditions& conditions) {
    const at::Tensor sum = at::embedding(words_->weight, tokens) +
                           at::embedding(positions_->weight, texts.positions) + types_->weight[0];
    const at::Tensor rows = add_and_normalise(sum, {}, *norm_).normalised;
    return dropout_of_texts(texts, rows, dropout_, conditions, /*place=*/0);
  }

 private:
  double dropout_;
  torch::nn::Embedding words_, positions_, types_;
  torch::nn::LayerNorm norm_;
};

class BertLayer final : public torch::nn::Module {
 public:
  BertLayer(const BertShape& shape, std::int64_t index)
      : shape_(shape), place_(1 + kDropoutsPerLayer * static_cast<std::uint32_t>(index)) {
    using torch::nn::Linear;
    const auto attention = inner(*this, "attention"), self = inner(*attention, "self"),
               mixed = inner(*attention, "output"), wide = inner(*this, "intermediate"),
               narrow = inner(*this, "output");
    query_ = self->register_module("query", Linear(shape.width, shape.width));
    key_ = self->register_module("key", Linear(shape.width, shape.width));
    value_ = self->register_module("value", Linear(shape.width, shape.width));
    mix_ = mixed->register_module("dense", Linear(shape.width, shape.width));
    mix_norm_ = mixed->register_module("LayerNorm", make_layer_norm(shape.width, kNormEpsilon));
    widen_ = wide->register_module("dense", Linear(shape.width, shape.hidden));
    narrow_ = narrow->register_module("dense", Linear(shape.hidden, shape.width));
    narrow_norm_ = narrow->register_module("LayerNorm", make_layer_norm(shape.width, kNormEpsilon));
  }

  at::Tensor forward(const at::Tensor& rows, const PackedTexts& texts, const Conditions& conditions) {
    const at::Tensor qkv =
        at::cat({linear(*query_, rows), linear(*key_, rows), linear(*value_, rows)}, 1);  // [N, 3 D]
    const at::Tensor attended =
        by_length(texts, qkv, conditions,
                  [&](const at::Tensor& of_run, const Conditions& seen) { return attend_to(of_run, seen); });
    const at::Tensor mixed = normalised_sum(rows, linear(*mix_, attended), texts, conditions, 1, *mix_norm_);
    const at::Tensor wide = exact_gelu(linear(*widen_, mixed));
    return normalised_sum(mixed, linear(*narrow_, wide), texts, conditions, 2, *narrow_norm_);
  }

 private:
  [[nodiscard]] at::Tensor attend_to(const at::Tensor& qkv, const Conditions& conditions) const {
    if (!conditions.training || shape_.attention_dropout == 0.0)
      return attention(qkv, shape_.heads, qkv.size(1));
    return attention_with_dropout(qkv, shape_.heads, shape_.attention_dropout, conditions, place_);
  }

  [[nodiscard]] at::Tensor normalised_sum(const at::Tensor& rows, const at::Tensor& branch,
                                          const PackedTexts& texts, const Conditions& conditions,
                                          std::uint32_t number, torch::nn::LayerNormImpl& norm) const {
    const at::Tensor dropped = dropout_of_texts(texts, branch, shape_.dropout, conditions, place_ + number);
    return add_and_normalise(rows, dropped, norm).normalised;
  }

  BertShape shape_;
  std::uint32_t place_;  // of its first dropout
  torch::nn::Linear query_{nullptr}, key_{nullptr}, value_{nullptr}, mix_{nullptr}, widen_{nullptr},
      narrow_{nullptr};
  torch::nn::LayerNorm mix_norm_{nullptr}, narrow_norm_{nullptr};
};

PackedTexts packed(std::span<const std::vector<std::int64_t>> texts, at::Device device) {
  std::vector<std::int64_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](std::int64_t text) { return std::ssize(texts[static_cast<std::size_t>(text)]); };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return length(a) < length(b); });
  PackedTexts all;
  all.begins.resize(texts.size());
  std::vector<std::int64_t> tokens, positions;
  for (auto from = order.begin(); from != order.end();) {
    const std::int64_t of_run = length(*from);
    COHORT_CHECK(of_run > 0, "text {} has no token", *from);
    const auto to =
        std::find_if(from, order.end(), [&](std::int64_t text) { return length(text) != of_run; });
    all.runs.push_back({of_run, at::tensor(std::vector<std::int64_t>(from, to), at::kLong)});
    for (; from != to; ++from) {
      const std::vector<std::int64_t>& text = texts[static_cast<std::size_t>(*from)];
      all.begins[static_cast<std::size_t>(*from)] = std::ssize(tokens);
      tokens.insert(tokens.end(), text.begin(), text.end());
      for (std::int64_t i = 0; i < of_run; ++i) positions.push_back(i);
    }
  }
  all.tokens = at::tensor(tokens, at::kLong).to(device);
  all.positions = at::tensor(positions, at::kLong).to(device);
  return all;
}

Bert::Bert(const BertShape& shape)
    : shape_(shape), embeddings_(register_module("embeddings", std::make_shared<BertEmbeddings>(shape))) {
  add_unit({embeddings_});
  discard_values(*embeddings_);
  const auto encoder = inner(*this, "encoder"), layers = inner(*encoder, "layer");
  for (std::int64_t i = 0; i < shape.depth; ++i) {
    layers_.push_back(layers->register_module(std::to_string(i), std::make_shared<BertLayer>(shape, i)));
    add_unit({layers_.back()});
    discard_values(*layers_.back());
  }
}

at::Tensor Bert::forward(const PackedTexts& texts, const Conditions& conditions) {
  begin();
  // By value: a runner may call the body again in the backward pass.
  at::Tensor rows = run(0, texts.tokens, [module = embeddings_, texts, conditions](const at::Tensor& tokens) {
    return module->forward(tokens, texts, conditions);
  });
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    rows = run(i + 1, rows, [layer = layers_[i], texts, conditions](const at::Tensor& of) {
      return layer->forward(of, texts, conditions);
    });
  }
  return rows;
}

std::optional<Draw> Bert::first_values_of(const std::string& name, const torch::nn::Module& /*owner*/) const {
  if (!stored_) return std::nullopt;
  return draw::given([stored = stored_, name] { return stored(name); });
}

int Bert::own_layer_of(const std::string& parameter) const {
  if (!parameter.starts_with(kLayerNames)) return 0;
  return std::stoi(parameter.substr(kLayerNames.size())) + 2;
}

}  // namespace cohort::nn

#include "cohort/nn/context.h"

#include <algorithm>
#include <array>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

#include "cohort/comm/autograd.h"
#include "cohort/core/error.h"

#include "nn/linear.h"
#include "nn/segment_sums.h"

namespace cohort::nn {
namespace {

bool is_linear(Amortization amortization) {
  return amortization == Amortization::mean_linear || amortization == Amortization::mean_linear_detach ||
         amortization == Amortization::mean_linear_layer ||
         amortization == Amortization::mean_linear_detach_layer;
}

bool is_detached(Amortization amortization) {
  return amortization == Amortization::mean_detach || amortization == Amortization::mean_linear_detach ||
         amortization == Amortization::mean_detach_layer ||
         amortization == Amortization::mean_linear_detach_layer;
}

// Vocabulary indices [B] of key number `key`; all of them inside the vocabulary.
at::Tensor checked_indices(const Conditions& conditions, std::size_t key, const std::string& name,
                           std::int64_t values) {
  const at::Tensor indices = conditions.context.select(1, static_cast<std::int64_t>(key));
  const at::Tensor outside = indices.lt(0).logical_or_(indices.ge(values));
  if (outside.any().item<bool>()) {
    const auto index = indices.masked_select(outside)[0].item<std::int64_t>();
    throw DataError(
        {fmt::format("context '{}' has value number {}, unknown to the model", name, index),
         fmt::format("the model was made for {} values of '{}'", values, name),
         "use an amortization that serves unseen contexts (mean, mean_linear) with context.scope=group, or "
         "leave out the images of that context"});
  }
  return indices;
}

// Number of the first image of each image's segment [B]: images with the same group and the same value share
// one. Comparing all pairs needs no table of values and, on a GPU, no word back to the host.
at::Tensor first_of_segment(const at::Tensor& group, const at::Tensor& value) {
  const at::Tensor same = group.unsqueeze(1).eq(group).logical_and_(value.unsqueeze(1).eq(value));  // [B, B]
  return same.to(at::kByte).argmax(1);
}

struct Segments {
  at::Tensor of_image;  // [K, B], each key with rows of its own
  std::int64_t count;
};

Segments group_segments(const Conditions& conditions) {
  const std::int64_t images = conditions.context.size(0), keys = conditions.context.size(1);
  std::vector<at::Tensor> rows;
  for (std::int64_t k = 0; k < keys; ++k) {
    rows.push_back(first_of_segment(conditions.group, conditions.context.select(1, k)) + k * images);
  }
  return {at::stack(rows), keys * images};
}

Segments global_segments(const Conditions& conditions, const ContextConfig& config,
                         const std::vector<std::int64_t>& vocabulary) {
  std::vector<at::Tensor> rows;
  std::int64_t count = 0;
  for (std::size_t k = 0; k < vocabulary.size(); ++k) {
    rows.push_back(checked_indices(conditions, k, config.keys[k], vocabulary[k]) + count);
    count += vocabulary[k];
  }
  return {at::stack(rows), count};
}

// [count, D + 1]: sums of `image_means` [B, D] and numbers of images. As all images of a forward pass have as
// many patches, the mean over images of their means is the mean over patches.
at::Tensor sums_and_counts(const at::Tensor& image_means, const Segments& segments) {
  if (image_means.is_cuda()) return segment_sums(image_means, segments.of_image, segments.count);
  const at::Tensor ones = at::ones({image_means.size(0), 1}, image_means.options());
  const at::Tensor rows =
      at::cat({image_means, ones}, 1).repeat({segments.of_image.size(0), 1});  // [K B, D + 1]
  return at::zeros({segments.count, rows.size(1)}, rows.options())
      .index_add(0, segments.of_image.flatten(), rows);
}

std::shared_ptr<torch::nn::Module> make_network(Amortization amortization, std::int64_t values,
                                                std::int64_t width) {
  if (is_dictionary(amortization)) return torch::nn::Embedding(values, width).ptr();
  return torch::nn::Linear(width, width).ptr();
}

}  // namespace

std::span<const config::EnumName<Amortization>> enum_names(Amortization) {
  using enum Amortization;
  static constexpr std::array<config::EnumName<Amortization>, 14> kNames{{
      {dictionary, "dictionary"},
      {mean, "mean"},
      {mean_linear, "mean_linear"},
      {mean_detach, "mean_detach"},
      {mean_linear_detach, "mean_linear_detach"},
      {dictionary_layer, "dictionary_layer"},
      {mean_layer, "mean_layer"},
      {mean_linear_layer, "mean_linear_layer"},
      {mean_detach_layer, "mean_detach_layer"},
      {mean_linear_detach_layer, "mean_linear_detach_layer"},
      {mean_linear, "linear_mean"},
      {mean_linear_detach, "linear_mean_detach"},
      {mean_linear_layer, "linear_mean_layer"},
      {mean_linear_detach_layer, "linear_mean_detach_layer"},
  }};
  return kNames;
}

bool is_dictionary(Amortization amortization) noexcept {
  return amortization == Amortization::dictionary || amortization == Amortization::dictionary_layer;
}

bool is_layerwise(Amortization amortization) noexcept {
  return amortization == Amortization::dictionary_layer || amortization == Amortization::mean_layer ||
         amortization == Amortization::mean_linear_layer || amortization == Amortization::mean_detach_layer ||
         amortization == Amortization::mean_linear_detach_layer;
}

std::span<const config::EnumName<Scope>> enum_names(Scope) {
  static constexpr std::array<config::EnumName<Scope>, 2> kNames{
      {{Scope::group, "group"}, {Scope::global, "global"}}};
  return kNames;
}

void check_context_keys(const ContextConfig& config) {
  for (auto key = config.keys.begin(); key != config.keys.end(); ++key) {
    if (key->empty() || key->find('.') != std::string::npos) {
      throw UsageError({fmt::format("context key '{}' cannot be part of a parameter's name", *key),
                        "context.keys", "name the context column with letters, digits and underscores"});
    }
    if (std::find(config.keys.begin(), key, *key) != key) {
      throw UsageError(
          {fmt::format("context key '{}' is given twice", *key), "context.keys", "name each key once"});
    }
  }
}

ContextInference::ContextInference(const ContextConfig& config, std::vector<std::int64_t> vocabulary,
                                   std::int64_t width)
    : config_(config), vocabulary_(std::move(vocabulary)) {
  check_context_keys(config_);
  COHORT_CHECK(config_.keys.size() == vocabulary_.size(), "{} context keys, {} vocabularies",
               config_.keys.size(), vocabulary_.size());
  const bool dictionary = is_dictionary(config_.amortization);
  if (!dictionary && !is_linear(config_.amortization)) return;
  auto model = register_module("model", std::make_shared<torch::nn::Module>());
  for (std::size_t k = 0; k < config_.keys.size(); ++k) {
    networks_.push_back(make_network(config_.amortization, vocabulary_[k], width));
    auto parent =
        dictionary ? model : model->register_module(config_.keys[k], std::make_shared<torch::nn::Module>());
    parent->register_module(dictionary ? config_.keys[k] : "1", networks_.back());
  }
}

at::Tensor ContextInference::forward(const at::Tensor& patches, const Conditions& conditions) {
  const auto keys = static_cast<std::int64_t>(config_.keys.size());
  COHORT_CHECK(conditions.context.defined() && conditions.context.dim() == 2 &&
                   conditions.context.size(1) == keys && conditions.context.size(0) == patches.size(0),
               "context inference of {} images needs their {} context values", patches.size(0), keys);
  if (is_dictionary(config_.amortization)) return look_up(conditions);
  return transform(
      mean_of_segments(is_detached(config_.amortization) ? patches.detach() : patches, conditions));
}

// [B, K, D]
at::Tensor ContextInference::look_up(const Conditions& conditions) const {
  std::vector<at::Tensor> tokens;
  for (std::size_t k = 0; k < networks_.size(); ++k) {
    const at::Tensor indices = checked_indices(conditions, k, config_.keys[k], vocabulary_[k]);
    tokens.push_back(networks_[k]->as<torch::nn::Embedding>()->weight.index_select(0, indices));
  }
  return at::stack(tokens, 1);
}

// [B, K, D], of patches [B, N, D]
at::Tensor ContextInference::mean_of_segments(const at::Tensor& patches, const Conditions& conditions) const {
  // Sums of low-precision values in low precision would depend on the size of the context.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const bool global = conditions.scope == Scope::global;
  COHORT_CHECK(global || (conditions.group.defined() && conditions.group.numel() == patches.size(0)),
               "group scope needs the group of each of the {} images", patches.size(0));
  const Segments segments =
      global ? global_segments(conditions, config_, vocabulary_) : group_segments(conditions);
  const at::ScalarType precision = patches.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor table = sums_and_counts(patches.mean(1, /*keepdim=*/false, precision), segments);
  if (global && conditions.ranks != nullptr) table = comm::all_reduce_sum(table, *conditions.ranks);
  const std::int64_t width = patches.size(2);
  const at::Tensor means = table.narrow(1, 0, width) / table.narrow(1, width, 1).detach().clamp_min(1.0);
  return means.index_select(0, segments.of_image.flatten())
      .view({segments.of_image.size(0), patches.size(0), width})
      .transpose(0, 1);
}

// [B, K, D] -> [B, K, D]
at::Tensor ContextInference::transform(const at::Tensor& means) const {
  if (!is_linear(config_.amortization)) return means;
  std::vector<at::Tensor> tokens;
  for (std::size_t k = 0; k < networks_.size(); ++k) {
    tokens.push_back(
        linear(*networks_[k]->as<torch::nn::Linear>(), means.select(1, static_cast<std::int64_t>(k))));
  }
  return at::stack(tokens, 1);
}

}  // namespace cohort::nn

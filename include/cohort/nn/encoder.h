#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/nn/conditions.h"
#include "cohort/nn/unit_model.h"
#include "cohort/nn/weights.h"

namespace cohort::nn {

/// Features by place.
struct FeatureMap {
  at::Tensor values;    ///< [B, C, h, w]
  std::int64_t stride;  ///< pixels from place to place
};

/// What one has to know of an encoder to work with it.
struct EncoderTraits {
  std::string kind;                         ///< for messages: "vision transformer"
  std::int64_t width = 0;                   ///< D, of the pooled features and of tokens
  std::int64_t classes = 0;                 ///< of the head; 0: there is none
  std::vector<std::string> context_keys{};  ///< of Conditions::context, in this order
  std::int64_t layers = 0;                  ///< whose inputs encode_at() gives; 0: none
  std::int64_t other_tokens = 0;            ///< tokens before those of patches: cls, registers, contexts
  std::vector<std::int64_t> map_widths{};   ///< channels of Output::maps; empty: there are none
  std::int64_t stem_width = 0;              ///< channels of Output::stem; 0: there is none
};

/// Makes features of images: the part of a model that is judged, exported and trained further. Its head, if
/// it has one, is a part of it, as in published weights. Not copyable. One thread at a time.
class Encoder : public UnitModel {
 public:
  /// What a caller needs, to be combined with |.
  enum Wanted : unsigned { pooled = 1, tokens = 2, maps = 4, logits = 8, stem = 16 };
  /// What is not wanted may be undefined.
  struct Output {
    at::Tensor pooled;               ///< [B, D]
    at::Tensor logits;               ///< [B, classes]; undefined without a head
    at::Tensor tokens;               ///< [B, T, D], other_tokens first; undefined where there are none
    at::Tensor context;              ///< [B, K, D]: the tokens of contexts; undefined without keys
    std::vector<FeatureMap> maps{};  ///< fine to coarse
    at::Tensor stem{};               ///< [B, C, h, w], finer than all maps; undefined where there is none
  };

  /// A forward pass of `images` [B, c, h, w] f32, normalised, that computes no more than is `wanted`.
  /// Collective where units or the inference of contexts are, forward and backward.
  virtual Output encode(const at::Tensor& images, const Conditions& conditions, unsigned wanted) = 0;
  /// The same, with pooled features and tokens of what enters `layer`, 0 … layers - 1; logits and contexts
  /// are as ever, maps there are none. Only for an encoder with layers.
  virtual Output encode_at(std::int64_t layer, const at::Tensor& images, const Conditions& conditions,
                           unsigned wanted);

  [[nodiscard]] virtual const EncoderTraits& traits() const noexcept = 0;
  /// Tokens of patches that images of `channels` channels and `height` x `width` pixels have; 0 where there
  /// are no tokens.
  [[nodiscard]] virtual std::int64_t token_count(std::int64_t channels, std::int64_t height,
                                                 std::int64_t width) const = 0;
  /// Its size in words, for people: "width 384, depth 12, 6 heads, patch 16".
  [[nodiscard]] virtual std::string summary() const = 0;

  /// How names of the head's parameters begin: "head.".
  [[nodiscard]] virtual std::string_view head() const noexcept = 0;
  /// Layouts of published weights, but for the names of the encoder itself, which are published ones too.
  [[nodiscard]] virtual std::span<const Dialect> dialects() const noexcept = 0;
  /// Whether weights may have, or lack, a tensor beside the head that the model lacks, or has.
  [[nodiscard]] virtual bool is_optional(std::string_view /*name*/) const { return false; }
  /// `stored` as the parameter or buffer `name` needs it, a tensor like `parameter`, of which only the sizes
  /// count; nothing when it cannot be. The caller compares sizes. Not asked of the head.
  [[nodiscard]] virtual std::optional<Adapted> adapt(const std::string& name, const at::Tensor& parameter,
                                                     const at::Tensor& stored, NamesOfBoth names) const = 0;
};

}  // namespace cohort::nn

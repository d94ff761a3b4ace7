#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cohort::nn {

/// How parameters are trained, by name. What a rule leaves open, it does not touch.
struct ParameterRule {
  /// Of full names in the model ("blocks.3.attn.qkv.weight"; in a tower "text.blocks.3.attn.qkv.weight"): `*`
  /// stands for any text, dots and none included, `?` for any character, all else for itself.
  std::string pattern;
  std::optional<double> lr_scale{};           ///< factor of the learning rate, besides that of its layer
  std::optional<double> weight_decay{};       ///< instead of the optimizer's and its schedule; of vectors too
  std::optional<bool> trained{};              ///< false: no gradient and no state of an optimizer
  std::optional<std::int64_t> first_epoch{};  ///< no update before: no step, no decay, no running means
};

[[nodiscard]] bool matches(std::string_view pattern, std::string_view name) noexcept;

/// What `rules` say of the parameter `name`: of several that match, the last one that says something counts,
/// for each of the four things.
ParameterRule rule_for(std::string_view name, std::span<const ParameterRule> rules);

}  // namespace cohort::nn

#include "parameter_groups.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>

#include <ATen/core/Scalar.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/zeros_like.h>

#include "cohort/core/error.h"

#include "flat_parameter.h"

namespace cohort::shard {
namespace {

// Places in the flat parameter.
struct Extent {
  std::int64_t begin, end;
};

// What the shard holds of `whole`, from the start of the shard; may be empty.
Extent held(const FlatShard& shard, Extent whole) {
  const std::int64_t begin = std::clamp<std::int64_t>(whole.begin - shard.begin, 0, shard.value.numel());
  return {begin, std::clamp<std::int64_t>(whole.end - shard.begin, begin, shard.value.numel())};
}

Extent extent_of(const ParameterSlot& slot) {
  return {slot.offset, slot.offset + c10::multiply_integers(slot.shape)};
}

// Nothing: that of the step.
std::optional<double> weight_decay_of(const ParameterSlot& slot, const nn::ParameterRule& rule) {
  if (rule.weight_decay) return rule.weight_decay;
  const bool is_decayed = is_matrix(slot) && !std::string_view(slot.name).ends_with(".bias");
  return is_decayed ? std::nullopt : std::optional(0.0);
}

int last_layer(std::span<const FlatShard> shards) {
  int last = 0;
  for (const FlatShard& shard : shards) {
    for (const ParameterSlot& slot : shard.slots) last = std::max(last, slot.layer);
  }
  return last;
}

// Ranges of one group are made in the order of shards and slots.
void append(std::vector<Range>& ranges, Range range) {
  if (!ranges.empty()) {
    Range& last = ranges.back();
    if (last.shard == range.shard && last.begin + last.count == range.begin) {
      last.count += range.count;
      return;
    }
  }
  ranges.push_back(range);
}

Range padded_range(std::size_t number, const FlatShard& shard, const ParameterSlot& slot) {
  COHORT_CHECK(slot.offset % kAlignment == 0, "'{}' begins at {}", slot.name, slot.offset);
  Extent whole = extent_of(slot);
  whole.end = (whole.end + kAlignment - 1) / kAlignment * kAlignment;
  const Extent part = held(shard, whole);
  return {number, part.begin, part.end - part.begin};
}

}  // namespace

bool is_matrix(const ParameterSlot& slot) noexcept {
  return slot.shape.size() >= 2;
}

std::vector<ParameterGroup> parameter_groups(std::span<const FlatShard> shards, double layer_decay,
                                             std::span<const nn::ParameterRule> rules) {
  const int last = last_layer(shards);
  std::map<std::tuple<double, std::optional<double>, std::int64_t>, std::vector<Range>> ranges;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    if (!shards[i].trained) continue;
    COHORT_CHECK(shards[i].begin % kAlignment == 0 && shards[i].value.numel() % kAlignment == 0,
                 "a shard of {} values begins at {}", shards[i].value.numel(), shards[i].begin);
    for (const ParameterSlot& slot : shards[i].slots) {
      const Range range = padded_range(i, shards[i], slot);
      if (range.count == 0) continue;
      const nn::ParameterRule rule = nn::rule_for(slot.name, rules);
      const double lr_scale = std::pow(layer_decay, last - slot.layer) * rule.lr_scale.value_or(1.0);
      append(ranges[{lr_scale, weight_decay_of(slot, rule), rule.first_epoch.value_or(0)}], range);
    }
  }
  std::vector<ParameterGroup> groups;
  for (auto& [kind, of_kind] : ranges)
    groups.push_back({std::get<0>(kind), std::get<1>(kind), std::get<2>(kind), std::move(of_kind)});
  return groups;
}

std::vector<at::Tensor> cut(const ParameterGroup& group, std::span<const at::Tensor> of_shard) {
  std::vector<at::Tensor> views;
  for (const Range& range : group.ranges)
    views.push_back(of_shard[range.shard].narrow(0, range.begin, range.count));
  return views;
}

std::vector<at::Tensor> trained_values(std::span<const FlatShard> shards) {
  std::vector<at::Tensor> values;
  for (const FlatShard& shard : shards) values.push_back(shard.trained ? shard.value : at::Tensor());
  return values;
}

std::vector<at::Tensor> trained_gradients(std::span<const FlatShard> shards) {
  std::vector<at::Tensor> gradients;
  for (const FlatShard& shard : shards) gradients.push_back(shard.trained ? shard.gradient : at::Tensor());
  return gradients;
}

std::vector<at::Tensor> zeros_like_trained(std::span<const FlatShard> shards) {
  std::vector<at::Tensor> zeros = trained_values(shards);
  for (at::Tensor& values : zeros) {
    if (values.defined()) values = at::zeros_like(values);
  }
  return zeros;
}

void scale_gradients(std::span<FlatShard> shards, const std::vector<std::vector<double>>& factors) {
  std::vector<at::Tensor> parts;
  std::vector<at::Scalar> factor_of;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const FlatShard& shard = shards[i];
    if (!shard.trained) continue;
    for (std::size_t s = 0; s < shard.slots.size(); ++s) {
      const Extent part = held(shard, extent_of(shard.slots[s]));
      if (factors[i][s] == 1.0 || part.begin == part.end) continue;
      parts.push_back(shard.gradient.narrow(0, part.begin, part.end - part.begin));
      factor_of.emplace_back(factors[i][s]);
    }
  }
  if (!parts.empty()) at::_foreach_mul_(parts, factor_of);  // one launch for many parts on a device
}

}  // namespace cohort::shard

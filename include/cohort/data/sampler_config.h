#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "cohort/config/field.h"

namespace cohort::data {

/// What becomes of contexts that have fewer images than a group.
enum class SmallContexts {
  refuse,  ///< an error names them
  pad,     ///< their images are repeated within the group, as evenly as possible
  drop,    ///< their images are left out
  merge,   ///< images of all of them form groups together, in which each context has a token of its own
};
std::span<const config::EnumName<SmallContexts>> enum_names(SmallContexts);

/// In which order groups come.
enum class GroupOrder {
  shuffled,  ///< those of all contexts in random order
  cells,     ///< every context in turn, with as many images of each class
};
std::span<const config::EnumName<GroupOrder>> enum_names(GroupOrder);

struct SamplerConfig {
  std::int64_t groups_per_step = 16;
  std::int64_t images_per_group = 32;
  std::string group_by;
  SmallContexts small_contexts = SmallContexts::refuse;
  double balance = 1.0;
  bool balance_labels = false;
  std::int64_t block = 1;
  GroupOrder order = GroupOrder::shuffled;
  std::int64_t repeats = 1;

  /// Whether the labels of images decide where they come.
  [[nodiscard]] bool needs_labels() const noexcept { return balance_labels || order == GroupOrder::cells; }

  template <class Visit>
  void fields(Visit& visit) {
    visit("groups_per_step", groups_per_step,
          "context groups in the global batch; the number of ranks divides it",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("images_per_group", images_per_group, "images of one context that share a token",
          config::Range<std::int64_t>{1, 1 << 16});
    visit("group_by", group_by,
          "context key whose images form groups, or several ('hospital,slide': images that agree in both); "
          "empty: the "
          "first of context.keys; 'none': groups of any images");
    visit("small_contexts", small_contexts,
          "what becomes of contexts with fewer images than a group (docs/sampler.md)");
    visit("balance", balance,
          "groups of a context in an epoch, in proportion to its number of images to this power: 1 as they "
          "are, 0 "
          "the same for all contexts",
          config::Range{0.0, 1.0});
    visit("balance_labels", balance_labels,
          "let the labels occur equally often within each group, as far as the context has them");
    visit("block", block,
          "neighbouring rows of a context that stay together: long reads for disks that seek slowly, less "
          "random",
          config::Range<std::int64_t>{1, 1 << 20});
    visit("order", order,
          "order of groups: shuffled, or cells: every context in turn, each with as many images of every "
          "class");
    visit("repeats", repeats,
          "times that an epoch has each image, each time in another group and changed otherwise",
          config::Range<std::int64_t>{1, 1 << 10});
  }
};

}  // namespace cohort::data

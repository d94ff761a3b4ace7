#include "eval/asked_groups.h"

#include <utility>

namespace cohort::eval {

std::optional<AskedGroup> AskedGroups::next() {
  for (;;) {
    if (group_ == pass_.size()) {
      pass_ = passes_.next();
      group_ = 0;
      if (pass_.empty()) return std::nullopt;
    }
    AskedGroup found{std::move(pass_[group_++]), {}, {}};
    for (std::size_t i = 0; i < found.group.rows.size(); ++i) {
      for (const std::int64_t place : places_(found.group.rows[i])) {
        found.inside.push_back(static_cast<std::int64_t>(i));
        found.asked.push_back(place);
      }
    }
    if (!found.inside.empty()) return found;
  }
}

std::optional<AskedGroup> DealtGroups::next() {
  for (;;) {
    std::optional<AskedGroup> group = groups_.next();
    if (!group || number_++ % size_ == rank_) return group;
  }
}

}  // namespace cohort::eval

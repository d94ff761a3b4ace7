#include "cohort/nn/parameter_rule.h"

namespace cohort::nn {
namespace {

template <class T>
void replace(std::optional<T>& before, const std::optional<T>& now) {
  if (now) before = now;
}

}  // namespace

// Where the rest does not fit, the last `*` takes one character more.
bool matches(std::string_view pattern, std::string_view name) noexcept {
  std::size_t p = 0, n = 0, star = std::string_view::npos, taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

ParameterRule rule_for(std::string_view name, std::span<const ParameterRule> rules) {
  ParameterRule found{std::string(name)};
  for (const ParameterRule& rule : rules) {
    if (!matches(rule.pattern, name)) continue;
    replace(found.lr_scale, rule.lr_scale);
    replace(found.weight_decay, rule.weight_decay);
    replace(found.trained, rule.trained);
    replace(found.first_epoch, rule.first_epoch);
  }
  return found;
}

}  // namespace cohort::nn

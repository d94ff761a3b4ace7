#pragma once
// What files of operations share: values of options, and how an operation is made of its line.
#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/config/field.h"
#include "cohort/config/load.h"

#include "augment/operations.h"

namespace cohort::augment {

using Reals = std::vector<double>;
inline constexpr config::Range kPart{0.0, 1.0};

/// Of the view number `number`: the last value is that of all later ones.
template <class Value>
Value of_view(const std::vector<Value>& values, std::int64_t number) {
  return values[std::min(static_cast<std::size_t>(number), values.size() - 1)];
}

inline std::string unless_range(const Reals& values, std::string_view name) {
  if (values.size() == 2 && values[0] <= values[1]) return "";
  return fmt::format("{} is [{}], which is not a lowest and a highest value", name, fmt::join(values, ", "));
}

/// What happens to some views only.
class Chance : public Operation {
 public:
  template <class Visit>
  void fields(Visit& visit) {
    visit("probability", probability_, "of each view of its kind; the last one: of all later views", kPart);
  }
  [[nodiscard]] std::string contradiction() const override {
    return probability_.empty() ? "probability is empty" : "";
  }

 protected:
  explicit Chance(double probability) : probability_{probability} {}
  [[nodiscard]] double probability(const ViewDraws& draws) const {
    return of_view(probability_, draws.number);
  }
  [[nodiscard]] bool happens(const ViewDraws& draws, RandomStream& stream) const {
    return static_cast<double>(stream.uniform()) < probability(draws);
  }

 private:
  Reals probability_;
};

struct OperationEntry {
  OperationTraits traits;
  std::function<std::unique_ptr<const Operation>(std::span<const std::string> options)> make;
};

template <class Made>
OperationEntry entry(OperationTraits traits = {}) {
  return {traits, [](std::span<const std::string> options) {
            auto made = std::make_unique<Made>();
            config::Fields fields(*made);
            config::override_with(options, fields);
            return std::unique_ptr<const Operation>(std::move(made));
          }};
}

}  // namespace cohort::augment

#pragma once
#include <memory>

#include "cohort/config/field.h"
#include "cohort/core/error.h"

namespace cohort::config {

/// The options of one component, their type erased: what reads, writes and documents configurations sees
/// their fields, and the component alone knows their struct.
class Options {
 public:
  Options& operator=(const Options&) = delete;
  virtual ~Options() = default;
  /// As a struct's own (config/field.h).
  virtual void fields(Fields& visit) = 0;
  [[nodiscard]] virtual std::unique_ptr<Options> clone() const = 0;

 protected:
  Options() = default;
  Options(const Options&) = default;
};

/// Those of a struct with fields().
template <class Values>
class OptionsOf final : public Options {
 public:
  void fields(Fields& visit) override { values.fields(visit); }
  [[nodiscard]] std::unique_ptr<Options> clone() const override { return std::make_unique<OptionsOf>(*this); }

  Values values{};
};

/// The defaults of a struct of options, erased.
template <class Values>
std::unique_ptr<Options> default_options() {
  return std::make_unique<OptionsOf<Values>>();
}

/// What is behind default_options<Values>(). Bug when it is another struct.
template <class Values>
const Values& values_of(const Options& options) {
  const auto* found = dynamic_cast<const OptionsOf<Values>*>(&options);
  COHORT_CHECK(found != nullptr, "these are the options of another component");
  return found->values;
}

}  // namespace cohort::config

#include "cohort/method/choice.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/method/registry.h"

namespace cohort::method {

Choice::Choice() : name_(registry().front().name) {
  for (const Entry& entry : registry()) options_.push_back(entry.options());
}

Choice::Choice(const Choice& other) : name_(other.name_) {
  for (const auto& options : other.options_) options_.push_back(options->clone());
}

Choice& Choice::operator=(Choice other) noexcept {
  name_ = std::move(other.name_);
  options_ = std::move(other.options_);
  return *this;
}

void Choice::choose(std::string_view name) {
  name_ = find(name).name;
}

const Entry& Choice::entry() const {
  return find(name_);
}

const config::Options& Choice::options() const {
  return *options_.at(static_cast<std::size_t>(&entry() - registry().data()));
}

Traits Choice::traits() const {
  const Traits traits = entry().traits(options());
  COHORT_CHECK(traits.needs_label || !traits.learns_classes, "{} learns the classes of no label", name_);
  return traits;
}

void Choice::visit_name(config::Fields& visit) {
  std::vector<std::string> names, sentences;
  for (const Entry& entry : registry().first(options_.size())) {
    names.emplace_back(entry.name);
    sentences.push_back(fmt::format("{}: {}", entry.name, entry.sentence));
  }
  visit.choice("method", name_, names, "way of learning (docs/methods.md). " + join(sentences, "; "));
}

void Choice::visit_sections(config::Fields& visit) {
  for (std::size_t i = 0; i < options_.size(); ++i) {
    const Entry& entry = registry()[i];
    visit.section(entry.name, *options_[i], fmt::format("{}, if method is {}", entry.section, entry.name));
  }
}

}  // namespace cohort::method
